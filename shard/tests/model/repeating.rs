//! Streams that tell their events apart by fields, and the ids of random events.

use super::random::Random;
use ringmill_shard::oracle::Datum;
use ringmill_shard::pipeline::{DedupeMode, DedupeRule, Stream};
use ringmill_shard::schema::FieldType;

/// The fields of a random stream whose values are ids: never null.
pub(crate) const ID_FIELDS: [(FieldType, bool); 2] =
    [(FieldType::Text(7), false), (FieldType::U64, false)];

/// Sequences count from some time before the events.
const ORIGIN_MS: i64 = 1_699_999_000_000;

/// Makes some streams tell apart by the fields [`ID_FIELDS`], which begin at `first`.
pub(crate) fn random_dedupe(random: &mut Random, stream: &mut Stream, first: usize) {
    let (mode, by) = match random.below(4) {
        0 => (DedupeMode::Sequence, vec![first, first + 1]),
        1 => (DedupeMode::Sequence, vec![first + 1]),
        2 => {
            let horizon_ms = *random.pick(&[1, 90, 1_000, 600_000]);
            let count = 1 + random.below(2) as usize;
            let by = [first + 1, first][..count].to_vec();
            (DedupeMode::Id { horizon_ms }, by)
        }
        _ => return,
    };
    stream.dedupe = Some(DedupeRule {
        by,
        mode,
        memory_bytes: 1 << 30,
    });
}

/// A sequence that follows the time of its event, now and then far from it; or an id that comes
/// again every now and then.
pub(crate) fn random_id(random: &mut Random, rule: &DedupeRule, time_ms: i64, keys: u64) -> Datum {
    match rule.mode {
        DedupeMode::Sequence if random.chance(1) => Datum::U64(random.next() >> random.below(64)),
        DedupeMode::Sequence => {
            let since_ms = (time_ms - ORIGIN_MS).max(0);
            Datum::U64(since_ms.unsigned_abs() / 16 + random.below(6))
        }
        DedupeMode::Id { .. } => Datum::U64(random.below(keys * 8)),
    }
}
