//! Columnar evaluation, and the operations of the plan one after the other, against plain recursion:
//! one row at a time, over random expressions and rows.

#![allow(clippy::unwrap_used)] // Helpers of tests, but not test functions themselves.

mod model;

use model::grow::{Grow, Leaf};
use model::random::Random;
use model::tree::Tree;
use ringmill_shard::expression::{ErrorReason, Evaluator, Expression, Named, Scope};
use ringmill_shard::oracle::operations::Outcome;
use ringmill_shard::oracle::{self, Datum};
use ringmill_shard::schema::{FieldSpec, FieldType, Schema};
use std::collections::BTreeMap;

const KINDS: [FieldType; 7] = [
    FieldType::U64,
    FieldType::I64,
    FieldType::F64,
    FieldType::Bool,
    FieldType::Time,
    FieldType::Uuid,
    FieldType::Text(20),
];

/// Two fields of every type, one of them optional.
fn schema() -> Schema {
    let spec = |(index, kind): (usize, FieldType)| FieldSpec {
        id: index as u16 + 1,
        name: format!("f{index}"),
        kind,
        optional: index >= KINDS.len(),
    };
    let kinds = KINDS.into_iter().chain(KINDS);
    Schema::new(kinds.enumerate().map(spec).collect()).unwrap()
}

fn leaves(schema: &Schema) -> Vec<Leaf> {
    let leaf = |(place, field): (usize, &ringmill_shard::schema::Field)| Leaf {
        name: field.name.clone(),
        place,
        kind: field.kind,
    };
    schema.fields.iter().enumerate().map(leaf).collect()
}

/// The names of the fields and of some computed columns.
fn scope<'a>(schema: &'a Schema, computed: &'a [(String, Expression)]) -> Scope<'a> {
    let fields = schema.fields.iter();
    let fields = fields.map(|field| (&*field.name, field.kind, field.optional));
    let computed = computed.iter();
    let computed = computed.map(|(name, of)| (&**name, of.kind(), of.optional()));
    let named = |(column, (name, kind, optional))| {
        let kind = Some(kind);
        (
            name,
            Named {
                column,
                kind,
                optional,
            },
        )
    };
    Scope {
        stream: "s",
        fields: schema.fields.len(),
        columns: fields.chain(computed).enumerate().map(named).collect(),
        later: &[],
    }
}

fn datum(random: &mut Random, kind: FieldType) -> Datum {
    let small = random.below(6);
    let wide = random.next();
    match kind {
        FieldType::U64 if random.chance(15) => Datum::U64(u64::MAX - small),
        FieldType::U64 if random.chance(15) => Datum::U64(wide),
        FieldType::U64 => Datum::U64(small),
        FieldType::I64 if random.chance(10) => Datum::I64(i64::MIN + small as i64),
        FieldType::I64 if random.chance(10) => Datum::I64(i64::MAX - small as i64),
        FieldType::I64 if random.chance(15) => Datum::I64(wide as i64),
        FieldType::I64 => Datum::I64(small as i64 - 3),
        FieldType::F64 if random.chance(20) => {
            let values = [
                f64::MAX,
                f64::MIN,
                5e-324,
                1.8e19,
                -9.3e18,
                9.2e18,
                0.5,
                -0.5,
            ];
            Datum::F64(*random.pick(&values))
        }
        FieldType::F64 => Datum::F64((small as f64 - 3.0) * 0.5),
        FieldType::Bool => Datum::Bool(small < 3),
        FieldType::Time if random.chance(10) => {
            Datum::Time(*random.pick(&[-62_167_219_200_000, 253_402_300_799_999]))
        }
        FieldType::Time => Datum::Time(small as i64 * 1_234_567 - 3_000_000),
        FieldType::Uuid => Datum::Uuid([small as u8; 16]),
        FieldType::Text(_) => {
            let texts = ["", "a", "AB", "\u{e9}a\u{1f600}", "abab", "O'Clock"];
            Datum::Text(texts[small as usize].to_owned())
        }
    }
}

fn rows(random: &mut Random, schema: &Schema, count: usize) -> (Vec<Vec<Outcome>>, Vec<u8>) {
    let (mut data, mut bytes) = (Vec::new(), Vec::new());
    for _ in 0..count {
        let mut row = vec![0; schema.row_len()];
        let mut values = Vec::new();
        for (index, field) in schema.fields.iter().enumerate() {
            let value = match field.optional && random.chance(30) {
                true => Datum::Null,
                false => datum(random, field.kind),
            };
            schema.set(&mut row, index, &value.value()).unwrap();
            values.push(Ok(value));
        }
        data.push(values);
        bytes.extend_from_slice(&row);
    }
    (data, bytes)
}

fn parse(text: &str, scope: &Scope<'_>) -> Expression {
    Expression::parse(text, scope, None).unwrap_or_else(|refusal| panic!("{text}: {refusal:?}"))
}

/// What came out, by kind of outcome, so that the test can tell that it saw all of them.
type Seen = BTreeMap<String, u64>;

fn note(seen: &mut Seen, outcome: &Result<Datum, ErrorReason>) {
    let name = match outcome {
        Ok(Datum::Null) => "null".to_owned(),
        Ok(_) => "value".to_owned(),
        Err(reason) => reason.name().to_owned(),
    };
    *seen.entry(name).or_default() += 1;
}

/// Grows expressions of every type, evaluates them over the same rows, and compares.
fn compare(seed: u64, count: usize, row_count: usize, depth: u32, seen: &mut Seen) {
    let mut random = Random(seed);
    let schema = schema();
    let mut trees: Vec<Tree> = Vec::new();
    let mut computed: Vec<(String, Expression)> = Vec::new();
    for index in 0..count {
        let kind = *random.pick(&KINDS);
        let leaves = leaves(&schema);
        let mut grow = Grow {
            random: &mut random,
            leaves,
        };
        let tree = grow.tree(kind, depth);
        let text = tree.to_string();
        if text.len() > 4_000 {
            continue;
        }
        let expression = parse(&text, &scope(&schema, &[]));
        let matches = match (expression.kind(), kind) {
            (FieldType::Text(_), FieldType::Text(_)) => true,
            (found, wanted) => found == wanted,
        };
        assert!(matches, "seed {seed}: {text} is {}", expression.kind());
        computed.push((format!("c{index}"), expression));
        trees.push(tree);
    }
    let expressions: Vec<&Expression> = computed.iter().map(|(_, of)| of).collect();
    let fields = schema.fields.len();
    let wanted: Vec<usize> = (fields..fields + trees.len()).collect();
    let mut evaluator = Evaluator::new(&schema, &expressions, &wanted);
    // Twice: what a batch leaves behind must not show in the next.
    for _ in 0..2 {
        let (data, bytes) = rows(&mut random, &schema, row_count);
        evaluator.evaluate(&schema, &bytes);
        for (index, tree) in trees.iter().enumerate() {
            for (row, values) in data.iter().enumerate() {
                let expected = tree.value(values);
                let found = evaluator.value(&bytes, fields + index, row).map(Datum::of);
                assert_eq!(found, expected, "seed {seed}: {tree}\nover {values:?}");
                let plain = oracle::expression::value(expressions[index], fields, values);
                assert_eq!(plain, expected, "seed {seed}: {tree}\nover {values:?}");
                assert!(
                    expected != Ok(Datum::Null) || expressions[index].optional(),
                    "seed {seed}: {tree} is null"
                );
                note(seen, &expected);
            }
        }
    }
}

fn all_seen(seen: &Seen) {
    let reasons = ErrorReason::ALL.map(ErrorReason::name);
    for name in ["null", "value"].into_iter().chain(reasons) {
        assert!(seen.contains_key(name), "{name}: {seen:?}");
    }
}

#[test]
fn random_expressions_equal_plain_recursion() {
    let mut seen = Seen::new();
    for seed in 0..1_200 {
        compare(seed, 20, 5, 1 + (seed % 4) as u32, &mut seen);
    }
    all_seen(&seen);
}

#[test]
fn batches_of_many_chunks_equal_plain_recursion() {
    let mut seen = Seen::new();
    for (seed, row_count) in [
        (1_000_001, 255),
        (1_000_002, 256),
        (1_000_003, 257),
        (1_000_004, 1_000),
    ] {
        compare(seed, 30, row_count, 3, &mut seen);
    }
    all_seen(&seen);
}

#[test]
fn columns_use_the_columns_before_them() {
    for seed in 0..300 {
        let mut random = Random(seed + 5_000_000);
        let schema = schema();
        let fields = schema.fields.len();
        let mut leaves = leaves(&schema);
        let mut computed: Vec<(String, Expression)> = Vec::new();
        let mut trees = Vec::new();
        for index in 0..6 {
            let kind = *random.pick(&KINDS);
            let mut grow = Grow {
                random: &mut random,
                leaves: leaves.clone(),
            };
            let tree = grow.tree(kind, 2);
            let expression = parse(&tree.to_string(), &scope(&schema, &computed));
            let name = format!("c{index}");
            leaves.push(Leaf {
                name: name.clone(),
                place: fields + index,
                kind: expression.kind(),
            });
            computed.push((name, expression));
            trees.push(tree);
        }
        let expressions: Vec<&Expression> = computed.iter().map(|(_, of)| of).collect();
        // Only some are wanted; what they use comes along.
        let wanted: Vec<usize> = (0..fields + 6).filter(|_| random.chance(50)).collect();
        let mut evaluator = Evaluator::new(&schema, &expressions, &wanted);
        let (data, bytes) = rows(&mut random, &schema, 12);
        evaluator.evaluate(&schema, &bytes);
        for (row, values) in data.iter().enumerate() {
            let mut values = values.clone();
            for (index, tree) in trees.iter().enumerate() {
                let value = tree.value(&values);
                let column = fields + index;
                let plain = oracle::expression::value(&computed[index].1, fields, &values);
                assert_eq!(plain, value, "seed {seed}: {tree}");
                if wanted.contains(&column) {
                    let found = evaluator.value(&bytes, column, row).map(Datum::of);
                    assert_eq!(found, value, "seed {seed}: {tree}");
                }
                values.push(value);
            }
            for &field in wanted.iter().filter(|&&column| column < fields) {
                let found = evaluator.value(&bytes, field, row).map(Datum::of);
                assert_eq!(found, values[field], "seed {seed}: field {field}");
            }
        }
    }
}
