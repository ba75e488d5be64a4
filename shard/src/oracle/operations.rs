//! What each operation of an expression means, for one value at a time: integers in 128 bits, nulls
//! and errors looked at first.

use super::{Datum, number};
use crate::expression::ErrorReason;
use crate::schema::FieldType;
use std::cmp::Ordering;

/// A value, or why there is none.
pub type Outcome = Result<Datum, ErrorReason>;

fn characters(text: &str) -> Vec<char> {
    text.chars().collect()
}

/// Whether a text fits a pattern of `like`.
pub fn like(text: Outcome, pattern: &str) -> Outcome {
    match text? {
        Datum::Text(text) => Ok(Datum::Bool(fits(&characters(pattern), &characters(&text)))),
        other => Ok(other),
    }
}

fn fits(pattern: &[char], text: &[char]) -> bool {
    match pattern.split_first() {
        None => text.is_empty(),
        Some(('%', rest)) => (0..=text.len()).any(|taken| fits(rest, &text[taken..])),
        Some((c, rest)) => text
            .split_first()
            .is_some_and(|(head, tail)| (*c == '_' || c == head) && fits(rest, tail)),
    }
}

/// Both operands are looked at: an error wins over null, the greater error over the other.
pub fn strict(a: Outcome, b: Outcome, op: impl Fn(&Datum, &Datum) -> Outcome) -> Outcome {
    match (a, b) {
        (Err(a), Err(b)) => Err(a.max(b)),
        (Err(error), _) | (_, Err(error)) => Err(error),
        (Ok(Datum::Null), _) | (_, Ok(Datum::Null)) => Ok(Datum::Null),
        (Ok(a), Ok(b)) => op(&a, &b),
    }
}

/// False if either is false.
pub fn and(a: Outcome, b: Outcome) -> Outcome {
    let no = Ok(Datum::Bool(false));
    if a == no || b == no {
        return no;
    }
    strict(a, b, |_, _| Ok(Datum::Bool(true)))
}

/// The other truth.
pub fn not(a: Outcome) -> Outcome {
    match a? {
        Datum::Bool(v) => Ok(Datum::Bool(!v)),
        other => Ok(other),
    }
}

/// A comparison by its sign.
pub fn compared(op: &str, a: Outcome, b: Outcome) -> Outcome {
    strict(a, b, |a, b| {
        let order = order(a, b);
        Ok(Datum::Bool(match op {
            "=" => order == Ordering::Equal,
            "<>" => order != Ordering::Equal,
            "<" => order == Ordering::Less,
            "<=" => order != Ordering::Greater,
            ">" => order == Ordering::Greater,
            ">=" => order != Ordering::Less,
            _ => panic!("{op}"),
        }))
    })
}

fn order(a: &Datum, b: &Datum) -> Ordering {
    match (a, b) {
        (Datum::F64(a), Datum::F64(b)) => a.partial_cmp(b).expect("finite"),
        (Datum::Text(a), Datum::Text(b)) => a.as_bytes().cmp(b.as_bytes()),
        (Datum::Bool(a), Datum::Bool(b)) => a.cmp(b),
        (Datum::Uuid(a), Datum::Uuid(b)) => a.cmp(b),
        _ => number(a).cmp(&number(b)),
    }
}

fn narrow(value: i128, kind: FieldType, error: ErrorReason) -> Outcome {
    match kind {
        FieldType::U64 => u64::try_from(value).map(Datum::U64).map_err(|_| error),
        FieldType::I64 => i64::try_from(value).map(Datum::I64).map_err(|_| error),
        FieldType::Time => {
            let years = -62_167_219_200_000..=253_402_300_799_999;
            let ms = i64::try_from(value).ok().filter(|ms| years.contains(ms));
            ms.map(Datum::Time).ok_or(ErrorReason::OutOfRange)
        }
        _ => panic!("{kind} is no integer"),
    }
}

/// The number below zero that is as far from it, or the other way round.
pub fn negative(kind: FieldType, a: Outcome) -> Outcome {
    match (kind, a?) {
        (_, Datum::Null) => Ok(Datum::Null),
        (FieldType::F64, Datum::F64(v)) => finite(-v),
        (_, integer) => narrow(-number(&integer), FieldType::I64, ErrorReason::Overflow),
    }
}

fn finite(value: f64) -> Outcome {
    if !value.is_finite() {
        return Err(ErrorReason::NotFinite);
    }
    Ok(Datum::F64(if value == 0.0 { 0.0 } else { value }))
}

/// Two numbers, or a time and a number, by a sign; the result is of type `kind`.
pub fn arithmetic(op: &str, kind: FieldType, a: &Datum, b: &Datum) -> Outcome {
    if let (Datum::F64(a), Datum::F64(b)) = (a, b) {
        return match op {
            "+" => finite(a + b),
            "-" => finite(a - b),
            "*" => finite(a * b),
            _ if *b == 0.0 => Err(ErrorReason::DivisionByZero),
            "/" => finite(a / b),
            "%" => finite(a % b),
            _ => panic!("{op}"),
        };
    }
    let (a, b) = (number(a), number(b));
    let result = match op {
        "+" => a.checked_add(b),
        "-" => a.checked_sub(b),
        "*" => a.checked_mul(b),
        _ if b == 0 => return Err(ErrorReason::DivisionByZero),
        "/" => a.checked_div(b),
        "%" => a.checked_rem(b),
        _ => panic!("{op}"),
    };
    let result = result.ok_or(ErrorReason::Overflow)?;
    narrow(result, kind, ErrorReason::Overflow)
}

/// A function that looks at all of its arguments.
pub fn function(name: &str, args: &[Outcome]) -> Outcome {
    if let "least" | "greatest" = name {
        let mut best = args[0].clone();
        for arg in &args[1..] {
            best = strict(best, arg.clone(), |a, b| {
                let a_is_less = order(a, b) == Ordering::Less;
                Ok(if a_is_less == (name == "least") { a } else { b }.clone())
            });
        }
        return best;
    }
    match (name, args[0].clone()?) {
        (_, Datum::Null) => Ok(Datum::Null),
        ("abs", Datum::F64(v)) => finite(v.abs()),
        ("abs", value @ Datum::U64(_)) => Ok(value),
        ("abs", value) => narrow(number(&value).abs(), FieldType::I64, ErrorReason::Overflow),
        ("floor", Datum::F64(v)) => finite(v.floor()),
        ("ceil", Datum::F64(v)) => finite(v.ceil()),
        ("round", Datum::F64(v)) => finite(v.round()),
        ("length", Datum::Text(text)) => Ok(Datum::U64(text.chars().count() as u64)),
        ("lower", Datum::Text(text)) => Ok(Datum::Text(text.to_ascii_lowercase())),
        ("upper", Datum::Text(text)) => Ok(Datum::Text(text.to_ascii_uppercase())),
        (name, value) => panic!("{name}({value:?})"),
    }
}

/// The value as one of another type.
pub fn cast(kind: FieldType, value: Datum) -> Outcome {
    match (kind, value) {
        (_, Datum::Null) => Ok(Datum::Null),
        (FieldType::F64, value @ Datum::F64(_)) => Ok(value),
        (FieldType::F64, value) => finite(number(&value) as f64),
        (kind, Datum::F64(v)) => {
            // Far beyond 64 bits the conversion to i128 is still exact or held at its ends.
            narrow(v.trunc() as i128, kind, ErrorReason::OutOfRange)
        }
        (kind, value) => narrow(number(&value), kind, ErrorReason::OutOfRange),
    }
}
