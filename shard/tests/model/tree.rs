//! Expressions as trees: their text, and their meaning one row at a time.
//!
//! This is the definition that the columnar evaluation is held against: plain recursion, integers
//! in 128 bits, branches that are looked at only when SQL would look.

use ringmill_shard::oracle::Datum;
use ringmill_shard::oracle::operations::{
    Outcome, and, arithmetic, cast, compared, function, like, negative, not as negate, strict,
};
use ringmill_shard::schema::FieldType;
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
            Self::Like(negated, a, pattern) => {
                let fits = like(a.value(row), pattern);
                if *negated { negate(fits) } else { fits }
            }
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
            Self::Negate(kind, a) => negative(*kind, a.value(row)),
            Self::Call(name, args) => call(name, args, row),
            Self::Cast(kind, a) => cast(*kind, a.value(row)?),
        }
    }
}

/// The functions that choose look only at what they need.
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
        _ => {
            let args: Vec<Outcome> = args.iter().map(|arg| arg.value(row)).collect();
            function(name, &args)
        }
    }
}
