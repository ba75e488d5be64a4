use super::*;
use crate::echo::treasure_hunt;
use crate::keys::KeyDist;
use ringmill_shard::schema::FieldSpec;

fn plan(schema: Schema, key: &str, keys: u64) -> RowPlan {
    let key_field = schema.field(key).unwrap();
    RowPlan::new(
        schema,
        key_field,
        Keys::new(KeyDist::Uniform, keys).unwrap(),
    )
}

#[test]
fn treasure_hunt_rows_are_valid_and_in_range() {
    let plan = plan(treasure_hunt(), "player", 1000);
    assert!(plan.covered, "64 bytes, all of them cells");
    let schema = plan.schema().clone();
    let field = |name: &str| schema.field(name).unwrap();
    let seed = RowSeed::new(42, 0);
    let mut row = vec![0xffu8; schema.row_len()];
    let mut points = [0u32; 101];
    let mut regions = std::collections::BTreeMap::new();
    for sequence in 1..=20_000 {
        plan.write(&mut row, seed, sequence, 1_700_000_000_123);
        schema.validate(&row).unwrap();
        assert_eq!(
            schema.value(&row, field("at")),
            Value::Time(1_700_000_000_123)
        );
        match schema.value(&row, field("player")) {
            Value::U64(player) => assert!(player < 1000),
            other => panic!("{other:?}"),
        }
        match schema.value(&row, field("points")) {
            Value::I64(p) => points[usize::try_from(p).unwrap()] += 1,
            other => panic!("{other:?}"),
        }
        match schema.value(&row, field("region")) {
            Value::Text(region) => *regions.entry(region.to_owned()).or_insert(0u32) += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(points[0], 0);
    assert!(
        points[1..].iter().all(|count| (120..290).contains(count)),
        "{points:?}"
    );
    assert_eq!(regions.len(), 8);
    assert!(
        regions.values().all(|count| (2200..2800).contains(count)),
        "{regions:?}"
    );
}

#[test]
fn rows_repeat_for_their_sequence_and_differ_between_producers() {
    let plan = plan(treasure_hunt(), "player", 1_000_000);
    let bytes = plan.schema().row_len();
    let (mut first, mut second) = (vec![0u8; bytes], vec![0xaau8; bytes]);
    plan.write(&mut first, RowSeed::new(1, 0), 77, 5);
    plan.write(&mut second, RowSeed::new(1, 0), 77, 5);
    assert_eq!(first, second);
    for (seed, sequence) in [(RowSeed::new(1, 1), 77), (RowSeed::new(2, 0), 77)] {
        plan.write(&mut second, seed, sequence, 5);
        assert_ne!(first, second);
    }
}

#[test]
fn every_field_type_is_filled_with_valid_values() {
    let kinds = [
        "u64", "i64", "f64", "bool", "time", "uuid", "text(3)", "text(40)",
    ];
    let specs: Vec<FieldSpec> = (0..kinds.len() * 2)
        .map(|n| FieldSpec {
            id: n as u16 + 1,
            name: format!("f{n}"),
            kind: FieldType::parse(kinds[n % kinds.len()]).unwrap(),
            optional: n >= kinds.len(),
        })
        .collect();
    let schema = Schema::new(specs).unwrap();
    let mut row = vec![0u8; schema.row_len()];
    for key in (0..schema.fields.len()).filter(|n| n % kinds.len() != 2) {
        let keys = Keys::new(KeyDist::Sequential, 500).unwrap();
        let plan = RowPlan::new(schema.clone(), key, keys);
        let mut seen = std::collections::BTreeSet::new();
        for sequence in 0..500 {
            row.fill(0xff);
            plan.write(&mut row, RowSeed::new(3, 3), sequence, 12);
            schema.validate(&row).unwrap();
            seen.insert(schema.canonical_bytes(&row, key).to_vec());
        }
        let distinct = if schema.fields[key].kind == FieldType::Bool {
            2
        } else {
            500
        };
        assert_eq!(seen.len(), distinct, "field {key}");
    }
}
