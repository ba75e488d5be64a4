//! The key table beside hashbrown's map: how long a lookup takes, and how long the slowest insert.
//!
//! Keys are u64, drawn evenly; both sides hash with XXH3-64, as the edge does once per event.
//!
//! * `find_*`: lookups of keys that are there. `batch_of_50` hashes a batch first and looks its
//!   home lines up together.
//! * `fill_*`: a table that grows from empty, per insert.
//! * `worst_*`: the longest single insert of such a run. A map that grows moves everything it has.

use std::hash::{BuildHasherDefault, Hasher};
use std::time::Instant;

use hashbrown::HashMap;
use ringmill_benches::{Bench, Better, Sample, mix};
use ringmill_shard::partition::key_hash;
use ringmill_shard::table::KeyTable;

mod hunt;
use hunt::{BATCH_ROWS, Random};

/// The routing hash as a hasher of the map.
#[derive(Default)]
struct Routing(u64);

impl Hasher for Routing {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = key_hash(bytes);
    }

    fn write_u64(&mut self, value: u64) {
        self.write(&value.to_le_bytes());
    }
}

type Map = HashMap<u64, u32, BuildHasherDefault<Routing>>;

fn main() {
    let mut bench = Bench::start("table");
    bench.setup().pin(0);
    find(&mut bench, "find_100k", 100_000);
    find(&mut bench, "find_1M", 1_000_000);
    if bench.size(1, 0) == 1 {
        find(&mut bench, "find_10M", 10_000_000);
    }
    fill(&mut bench);
    worst(&mut bench);
    bench.finish();
}

fn keys(count: usize) -> Vec<u64> {
    let mut random = Random(6);
    (0..count).map(|_| random.next()).collect()
}

/// What the map does with a key that is new or known.
#[inline]
fn map_id(map: &mut Map, key: u64) -> u32 {
    let next = map.len() as u32;
    *map.entry(key).or_insert(next)
}

#[inline]
fn table_id(table: &mut KeyTable, key: u64) -> u32 {
    let bytes = key.to_le_bytes();
    table.find_or_insert(key_hash(&bytes), &bytes).0
}

#[inline]
fn mix_ids(ids: impl Iterator<Item = u32>) -> u64 {
    ids.fold(1, |hash, id| mix(hash, u64::from(id)))
}

fn find(bench: &mut Bench, name: &'static str, count: usize) {
    let count = bench.size(count, count / 100);
    let keys = keys(count);
    let (mut map, mut single, mut batch) =
        (Map::default(), KeyTable::fixed_u64(), KeyTable::fixed_u64());
    for &key in &keys {
        map_id(&mut map, key);
        table_id(&mut single, key);
        table_id(&mut batch, key);
    }
    let mut random = Random(7);
    let asked: Vec<[u8; 8]> = (0..bench.size(4_000_000, 5_000))
        .map(|_| keys[random.next() as usize % count].to_le_bytes())
        .collect();
    let (asked, ops) = (&asked, asked.len());
    let mut group = bench.group(name, "ns", Better::Lower);
    group.same_results();
    group.baseline("hashbrown", move || {
        let ids = asked.iter().map(|key| map[&u64::from_le_bytes(*key)]);
        Sample::ns_per_op(ops, || mix_ids(ids))
    });
    group.row("one_by_one", move || {
        let ids = asked
            .iter()
            .map(|key| single.find(key_hash(key), key).expect("a known key"));
        Sample::ns_per_op(ops, || mix_ids(ids))
    });
    let (mut hashes, mut ids) = (Vec::new(), Vec::new());
    group.row("batch_of_50", move || {
        Sample::ns_per_op(ops, || {
            asked.chunks(BATCH_ROWS).fold(1, |hash, keys| {
                hashes.clear();
                hashes.extend(keys.iter().map(|key| key_hash(key)));
                batch.lookup_batch(&hashes, |index| &keys[index], &mut ids);
                ids.iter().fold(hash, |hash, &id| mix(hash, u64::from(id)))
            })
        })
    });
    group.run();
}

fn fill(bench: &mut Bench) {
    let keys = keys(bench.size(1_000_000, 10_000));
    let mut group = bench.group("fill_1M", "ns", Better::Lower);
    group.same_results();
    group.baseline("hashbrown", || {
        Sample::ns_per_op(keys.len(), || {
            let mut map = Map::default();
            mix_ids(keys.iter().map(|&key| map_id(&mut map, key)))
        })
    });
    group.row("ours", || {
        Sample::ns_per_op(keys.len(), || {
            let mut table = KeyTable::fixed_u64();
            mix_ids(keys.iter().map(|&key| table_id(&mut table, key)))
        })
    });
    group.run();
}

fn worst(bench: &mut Bench) {
    let keys = keys(bench.size(1_000_000, 10_000));
    let mut group = bench.group("worst_insert_1M", "us", Better::Lower);
    group.same_results();
    group.baseline("hashbrown", || {
        let mut map = Map::default();
        longest(&keys, |key| map_id(&mut map, key))
    });
    group.row("ours", || {
        let mut table = KeyTable::fixed_u64();
        longest(&keys, |key| table_id(&mut table, key))
    });
    group.run();
}

/// The longest of all inserts, us. An interruption by the kernel counts, which the median over the
/// repeats leaves out only if it is rare.
fn longest(keys: &[u64], mut insert: impl FnMut(u64) -> u32) -> Sample {
    let (mut worst_ns, mut hash) = (0, 1);
    for &key in keys {
        let begun = Instant::now();
        let id = insert(key);
        worst_ns = worst_ns.max(begun.elapsed().as_nanos());
        hash = mix(hash, u64::from(id));
    }
    Sample::new(worst_ns as f64 / 1_000.0, hash)
}
