//! The plain computation and the random pipelines of the shard's own tests.
#![allow(dead_code)] // Only a part of each is used here.

#[path = "../../../shard/tests/model/boards.rs"]
pub(crate) mod boards;
#[path = "../../../shard/tests/model/computed.rs"]
pub(crate) mod computed;
#[path = "../../../shard/tests/model/expected.rs"]
pub(crate) mod expected;
#[path = "../../../shard/tests/model/generate.rs"]
pub(crate) mod generate;
#[path = "../../../shard/tests/model/grow.rs"]
pub(crate) mod grow;
#[path = "../../../shard/tests/model/oracle.rs"]
pub(crate) mod oracle;
#[path = "../../../shard/tests/model/random.rs"]
pub(crate) mod random;
#[path = "../../../shard/tests/model/rows.rs"]
pub(crate) mod rows;
#[path = "../../../shard/tests/model/tree.rs"]
pub(crate) mod tree;
#[path = "../../../shard/tests/model/windows.rs"]
pub(crate) mod windows;
