//! Rows that break the rules of their schema.

use super::random::Random;
use ringmill_shard::oracle::Datum;
use ringmill_shard::pipeline::Stream;
use ringmill_shard::reject::RejectReason;
use ringmill_shard::schema::FieldType;

/// Damages a field of a row, if a value of its type can be damaged.
pub(crate) fn damage(
    random: &mut Random,
    stream: &Stream,
    row: &mut [u8],
    data: &[Datum],
) -> Option<RejectReason> {
    let fields: Vec<_> = stream.schema.fields.iter().zip(data).collect();
    let (field, datum) = *random.pick(&fields);
    let at = usize::from(field.offset);
    match (field.kind, datum) {
        (FieldType::F64, Datum::F64(_)) => {
            let bad = *random.pick(&[f64::NAN, f64::INFINITY, f64::NEG_INFINITY]);
            row[at..at + 8].copy_from_slice(&bad.to_le_bytes());
            Some(RejectReason::NotFinite)
        }
        (FieldType::Bool, Datum::Bool(_)) => {
            row[at] = 2;
            Some(RejectReason::BadBool)
        }
        (FieldType::Text(capacity), Datum::Text(_)) => {
            row[at] = capacity.saturating_add(1);
            let fits = capacity == u8::MAX;
            (!fits).then_some(RejectReason::TextTooLong)
        }
        (FieldType::U64, Datum::Null) => {
            row[at] = 1;
            Some(RejectReason::BadPadding)
        }
        _ => None,
    }
}
