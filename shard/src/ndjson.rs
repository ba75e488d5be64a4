//! JSON lines to and from rows.
