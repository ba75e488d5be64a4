//! The random pipelines and events of the shard's own tests.
#![allow(dead_code)] // Only a part of each is used here.

#[path = "../../../shard/tests/model/computed.rs"]
pub(crate) mod computed;
#[path = "../../../shard/tests/model/damage.rs"]
pub(crate) mod damage;
#[path = "../../../shard/tests/model/generate.rs"]
pub(crate) mod generate;
#[path = "../../../shard/tests/model/grow.rs"]
pub(crate) mod grow;
#[path = "../../../shard/tests/model/random.rs"]
pub(crate) mod random;
#[path = "../../../shard/tests/model/repeating.rs"]
pub(crate) mod repeating;
#[path = "../../../shard/tests/model/tree.rs"]
pub(crate) mod tree;
