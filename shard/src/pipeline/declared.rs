//! Where the objects of a file stand, and what they were called before.
//!
//! A name is the identity of what is kept under it. `was = "old"` says that an object goes on under
//! another name; it speaks to the store, and is no part of the pipeline.

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;

use toml::de::{DeTable, DeValue};

use crate::pipeline::parse::is_object_name;
use crate::pipeline::problem::Report;
use crate::pipeline::section::{Section, Text};
use crate::schema::is_identifier;

/// What has a name of its own in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// `[stream.NAME]`.
    Stream,
    /// A field of `[stream.NAME.fields]`.
    Field,
    /// `[view.NAME]`.
    View,
    /// `[board.NAME]`.
    Board,
}

impl Kind {
    /// The kinds at the top of a file.
    const TABLES: [Kind; 3] = [Kind::Stream, Kind::View, Kind::Board];

    /// As files and messages name it.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Stream => "stream",
            Kind::Field => "field",
            Kind::View => "view",
            Kind::Board => "board",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A place in a file, both from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Line.
    pub line: usize,
    /// Column in characters.
    pub column: usize,
}

/// One object of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Declaration {
    /// Where its name stands.
    pub place: Place,
    /// What it was called before, and where that stands.
    pub was: Option<(String, Place)>,
}

/// All objects of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Declarations {
    of_names: HashMap<(Kind, String), Declaration>,
}

/// Objects of a kind are found by their names, fields by stream and name.
fn key(kind: Kind, scope: &str, name: &str) -> (Kind, String) {
    match kind {
        Kind::Field => (kind, format!("{scope}.{name}")),
        _ => (kind, name.to_owned()),
    }
}

impl Declarations {
    /// A stream, view or board.
    pub fn object(&self, kind: Kind, name: &str) -> Option<&Declaration> {
        self.of_names.get(&key(kind, "", name))
    }

    /// A field of a stream.
    pub fn field(&self, stream: &str, name: &str) -> Option<&Declaration> {
        self.of_names.get(&key(Kind::Field, stream, name))
    }
}

/// Reads `was` of every object; what has no table is reported elsewhere.
pub(super) fn read(report: &mut Report<'_>, root: &Section<'_, '_>) -> Declarations {
    let mut declarations = Declarations::default();
    for kind in Kind::TABLES {
        let Some(table) = root.value(kind.name()).and_then(|v| table_of(v.get_ref())) else {
            continue;
        };
        read_all(report, &mut declarations, kind, "", table);
        if kind != Kind::Stream {
            continue;
        }
        for (stream, _, value) in Section::free(String::new(), 0..0, table).entries() {
            let fields = table_of(value.get_ref()).and_then(|table| table.get("fields"));
            if let Some(fields) = fields.and_then(|fields| table_of(fields.get_ref())) {
                read_all(report, &mut declarations, Kind::Field, stream, fields);
            }
        }
    }
    declarations
}

fn table_of<'d, 'i>(value: &'d DeValue<'i>) -> Option<&'d DeTable<'i>> {
    match value {
        DeValue::Table(table) => Some(table),
        _ => None,
    }
}

/// Reads all objects of a kind that stand beside each other.
fn read_all(
    report: &mut Report<'_>,
    declarations: &mut Declarations,
    kind: Kind,
    scope: &str,
    table: &DeTable<'_>,
) {
    let path = |name: &str| match kind {
        Kind::Field => format!("field `{name}` of stream `{scope}`"),
        _ => format!("[{kind}.{name}]"),
    };
    let entries = Section::free(String::new(), 0..0, table).entries();
    let names: Vec<&str> = entries.iter().map(|(name, ..)| *name).collect();
    let mut taken: HashMap<&str, &str> = HashMap::new();
    for &(name, ref span, value) in &entries {
        let place = place(report, span);
        let was = table_of(value.get_ref()).and_then(|table| {
            let section = Section::free(path(name), span.clone(), table);
            section.text(report, "was")
        });
        let was = was.filter(|was| is_sound(report, kind, &path(name), name, was, &names));
        if let Some(was) = &was
            && let Some(other) = taken.insert(was.text, name)
        {
            let message = format!("{}: `{}` is what `{other}` was too", path(name), was.text);
            let hint = "one name goes on as one; remove one `was`".to_owned();
            report.add_hint(was.span.clone(), message, hint);
        }
        let was = was.map(|was| (was.text.to_owned(), self::place(report, &was.span)));
        let declaration = Declaration { place, was };
        declarations
            .of_names
            .insert(key(kind, scope, name), declaration);
    }
}

fn is_sound(
    report: &mut Report<'_>,
    kind: Kind,
    path: &str,
    name: &str,
    was: &Text<'_>,
    names: &[&str],
) -> bool {
    let known = match kind {
        Kind::Field => is_identifier(was.text),
        _ => is_object_name(was.text),
    };
    let text = was.text;
    let (message, hint) = if !known {
        let message = format!("{path}: `was`: `{text}` is no name of a {kind}");
        (message, "name what it was called before".to_owned())
    } else if text == name {
        let message = format!("{path}: `was` is its own name");
        (message, "remove `was`".to_owned())
    } else if names.contains(&text) {
        let message = format!("{path}: `was`: there is still a {kind} `{text}` in the file");
        let hint = format!("rename that one too, or remove `was`: `{name}` is a new {kind} then");
        (message, hint)
    } else {
        return true;
    };
    report.add_hint(was.span.clone(), message, hint);
    false
}

fn place(report: &Report<'_>, span: &Range<usize>) -> Place {
    let (line, column) = report.place(span.start);
    Place { line, column }
}
