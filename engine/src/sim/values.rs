//! Random values of the types that fields have: few different ones, so that keys, groups and scores
//! meet, what the expressions of the pipeline name, and now and then the ends of a type.

use ringmill_shard::pipeline::{Pipeline, Stream};
use ringmill_shard::schema::{Field, FieldType};
use ringmill_shard::value::OwnedValue;
use ringmill_storage::disk::sim::SimRng;
use serde_json::{Map, Value};

/// Numbers that a double does not hold begin behind it.
const EXACT_MAX: u64 = 1 << 53;

/// Texts of any stream; what is too long for a field is not used there.
const TEXTS: [&str; 7] = ["", "a", "b", "ab", "B", "\u{e9}", "a b c d e f g h i j"];

/// Draws values.
pub(super) struct Values<'p> {
    pipeline: &'p Pipeline,
    /// Different small values of a type.
    keys: u64,
    /// Per stream what its expressions name.
    constants: Vec<Vec<OwnedValue>>,
}

impl<'p> Values<'p> {
    pub(super) fn new(pipeline: &'p Pipeline, keys: u64) -> Values<'p> {
        let of = |stream: &Stream| {
            let computed = stream.computed.iter();
            let constants = computed.flat_map(|computed| computed.expression.constants());
            constants.collect()
        };
        Values {
            pipeline,
            keys,
            constants: pipeline.streams.iter().map(of).collect(),
        }
    }

    /// The members of an event of a stream, but for its time.
    pub(super) fn members(
        &self,
        rng: &mut SimRng,
        stream: usize,
        now_ms: i64,
    ) -> Map<String, Value> {
        let of = &self.pipeline.streams[stream];
        let mut members = Map::new();
        for (index, field) in of.schema.fields.iter().enumerate() {
            if index == of.time.field {
                continue;
            }
            let value = if field.optional && rng.below(100) < 15 {
                Value::Null
            } else {
                self.value(rng, stream, field, now_ms)
            };
            members.insert(field.name.clone(), value);
        }
        members
    }

    fn value(&self, rng: &mut SimRng, stream: usize, field: &Field, now_ms: i64) -> Value {
        let small = rng.below(self.keys);
        let named = || {
            let constants = self.constants[stream].iter();
            let fits = constants.filter(|constant| fits(field.kind, constant));
            fits.map(|constant| constant.as_value().to_json())
        };
        let count = named().count();
        if count > 0 && rng.below(100) < 40 {
            let named = named().nth(rng.index(count));
            return near(rng, field.kind, named.unwrap_or_default());
        }
        match field.kind {
            FieldType::U64 => match rng.below(100) {
                0 => (u64::MAX - small).into(),
                1 => (EXACT_MAX + small).into(),
                _ => small.into(),
            },
            FieldType::I64 => match rng.below(150) {
                0 => (i64::MAX - small as i64).into(),
                1 => (i64::MIN + small as i64).into(),
                2 => (EXACT_MAX as i64 + small as i64).into(),
                _ => (small as i64 - self.keys as i64 / 3).into(),
            },
            FieldType::F64 => ((small as f64 - self.keys as f64 / 3.0) * 0.25 + 0.0).into(),
            FieldType::Bool => (small.is_multiple_of(2)).into(),
            FieldType::Time => (now_ms - small as i64 * 977).into(),
            FieldType::Uuid => format!("{small:08x}-0000-4000-8000-{small:012x}").into(),
            FieldType::Text(capacity) => text(small, usize::from(capacity)).into(),
        }
    }
}

fn text(small: u64, capacity: usize) -> String {
    let known = TEXTS.get(small as usize).map(|text| (*text).to_owned());
    let text = known.unwrap_or_else(|| format!("v{small}"));
    if text.len() <= capacity {
        return text;
    }
    let letter = char::from(b'a' + (small % 26) as u8);
    letter
        .to_string()
        .repeat(capacity.min(1 + small as usize % 3))
}

fn fits(kind: FieldType, constant: &OwnedValue) -> bool {
    use ringmill_shard::value::Value as V;
    match (kind, constant.as_value()) {
        (FieldType::Text(capacity), V::Text(text)) => text.len() <= usize::from(capacity),
        (FieldType::U64, V::U64(_))
        | (FieldType::I64, V::I64(_))
        | (FieldType::F64, V::F64(_))
        | (FieldType::Time, V::Time(_))
        | (FieldType::Uuid, V::Uuid(_)) => true,
        _ => false,
    }
}

/// A constant, or the integer beside it.
fn near(rng: &mut SimRng, kind: FieldType, value: Value) -> Value {
    let step = rng.pick(&[0, 0, 1, -1_i64]);
    match (kind, value.as_u64(), value.as_i64()) {
        (FieldType::U64, Some(v), _) => v.saturating_add_signed(step).into(),
        (FieldType::I64, _, Some(v)) => v.saturating_add(step).into(),
        _ => value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringmill_shard::ndjson::parse_line;

    const PIPELINE: &str = r#"
ringmill = 1
[stream.s]
key = "k"
time = { field = "at", disorder = "1s", max_future = "1s" }
[stream.s.fields]
k = { id = 1, type = "u64" }
at = { id = 2, type = "time" }
i = { id = 3, type = "i64", optional = true }
f = { id = 4, type = "f64" }
b = { id = 5, type = "bool" }
t = { id = 6, type = "time" }
u = { id = 7, type = "uuid" }
short = { id = 8, type = "text(1)" }
kind = { id = 9, type = "text(11)" }
[view.v]
from = "s"
where = "kind = 'chest' and i > 700"
window = { kind = "tumbling", size = "1m", keep = "1h" }
[view.v.columns]
n = "count()"
"#;

    #[test]
    fn values_fit_their_fields_and_meet_what_expressions_name() {
        let pipeline = Pipeline::parse(PIPELINE).expect("a valid pipeline");
        let schema = &pipeline.streams[0].schema;
        for keys in [1, 3, 60] {
            let values = Values::new(&pipeline, keys);
            let mut rng = SimRng::new(keys);
            let (mut chests, mut above, mut nulls) = (0, 0, 0);
            for _ in 0..500 {
                let mut event = values.members(&mut rng, 0, 1_700_000_000_000);
                chests += i32::from(event["kind"] == "chest");
                above += i32::from(event["i"] == 701);
                nulls += i32::from(event["i"].is_null());
                event.insert("at".to_owned(), 5.into());
                let line = Value::Object(event).to_string();
                let mut row = vec![0; schema.row_len()];
                let parsed = parse_line(schema, line.as_bytes(), &mut row);
                assert_eq!(parsed, Ok(()), "{line}");
            }
            assert!(
                chests > 20 && above > 10 && nulls > 10,
                "{chests} {above} {nulls}"
            );
        }
    }
}
