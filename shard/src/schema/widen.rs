//! Rows of a former schema as rows of the one that is in force.
//!
//! A schema only grows: fields keep their ids and types, new ones are optional. So a row of before
//! is widened by copying cells, and what it lacks is null. Whether it obeys its rules is judged as
//! it came: padding and bits of no field do not survive.

use super::check::{null_bit, set_null_bit};
use super::{FieldType, Schema};
use crate::limits::ROW_BYTES_MAX;

/// One field of both schemas.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Carry {
    from: u16,
    to: u16,
    bytes: u16,
    /// Null bits in both rows; `None` for a field that was required.
    null: Option<(u16, u16)>,
}

/// How rows of one schema become rows of another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Widening {
    from: Schema,
    to_bytes: u16,
    to_null_offset: u16,
    carries: Box<[Carry]>,
    /// Null bits of fields that the rows lack.
    absent: Box<[u16]>,
    /// For each field of the old schema its index in the new one.
    places: Box<[u8]>,
}

impl Widening {
    /// The way from `from` to `to`, or `None` if `to` is no growth of it: a field has gone, has
    /// another type, has become required, or a new one is required.
    pub fn new(from: &Schema, to: &Schema) -> Option<Widening> {
        let (mut carries, mut absent) = (Vec::new(), Vec::new());
        let mut places = vec![0; from.fields.len()];
        for (index, field) in to.fields.iter().enumerate() {
            let known = from.fields.iter().position(|old| old.id == field.id);
            let Some(place) = known else {
                absent.push(field.null_bit?);
                continue;
            };
            let old = &from.fields[place];
            if old.kind != field.kind || (old.optional && !field.optional) {
                return None;
            }
            places[place] = index as u8;
            carries.push(Carry {
                from: old.offset,
                to: field.offset,
                bytes: field.kind.cell_bytes() as u16,
                null: old.null_bit.zip(field.null_bit),
            });
        }
        let widening = Widening {
            from: from.clone(),
            to_bytes: to.row_bytes,
            to_null_offset: to.null_offset,
            absent: absent.into(),
            places: places.into(),
            carries: carries.into(),
        };
        (widening.carries.len() == from.fields.len()).then_some(widening)
    }

    /// The schema of the rows as they come.
    pub fn from(&self) -> &Schema {
        &self.from
    }

    /// The index in the new schema of a field of the old one.
    pub fn place(&self, field: usize) -> usize {
        usize::from(self.places[field])
    }

    /// The index in the old schema of a field of the new one, if the rows have it.
    pub fn origin(&self, field: usize) -> Option<usize> {
        let mut places = self.places.iter();
        places.position(|&place| usize::from(place) == field)
    }

    /// Replaces `out` by the rows, widened.
    ///
    /// # Panics
    /// If `rows` are no whole rows of the old schema.
    pub fn widen(&self, rows: &[u8], out: &mut Vec<u8>) {
        let row_bytes = self.from.row_len();
        assert!(
            rows.len().is_multiple_of(row_bytes),
            "invariant: whole rows of the old schema"
        );
        out.clear();
        out.resize(rows.len() / row_bytes * usize::from(self.to_bytes), 0);
        let new = out.chunks_exact_mut(usize::from(self.to_bytes));
        for (row, new) in rows.chunks_exact(row_bytes).zip(new) {
            self.widen_row(row, new);
        }
    }

    fn widen_row(&self, row: &[u8], new: &mut [u8]) {
        for carry in &self.carries {
            let (from, to) = (usize::from(carry.from), usize::from(carry.to));
            let bytes = usize::from(carry.bytes);
            new[to..to + bytes].copy_from_slice(&row[from..from + bytes]);
            if let Some((old_bit, new_bit)) = carry.null {
                let null = null_bit(row, self.from.null_offset, old_bit);
                set_null_bit(new, self.to_null_offset, new_bit, null);
            }
        }
        for &bit in &self.absent {
            set_null_bit(new, self.to_null_offset, bit, true);
        }
    }
}

/// Reads [`Schema::description`]; `None` if it is none.
pub(super) fn parse_description(text: &str) -> Option<Schema> {
    let mut lines = text.lines();
    if lines.next() != Some(super::DESCRIPTION_HEAD) {
        return None;
    }
    let specs = lines.map(|line| {
        let words: Vec<&str> = line.split(' ').collect();
        let [id, name, kind, presence] = words[..] else {
            return None;
        };
        let optional = match presence {
            "optional" => true,
            "required" => false,
            _ => return None,
        };
        Some(super::FieldSpec {
            id: id.parse().ok()?,
            name: name.to_owned(),
            kind: FieldType::parse(kind)?,
            optional,
        })
    });
    let schema = Schema::new(specs.collect::<Option<_>>()?).ok()?;
    (schema.description() == text && schema.row_len() <= ROW_BYTES_MAX).then_some(schema)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::FieldSpec;
    use crate::value::Value;

    /// Id, name, type, whether optional.
    type Spec<'a> = (u16, &'a str, &'a str, bool);

    fn schema(fields: &[Spec<'_>]) -> Schema {
        let specs = fields.iter().map(|&(id, name, kind, optional)| FieldSpec {
            id,
            name: name.to_owned(),
            kind: FieldType::parse(kind).unwrap(),
            optional,
        });
        Schema::new(specs.collect()).unwrap()
    }

    fn old() -> Schema {
        schema(&[
            (2, "player", "u64", false),
            (4, "team", "text(5)", true),
            (6, "won", "bool", false),
            (8, "lap", "f64", true),
        ])
    }

    fn new() -> Schema {
        schema(&[
            (1, "device", "uuid", true),
            (2, "gamer", "u64", false),
            (3, "note", "text(3)", true),
            (4, "team", "text(5)", true),
            (6, "won", "bool", true),
            (8, "lap", "f64", true),
            (9, "at", "time", true),
        ])
    }

    #[test]
    fn a_widened_row_has_the_same_values_and_nulls_for_what_is_new() {
        let (old, new) = (old(), new());
        let widening = Widening::new(&old, &new).unwrap();
        let mut rows = vec![0; 2 * old.row_len()];
        let (first, second) = rows.split_at_mut(old.row_len());
        old.set(first, 0, &Value::U64(7)).unwrap();
        old.set(first, 1, &Value::Null).unwrap();
        old.set(first, 2, &Value::Bool(true)).unwrap();
        old.set(first, 3, &Value::F64(1.5)).unwrap();
        old.set(second, 0, &Value::U64(8)).unwrap();
        old.set(second, 1, &Value::Text("red")).unwrap();
        old.set(second, 3, &Value::Null).unwrap();
        let mut out = vec![1; 3];
        widening.widen(&rows, &mut out);
        assert_eq!(out.len(), 2 * new.row_len());
        let null = Value::Null;
        let expected = [
            [
                null,
                Value::U64(7),
                null,
                null,
                Value::Bool(true),
                Value::F64(1.5),
                null,
            ],
            [
                null,
                Value::U64(8),
                null,
                Value::Text("red"),
                Value::Bool(false),
                null,
                null,
            ],
        ];
        for (row, expected) in out.chunks_exact(new.row_len()).zip(expected) {
            assert_eq!(new.validate(row), Ok(()));
            for (field, value) in expected.iter().enumerate() {
                assert_eq!(&new.value(row, field), value, "{field}");
            }
        }
        assert_eq!(
            [0, 1, 2, 3].map(|field| widening.place(field)),
            [1, 3, 4, 5]
        );
        assert_eq!(
            [0, 1, 5, 6].map(|field| widening.origin(field)),
            [None, Some(0), Some(3), None]
        );
    }

    #[test]
    fn only_growth_is_a_way() {
        let base = schema(&[(1, "a", "u64", false), (2, "b", "text(4)", true)]);
        let ways: [(&[Spec<'_>], bool); 7] = [
            (&[(1, "a", "u64", false), (2, "b", "text(4)", true)], true),
            (&[(1, "a", "u64", true), (2, "c", "text(4)", true)], true),
            (&[(1, "a", "u64", false)], false),
            (&[(1, "a", "u64", false), (2, "b", "text(4)", false)], false),
            (&[(1, "a", "u64", false), (2, "b", "text(5)", true)], false),
            (&[(1, "a", "i64", false), (2, "b", "text(4)", true)], false),
            (
                &[
                    (1, "a", "u64", false),
                    (2, "b", "text(4)", true),
                    (3, "c", "u64", false),
                ],
                false,
            ),
        ];
        for (fields, possible) in ways {
            let to = schema(fields);
            assert_eq!(Widening::new(&base, &to).is_some(), possible, "{fields:?}");
        }
    }

    #[test]
    fn descriptions_are_read_back_and_nothing_else() {
        for schema in [old(), new()] {
            assert_eq!(
                Schema::parse_description(&schema.description()),
                Some(schema)
            );
        }
        for text in [
            "",
            "ringmill-schema 1\n",
            "ringmill-schema 2\n1 a u64 required\n",
            "ringmill-schema 1\n1 a u64 maybe\n",
            "ringmill-schema 1\n1 a u64\n",
            "ringmill-schema 1\n1 a u65 required\n",
            "ringmill-schema 1\n0 a u64 required\n",
            "ringmill-schema 1\n2 b u64 required\n1 a u64 required\n",
            "ringmill-schema 1\n1 a u64 required",
        ] {
            assert_eq!(Schema::parse_description(text), None, "{text:?}");
        }
    }
}
