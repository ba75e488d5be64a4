//! Expressions as trees: their text, and their meaning one row at a time.
//!
//! This is the definition that the columnar evaluation is held against: plain recursion, integers
//! in 128 bits, branches that are looked at only when SQL would look.

use super::generate::Datum;
use ringmill_shard::expression::ErrorReason;
use ringmill_shard::schema::FieldType;
use std::cmp::Ordering;
use std::fmt;

/// An expression. Types are those that the generator made it with.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Tree {
    /// A column of the stream: its name and its place in the row.
    Column(String, usize),
    /// A literal with its type spelled out.
    Literal(Datum),
    /// A literal that takes its type from the operand beside it.
    Plain(Datum),
    /// Null.
    Null,
    Arithmetic(&'static str, FieldType, Box<Tree>, Box<Tree>),
    Compare(&'static str, Box<Tree>, Box<Tree>),
    And(Box<Tree>, Box<Tree>),
    Or(Box<Tree>, Box<Tree>),
    Not(Box<Tree>),
    IsNull(bool, Box<Tree>),
    In(bool, Box<Tree>, Vec<Tree>),
    Between(bool, Box<Tree>, Box<Tree>, Box<Tree>),
    Like(bool, Box<Tree>, String),
    Case(Option<Box<Tree>>, Vec<(Tree, Tree)>, Option<Box<Tree>>),
    Negate(FieldType, Box<Tree>),
    /// A function by name.
    Call(&'static str, Vec<Tree>),
    Cast(FieldType, Box<Tree>),
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

fn plain(datum: &Datum) -> String {
    match datum {
        Datum::U64(v) => format!("{v}"),
        Datum::I64(v) if *v < 0 => format!("({v})"),
        Datum::I64(v) => format!("{v}"),
        Datum::F64(v) if *v < 0.0 => format!("(-{:e})", -v),
        Datum::F64(v) => format!("{v:e}"),
        Datum::Bool(v) => format!("{v}"),
        Datum::Time(ms) => {
            let time = ringmill_shard::value::Value::Time(*ms);
            format!("timestamp '{time}'")
        }
        Datum::Uuid(_) => format!("uuid '{}'", datum.value()),
        Datum::Text(text) => quoted(text),
        Datum::Null => "null".to_owned(),
    }
}

fn not(negated: bool) -> &'static str {
    if negated { "not " } else { "" }
}

fn list(trees: &[Tree]) -> String {
    let texts: Vec<String> = trees.iter().map(Tree::to_string).collect();
    texts.join(", ")
}

impl fmt::Display for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Column(name, _) => f.write_str(name),
            Self::Literal(datum @ Datum::U64(_)) => write!(f, "cast({} as u64)", plain(datum)),
            Self::Literal(datum @ Datum::I64(_)) => write!(f, "cast({} as i64)", plain(datum)),
            Self::Literal(datum) | Self::Plain(datum) => f.write_str(&plain(datum)),
            Self::Null => f.write_str("null"),
            Self::Arithmetic(op, _, a, b) | Self::Compare(op, a, b) => write!(f, "({a} {op} {b})"),
            Self::And(a, b) => write!(f, "({a} and {b})"),
            Self::Or(a, b) => write!(f, "({a} or {b})"),
            Self::Not(a) => write!(f, "(not {a})"),
            Self::IsNull(negated, a) => write!(f, "({a} is {}null)", not(*negated)),
            Self::In(negated, a, all) => write!(f, "({a} {}in ({}))", not(*negated), list(all)),
            Self::Between(negated, a, low, high) => {
                write!(f, "({a} {}between {low} and {high})", not(*negated))
            }
            Self::Like(negated, a, pattern) => {
                write!(f, "({a} {}like {})", not(*negated), quoted(pattern))
            }
            Self::Case(subject, branches, otherwise) => {
                f.write_str("case")?;
                if let Some(subject) = subject {
                    write!(f, " {subject}")?;
                }
                for (condition, result) in branches {
                    write!(f, " when {condition} then {result}")?;
                }
                if let Some(otherwise) = otherwise {
                    write!(f, " else {otherwise}")?;
                }
                f.write_str(" end")
            }
            Self::Negate(_, a) => write!(f, "(- {a})"),
            Self::Call(name, args) => write!(f, "{name}({})", list(args)),
            Self::Cast(kind, a) => write!(f, "cast({a} as {kind})"),
        }
    }
}

pub(crate) type Outcome = Result<Datum, ErrorReason>;

impl Tree {
    /// The value for a row: its fields, then the columns that were computed before.
    pub(crate) fn value(&self, row: &[Outcome]) -> Outcome {
        match self {
            Self::Column(_, place) => row[*place].clone(),
            Self::Literal(datum) | Self::Plain(datum) => Ok(datum.clone()),
            Self::Null => Ok(Datum::Null),
            Self::Arithmetic(op, kind, a, b) => strict(a.value(row), b.value(row), |a, b| {
                arithmetic(op, *kind, a, b)
            }),
            Self::Compare(op, a, b) => compared(op, a.value(row), b.value(row)),
            Self::And(a, b) => and(a.value(row), b.value(row)),
            Self::Or(a, b) => negate(and(negate(a.value(row)), negate(b.value(row)))),
            Self::Not(a) => negate(a.value(row)),
            Self::IsNull(negated, a) => {
                let is_null = a.value(row)? == Datum::Null;
                Ok(Datum::Bool(is_null != *negated))
            }
            Self::In(negated, a, all) => {
                // a in (x, y) is a = x or a = y: not (not a = x and not a = y).
                let mut none = Ok(Datum::Bool(true));
                for item in all {
                    none = and(none, negate(compared("=", a.value(row), item.value(row))));
                }
                if *negated { none } else { negate(none) }
            }
            Self::Between(negated, a, low, high) => {
                let above = compared(">=", a.value(row), low.value(row));
                let within = and(above, compared("<=", a.value(row), high.value(row)));
                if *negated { negate(within) } else { within }
            }
            Self::Like(negated, a, pattern) => match a.value(row)? {
                Datum::Text(text) => {
                    let (pattern, text) = (characters(pattern), characters(&text));
                    Ok(Datum::Bool(fits(&pattern, &text) != *negated))
                }
                other => Ok(other),
            },
            Self::Case(subject, branches, otherwise) => {
                for (condition, result) in branches {
                    let truth = match subject {
                        None => condition.value(row)?,
                        Some(subject) => compared("=", subject.value(row), condition.value(row))?,
                    };
                    if truth == Datum::Bool(true) {
                        return result.value(row);
                    }
                }
                otherwise
                    .as_ref()
                    .map_or(Ok(Datum::Null), |tree| tree.value(row))
            }
            Self::Negate(kind, a) => match (kind, a.value(row)?) {
                (_, Datum::Null) => Ok(Datum::Null),
                (FieldType::F64, Datum::F64(v)) => finite(-v),
                (_, integer) => narrow(-number(&integer), FieldType::I64, ErrorReason::Overflow),
            },
            Self::Call(name, args) => call(name, args, row),
            Self::Cast(kind, a) => cast(*kind, a.value(row)?),
        }
    }
}

fn characters(text: &str) -> Vec<char> {
    text.chars().collect()
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
fn strict(a: Outcome, b: Outcome, op: impl Fn(&Datum, &Datum) -> Outcome) -> Outcome {
    match (a, b) {
        (Err(a), Err(b)) => Err(a.max(b)),
        (Err(error), _) | (_, Err(error)) => Err(error),
        (Ok(Datum::Null), _) | (_, Ok(Datum::Null)) => Ok(Datum::Null),
        (Ok(a), Ok(b)) => op(&a, &b),
    }
}

/// False if either is false.
fn and(a: Outcome, b: Outcome) -> Outcome {
    let no = Ok(Datum::Bool(false));
    if a == no || b == no {
        return no;
    }
    strict(a, b, |_, _| Ok(Datum::Bool(true)))
}

fn negate(a: Outcome) -> Outcome {
    match a? {
        Datum::Bool(v) => Ok(Datum::Bool(!v)),
        other => Ok(other),
    }
}

fn compared(op: &str, a: Outcome, b: Outcome) -> Outcome {
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

fn number(datum: &Datum) -> i128 {
    match datum {
        Datum::U64(v) => i128::from(*v),
        Datum::I64(v) | Datum::Time(v) => i128::from(*v),
        _ => panic!("{datum:?} is no integer"),
    }
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

fn finite(value: f64) -> Outcome {
    if !value.is_finite() {
        return Err(ErrorReason::NotFinite);
    }
    Ok(Datum::F64(if value == 0.0 { 0.0 } else { value }))
}

fn arithmetic(op: &str, kind: FieldType, a: &Datum, b: &Datum) -> Outcome {
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

fn call(name: &str, args: &[Tree], row: &[Outcome]) -> Outcome {
    match name {
        "coalesce" => {
            for arg in args {
                let value = arg.value(row)?;
                if value != Datum::Null {
                    return Ok(value);
                }
            }
            Ok(Datum::Null)
        }
        "nullif" => {
            let (value, other) = (args[0].value(row), args[1].value(row));
            match compared("=", value.clone(), other)? {
                Datum::Bool(true) => Ok(Datum::Null),
                _ => value,
            }
        }
        "least" | "greatest" => {
            let mut best = args[0].value(row);
            for arg in &args[1..] {
                best = strict(best, arg.value(row), |a, b| {
                    let a_is_less = order(a, b) == Ordering::Less;
                    Ok(if a_is_less == (name == "least") { a } else { b }.clone())
                });
            }
            best
        }
        _ => match (name, args[0].value(row)?) {
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
        },
    }
}

fn cast(kind: FieldType, value: Datum) -> Outcome {
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
