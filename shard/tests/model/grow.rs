//! Random expressions of a wanted type.

use super::random::Random;
use super::tree::Tree;
use ringmill_shard::oracle::Datum;
use ringmill_shard::schema::FieldType;

/// A column that trees may name.
#[derive(Debug, Clone)]
pub(crate) struct Leaf {
    pub(crate) name: String,
    pub(crate) place: usize,
    pub(crate) kind: FieldType,
}

pub(crate) struct Grow<'r> {
    pub(crate) random: &'r mut Random,
    pub(crate) leaves: Vec<Leaf>,
}

const COMPARISONS: [&str; 6] = ["=", "<>", "<", "<=", ">", ">="];
const ARITHMETIC: [&str; 5] = ["+", "-", "*", "/", "%"];
const PATTERNS: [&str; 9] = ["", "%", "a%", "%b", "_", "%a_%", "a%b%", "%\u{e9}%", "abc"];

fn is_text(kind: FieldType) -> bool {
    matches!(kind, FieldType::Text(_))
}

/// Texts of any capacity go together.
fn alike(one: FieldType, other: FieldType) -> bool {
    one == other || is_text(one) && is_text(other)
}

fn boxed(tree: Tree) -> Box<Tree> {
    Box::new(tree)
}

impl Grow<'_> {
    /// A tree of type `kind`, at most `depth` deep.
    pub(crate) fn tree(&mut self, kind: FieldType, depth: u32) -> Tree {
        if depth == 0 || self.random.chance(15) {
            return self.leaf(kind);
        }
        if self.random.chance(30) {
            return self.any(kind, depth - 1);
        }
        match kind {
            FieldType::Bool => self.truth(depth - 1),
            FieldType::U64 | FieldType::I64 | FieldType::F64 => self.number(kind, depth - 1),
            FieldType::Time => self.time(depth - 1),
            FieldType::Text(_) => {
                let name = *self.random.pick(&["lower", "upper"]);
                Tree::Call(name, vec![self.tree(kind, depth - 1)])
            }
            FieldType::Uuid => self.any(kind, depth - 1),
        }
    }

    /// A column if there is one of the type, or a literal.
    fn leaf(&mut self, kind: FieldType) -> Tree {
        match self.column(kind) {
            Some(column) if self.random.chance(75) => column,
            _ => Tree::Literal(self.literal(kind)),
        }
    }

    fn column(&mut self, kind: FieldType) -> Option<Tree> {
        let fitting: Vec<&Leaf> = self.leaves.iter().filter(|l| alike(l.kind, kind)).collect();
        if fitting.is_empty() {
            return None;
        }
        let leaf = *self.random.pick(&fitting);
        Some(Tree::Column(leaf.name.clone(), leaf.place))
    }

    pub(crate) fn literal(&mut self, kind: FieldType) -> Datum {
        let small = self.random.below(5);
        match kind {
            FieldType::U64 if self.random.chance(10) => Datum::U64(u64::MAX - small),
            FieldType::U64 => Datum::U64(small),
            FieldType::I64 if self.random.chance(5) => Datum::I64(i64::MIN + small as i64),
            FieldType::I64 if self.random.chance(5) => Datum::I64(i64::MAX - small as i64),
            FieldType::I64 => Datum::I64(small as i64 - 2),
            FieldType::F64 => Datum::F64(*self.random.pick(&[0.0, 1.0, -2.5, 0.25, 1e300, -1e19])),
            FieldType::Bool => Datum::Bool(small.is_multiple_of(2)),
            FieldType::Time => Datum::Time(small as i64 * 1_234_567 - 3_000_000),
            FieldType::Uuid => Datum::Uuid([small as u8; 16]),
            FieldType::Text(_) => {
                let texts = ["", "a", "ab", "\u{e9}A", "o'clock"];
                Datum::Text(texts[small as usize].to_owned())
            }
        }
    }

    /// The operand beside one of type `kind`: often a literal that takes its type from there.
    fn beside(&mut self, other: &Tree, kind: FieldType, depth: u32) -> Tree {
        let other_has_type = !matches!(other, Tree::Plain(_) | Tree::Null);
        if other_has_type && self.random.chance(35) {
            return Tree::Plain(self.literal(kind));
        }
        if other_has_type && self.random.chance(5) {
            return Tree::Null;
        }
        self.tree(kind, depth)
    }

    /// What can have any type.
    fn any(&mut self, kind: FieldType, depth: u32) -> Tree {
        match self.random.below(4) {
            0 => {
                let value = self.tree(kind, depth);
                let other = self.beside(&value, kind, depth);
                Tree::Call("coalesce", vec![value, other])
            }
            1 => {
                let value = self.tree(kind, depth);
                let other = self.tree(kind, depth);
                Tree::Call("nullif", vec![value, other])
            }
            2 => {
                let subject_kind = self.some_kind();
                let subject = self.tree(subject_kind, depth);
                let mut branches = Vec::new();
                for _ in 0..1 + self.random.below(2) {
                    let condition = self.beside(&subject, subject_kind, depth);
                    branches.push((condition, self.tree(kind, depth)));
                }
                let otherwise = self.otherwise(kind, depth);
                Tree::Case(Some(boxed(subject)), branches, otherwise)
            }
            _ => {
                let mut branches = Vec::new();
                for _ in 0..1 + self.random.below(2) {
                    branches.push((self.tree(FieldType::Bool, depth), self.tree(kind, depth)));
                }
                let otherwise = self.otherwise(kind, depth);
                Tree::Case(None, branches, otherwise)
            }
        }
    }

    fn otherwise(&mut self, kind: FieldType, depth: u32) -> Option<Box<Tree>> {
        match self.random.below(4) {
            0 => None,
            1 => Some(boxed(Tree::Null)),
            _ => Some(boxed(self.tree(kind, depth))),
        }
    }

    fn some_kind(&mut self) -> FieldType {
        let kinds: Vec<_> = self.leaves.iter().map(|leaf| leaf.kind).collect();
        *self.random.pick(&kinds)
    }

    fn truth(&mut self, depth: u32) -> Tree {
        let bool = FieldType::Bool;
        match self.random.below(10) {
            0 => Tree::And(boxed(self.tree(bool, depth)), boxed(self.tree(bool, depth))),
            1 => Tree::Or(boxed(self.tree(bool, depth)), boxed(self.tree(bool, depth))),
            2 => Tree::Not(boxed(self.tree(bool, depth))),
            3 => {
                let kind = self.some_kind();
                Tree::IsNull(self.random.chance(50), boxed(self.tree(kind, depth)))
            }
            4 => {
                let kind = self.some_kind();
                let value = self.tree(kind, depth);
                let items = 1 + self.random.below(4);
                let items = (0..items)
                    .map(|_| self.beside(&value, kind, depth))
                    .collect();
                Tree::In(self.random.chance(50), boxed(value), items)
            }
            5 => {
                let kind = self.some_kind();
                let value = self.tree(kind, depth);
                let low = boxed(self.beside(&value, kind, depth));
                let high = boxed(self.beside(&value, kind, depth));
                Tree::Between(self.random.chance(50), boxed(value), low, high)
            }
            6 => {
                let value = boxed(self.tree(FieldType::Text(20), depth));
                let pattern = (*self.random.pick(&PATTERNS)).to_owned();
                Tree::Like(self.random.chance(50), value, pattern)
            }
            7 => {
                let mixed = [
                    (FieldType::U64, FieldType::I64),
                    (FieldType::I64, FieldType::U64),
                ];
                let (a, b) = *self.random.pick(&mixed);
                let op = *self.random.pick(&COMPARISONS);
                Tree::Compare(op, boxed(self.tree(a, depth)), boxed(self.tree(b, depth)))
            }
            _ => {
                let kind = self.some_kind();
                let value = self.tree(kind, depth);
                let other = self.beside(&value, kind, depth);
                let op = *self.random.pick(&COMPARISONS);
                Tree::Compare(op, boxed(value), boxed(other))
            }
        }
    }

    fn number(&mut self, kind: FieldType, depth: u32) -> Tree {
        use FieldType::{F64, I64, Text, Time, U64};
        match self.random.below(8) {
            0 => {
                let name = *self.random.pick(&["least", "greatest"]);
                let args = 2 + self.random.below(2);
                Tree::Call(name, (0..args).map(|_| self.tree(kind, depth)).collect())
            }
            1 => Tree::Call("abs", vec![self.tree(kind, depth)]),
            2 => {
                let from = *self.random.pick(&[U64, I64, F64]);
                Tree::Cast(kind, boxed(self.tree(from, depth)))
            }
            3 if kind == U64 => Tree::Call("length", vec![self.tree(Text(20), depth)]),
            3 if kind == F64 => {
                let name = *self.random.pick(&["floor", "ceil", "round"]);
                Tree::Call(name, vec![self.tree(kind, depth)])
            }
            3 => {
                let (a, b) = (boxed(self.tree(Time, depth)), boxed(self.tree(Time, depth)));
                Tree::Arithmetic("-", I64, a, b)
            }
            4 if kind != U64 => {
                let from = if kind == I64 {
                    *self.random.pick(&[U64, I64])
                } else {
                    kind
                };
                let inner = self.tree(from, depth);
                Tree::Negate(from, boxed(inner))
            }
            5 if kind == I64 => {
                let (a, b) = *self.random.pick(&[(U64, I64), (I64, U64)]);
                let op = *self.random.pick(&ARITHMETIC);
                Tree::Arithmetic(
                    op,
                    I64,
                    boxed(self.tree(a, depth)),
                    boxed(self.tree(b, depth)),
                )
            }
            _ => {
                let value = self.tree(kind, depth);
                let other = self.beside(&value, kind, depth);
                let op = *self.random.pick(&ARITHMETIC);
                Tree::Arithmetic(op, kind, boxed(value), boxed(other))
            }
        }
    }

    fn time(&mut self, depth: u32) -> Tree {
        use FieldType::{I64, Time, U64};
        let shift = *self.random.pick(&[I64, U64]);
        let (time, shift) = (
            boxed(self.tree(Time, depth)),
            boxed(self.tree(shift, depth)),
        );
        match self.random.below(4) {
            0 => Tree::Arithmetic("+", Time, time, shift),
            1 => Tree::Arithmetic("-", Time, time, shift),
            2 => Tree::Arithmetic("+", Time, shift, time),
            _ => Tree::Cast(Time, shift),
        }
    }
}
