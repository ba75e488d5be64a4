use super::*;

fn spec(id: u16, name: &str, kind: FieldType, optional: bool) -> FieldSpec {
    FieldSpec {
        id,
        name: name.to_owned(),
        kind,
        optional,
    }
}

fn finds() -> Schema {
    Schema::new(vec![
        spec(1, "player", FieldType::U64, false),
        spec(2, "at", FieldType::Time, false),
        spec(3, "hunt", FieldType::U64, false),
        spec(4, "points", FieldType::I64, false),
        spec(5, "device", FieldType::U64, false),
        spec(6, "region", FieldType::Text(11), false),
        spec(7, "kind", FieldType::Text(11), false),
    ])
    .unwrap()
}

/// Every type, required and optional, with ids out of order and padding at the end.
fn mixed() -> Schema {
    Schema::new(vec![
        spec(20, "note", FieldType::Text(5), true),
        spec(3, "flag", FieldType::Bool, true),
        spec(9, "big", FieldType::U64, true),
        spec(4, "ratio", FieldType::F64, false),
        spec(5, "weight", FieldType::F64, true),
        spec(6, "at", FieldType::Time, false),
        spec(7, "seen", FieldType::Time, true),
        spec(8, "who", FieldType::Uuid, true),
        spec(10, "on", FieldType::Bool, false),
        spec(11, "long", FieldType::Text(40), false),
        spec(12, "delta", FieldType::I64, true),
        spec(13, "id", FieldType::Uuid, false),
        spec(14, "tiny", FieldType::Text(1), true),
    ])
    .unwrap()
}

#[test]
fn treasure_hunt_row_is_64_bytes() {
    let schema = finds();
    assert_eq!(schema.row_bytes, 64);
    let offsets: Vec<u16> = schema.fields.iter().map(|field| field.offset).collect();
    assert_eq!(offsets, [0, 8, 16, 24, 32, 40, 52]);
    let kinds: Vec<_> = schema.checks.iter().map(std::mem::discriminant).collect();
    assert_eq!(
        kinds.len(),
        3,
        "one time and two texts: {:?}",
        schema.checks
    );
}

#[test]
fn integers_compile_to_no_check() {
    let schema = Schema::new(vec![
        spec(1, "a", FieldType::U64, false),
        spec(2, "b", FieldType::I64, false),
        spec(3, "c", FieldType::Uuid, false),
    ])
    .unwrap();
    assert!(schema.checks.is_empty());
    assert_eq!(schema.validate(&[0xff; 32]), Ok(()));
}

#[test]
fn mixed_layout_is_classes_in_id_order() {
    let schema = mixed();
    let mut placed: Vec<(u16, &str)> = schema
        .fields
        .iter()
        .map(|field| (field.offset, field.name.as_str()))
        .collect();
    placed.sort();
    let expected = [
        (0, "ratio"),
        (8, "weight"),
        (16, "at"),
        (24, "seen"),
        (32, "big"),
        (40, "delta"),
        (48, "who"),
        (64, "id"),
        (80, "long"),
        (121, "tiny"),
        (123, "note"),
        (129, "flag"),
        (130, "on"),
    ];
    assert_eq!(placed, expected);
    assert_eq!((schema.null_offset, schema.row_bytes), (131, 136));
    let bits: Vec<(&str, u16)> = schema
        .fields
        .iter()
        .filter_map(|field| field.null_bit.map(|bit| (field.name.as_str(), bit)))
        .collect();
    let expected = [
        ("flag", 0),
        ("weight", 1),
        ("seen", 2),
        ("who", 3),
        ("big", 4),
        ("delta", 5),
        ("tiny", 6),
        ("note", 7),
    ];
    assert_eq!(bits, expected);
}

#[test]
fn id_is_pinned_and_covers_everything_declared() {
    let schema = finds();
    assert!(
        schema
            .description()
            .starts_with("ringmill-schema 1\n1 player u64 required\n")
    );
    assert_eq!(
        schema.id,
        xxhash_rust::xxh3::xxh3_64(schema.description().as_bytes()) as u32
    );
    assert_eq!(schema.id, FINDS_ID, "{:#x}", schema.id);
    let base = schema.specs();
    for change in [
        |specs: &mut Vec<FieldSpec>| specs[0].id = 99,
        |specs: &mut Vec<FieldSpec>| specs[0].name = "gamer".to_owned(),
        |specs: &mut Vec<FieldSpec>| specs[0].kind = FieldType::I64,
        |specs: &mut Vec<FieldSpec>| specs[5].kind = FieldType::Text(12),
        |specs: &mut Vec<FieldSpec>| specs[0].optional = true,
    ] {
        let mut specs = base.clone();
        change(&mut specs);
        assert_ne!(Schema::new(specs).unwrap().id, schema.id);
    }
    let mut reversed = base;
    reversed.reverse();
    assert_eq!(Schema::new(reversed).unwrap(), schema);
}

const FINDS_ID: u32 = 0x2778_f842;

fn filled(schema: &Schema) -> Vec<u8> {
    let mut row = vec![0u8; schema.row_len()];
    for (name, value) in [
        ("note", Value::Text("h\u{e9}y")),
        ("flag", Value::Bool(true)),
        ("big", Value::U64(u64::MAX)),
        ("ratio", Value::F64(-1.5)),
        ("weight", Value::F64(0.25)),
        ("at", Value::Time(1_357_035_300_000)),
        ("seen", Value::Time(-1)),
        ("who", Value::Uuid([7; 16])),
        ("on", Value::Bool(true)),
        ("long", Value::Text("forty bytes are enough for this text")),
        ("delta", Value::I64(i64::MIN)),
        ("id", Value::Uuid(*b"0123456789abcdef")),
        ("tiny", Value::Text("x")),
    ] {
        let field = schema.field(name).unwrap();
        schema.set(&mut row, field, &value).unwrap();
        assert_eq!(schema.value(&row, field), value);
        let mut canonical = Vec::new();
        value.write_canonical(&mut canonical);
        assert_eq!(schema.canonical_bytes(&row, field), canonical);
        assert_eq!(schema.value_of_canonical(field, &canonical), Some(value));
    }
    row
}

#[test]
fn values_round_trip_and_nulls_are_zero() {
    let schema = mixed();
    let mut row = filled(&schema);
    assert_eq!(schema.validate(&row), Ok(()));
    for field in 0..schema.fields.len() {
        let before = row.clone();
        let result = schema.set(&mut row, field, &Value::Null);
        if schema.fields[field].optional {
            assert_eq!(result, Ok(()));
            assert!(schema.is_null(&row, field));
            assert_eq!(schema.value(&row, field), Value::Null);
            assert_eq!(schema.canonical_bytes(&row, field), b"");
            assert_eq!(schema.validate(&row), Ok(()));
        } else {
            let missing = Reject::of_field(RejectReason::Missing, field as u8);
            assert_eq!(result, Err(missing));
            assert_eq!(row, before);
        }
    }
}

#[test]
fn a_cell_that_is_set_again_keeps_nothing_of_before() {
    let schema = mixed();
    let field = schema.field("note").unwrap();
    let mut row = filled(&schema);
    for value in [
        Value::Text("fives"),
        Value::Text("a"),
        Value::Null,
        Value::Text("b"),
    ] {
        schema.set(&mut row, field, &value).unwrap();
        assert_eq!(schema.value(&row, field), value);
        assert_eq!(schema.validate(&row), Ok(()), "{value:?}");
    }
}

#[test]
fn null_cells_must_be_zero() {
    let schema = mixed();
    for (index, field) in schema
        .fields
        .iter()
        .enumerate()
        .filter(|(_, field)| field.optional)
    {
        let mut row = filled(&schema);
        schema.set(&mut row, index, &Value::Null).unwrap();
        for byte in 0..field.kind.cell_bytes() {
            let at = usize::from(field.offset) + byte;
            row[at] = 1;
            let stray = Reject::of_field(RejectReason::BadPadding, index as u8);
            assert_eq!(
                schema.validate(&row),
                Err(stray),
                "{} byte {byte}",
                field.name
            );
            row[at] = 0;
        }
    }
}

#[test]
fn padding_and_unknown_null_bits() {
    let schema = mixed();
    for at in 132..136 {
        let mut row = filled(&schema);
        row[at] = 0x80;
        assert_eq!(
            schema.validate(&row),
            Err(Reject::of_row(RejectReason::BadPadding))
        );
    }
    let three = Schema::new(vec![
        spec(1, "a", FieldType::U64, true),
        spec(2, "b", FieldType::U64, true),
        spec(3, "c", FieldType::U64, true),
    ])
    .unwrap();
    let mut row = vec![0u8; three.row_len()];
    row[24] = 0b0000_0111;
    assert_eq!(three.validate(&row), Ok(()));
    for bit in 3..8 {
        row[24] = 1 << bit;
        assert_eq!(
            three.validate(&row),
            Err(Reject::of_row(RejectReason::UnknownNull))
        );
    }
}

#[test]
fn values_refused_by_validate_and_set() {
    let schema = mixed();
    let index = |name: &str| schema.field(name).unwrap();
    let refused = |name: &str, bytes: &[u8], reason: RejectReason| {
        let mut row = filled(&schema);
        let at = usize::from(schema.fields[index(name)].offset);
        row[at..at + bytes.len()].copy_from_slice(bytes);
        let expected = Reject::of_field(reason, index(name) as u8);
        assert_eq!(schema.validate(&row), Err(expected), "{name} {bytes:?}");
    };
    for special in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        refused("ratio", &special.to_le_bytes(), RejectReason::NotFinite);
        refused("weight", &special.to_le_bytes(), RejectReason::NotFinite);
        let mut row = filled(&schema);
        let expected = Reject::of_field(RejectReason::NotFinite, index("ratio") as u8);
        assert_eq!(
            schema.set(&mut row, index("ratio"), &Value::F64(special)),
            Err(expected)
        );
    }
    for ms in [
        i64::MIN,
        i64::MAX,
        crate::limits::TIME_MS_MIN - 1,
        crate::limits::TIME_MS_MAX + 1,
    ] {
        refused("at", &ms.to_le_bytes(), RejectReason::OutOfRange);
        refused("seen", &ms.to_le_bytes(), RejectReason::OutOfRange);
    }
    refused("on", &[2], RejectReason::BadBool);
    refused("flag", &[255], RejectReason::BadBool);
    refused("note", &[6], RejectReason::TextTooLong);
    refused("note", b"\x02ab\0\0x", RejectReason::BadText);
    refused("note", b"\x02\xff\xfe\0\0\0", RejectReason::BadText);
    refused("tiny", b"\x01\x80", RejectReason::BadText);
    let mut row = filled(&schema);
    let too_long = Reject::of_field(RejectReason::TextTooLong, index("note") as u8);
    assert_eq!(
        schema.set(&mut row, index("note"), &Value::Text("sixsix")),
        Err(too_long)
    );
    let wrong = Reject::of_field(RejectReason::WrongType, index("note") as u8);
    assert_eq!(
        schema.set(&mut row, index("note"), &Value::U64(1)),
        Err(wrong)
    );
}

#[test]
fn negative_zero_is_read_and_written_as_zero() {
    let schema = mixed();
    let field = schema.field("ratio").unwrap();
    let mut row = filled(&schema);
    schema.set(&mut row, field, &Value::F64(-0.0)).unwrap();
    assert_eq!(&row[0..8], [0; 8]);
    row[0..8].copy_from_slice(&(-0.0f64).to_le_bytes());
    assert_eq!(schema.validate(&row), Ok(()));
    let Value::F64(read) = schema.value(&row, field) else {
        panic!("an f64")
    };
    assert_eq!(read.to_bits(), 0);
}

/// The quick way for texts of 8 to 16 bytes against the definition, byte by byte.
#[test]
fn text_check_agrees_with_its_definition() {
    for capacity in 1..=24u8 {
        let schema = Schema::new(vec![spec(1, "t", FieldType::Text(capacity), false)]).unwrap();
        for length in 0..=capacity {
            let mut row = vec![0u8; schema.row_len()];
            schema
                .set(&mut row, 0, &Value::Text(&"z".repeat(length.into())))
                .unwrap();
            assert_eq!(schema.validate(&row), Ok(()));
            for at in 0..capacity {
                for stray in [1u8, 0x80] {
                    let mut changed = row.clone();
                    changed[1 + usize::from(at)] = stray;
                    let fine = at < length && stray == 1;
                    assert_eq!(
                        schema.validate(&changed).is_ok(),
                        fine,
                        "{capacity} {length} {at}"
                    );
                }
            }
        }
    }
}

#[test]
fn schemas_refused() {
    let of = |specs: Vec<FieldSpec>| Schema::new(specs).unwrap_err().to_string();
    let one = |id, name: &str, kind| of(vec![spec(id, name, kind, false)]);
    assert_eq!(of(vec![]), "a stream needs at least one field");
    assert_eq!(
        one(0, "a", FieldType::U64),
        "field `a` has id 0; ids are 1 to 65535"
    );
    assert_eq!(
        one(1, "a", FieldType::Text(0)),
        "field `a` is text(0); a text holds 1 to 255 bytes"
    );
    for name in ["", "1a", "a b", "a-b", "\u{e9}", &"n".repeat(65)] {
        let message = one(1, name, FieldType::U64);
        assert!(
            message.starts_with(&format!("`{name}` is no field name")),
            "{message}"
        );
    }
    let two = |id, name: &str| {
        of(vec![
            spec(1, "a", FieldType::U64, false),
            spec(id, name, FieldType::U64, false),
        ])
    };
    assert_eq!(two(1, "b"), "fields `a` and `b` both have id 1");
    assert_eq!(two(2, "a"), "two fields are named `a`");
    let many = |count: u16, kind| {
        of((1..=count)
            .map(|id| spec(id, &format!("f{id}"), kind, false))
            .collect())
    };
    assert_eq!(
        many(65, FieldType::U64),
        "65 fields; a stream has at most 64"
    );
    assert_eq!(
        many(5, FieldType::Text(255)),
        "a row takes 1280 bytes; at most 1024 are possible"
    );
}

#[test]
fn type_texts_and_codes() {
    for kind in [
        FieldType::U64,
        FieldType::I64,
        FieldType::F64,
        FieldType::Bool,
        FieldType::Time,
        FieldType::Uuid,
        FieldType::Text(1),
        FieldType::Text(255),
    ] {
        assert_eq!(FieldType::parse(&kind.to_string()), Some(kind));
        assert_eq!(
            FieldType::from_code(kind.code(), kind.capacity()),
            Some(kind)
        );
    }
    for text in [
        "",
        "U64",
        "text",
        "text()",
        "text(0)",
        "text(256)",
        "text(+1)",
        "text(1",
        "int",
    ] {
        assert_eq!(FieldType::parse(text), None, "{text}");
    }
    for (code, capacity) in [(0, 0), (8, 0), (1, 1), (7, 0)] {
        assert_eq!(FieldType::from_code(code, capacity), None);
    }
}
