//! Computed columns of random streams.

use super::grow::{Grow, Leaf};
use super::random::Random;
use super::tree::Tree;
use ringmill_shard::expression::{Expression, Named, Scope};
use ringmill_shard::oracle::Datum;
use ringmill_shard::pipeline::{Computed, Stream};
use ringmill_shard::schema::FieldType;

/// A stream under construction, whose computed columns grow with its views and boards.
pub(crate) struct Growing {
    pub(crate) stream: Stream,
}

impl Growing {
    pub(crate) fn new(random: &mut Random, stream: Stream) -> Self {
        let mut growing = Self { stream };
        for index in 0..random.below(4) {
            let kinds: Vec<_> = growing
                .stream
                .schema
                .fields
                .iter()
                .map(|f| f.kind)
                .collect();
            let kind = *random.pick(&kinds);
            growing.add(random, kind, Some(format!("c{index}")), 2);
        }
        growing
    }

    /// Adds a computed column of a type, and returns its place.
    pub(crate) fn add(
        &mut self,
        random: &mut Random,
        kind: FieldType,
        name: Option<String>,
        depth: u32,
    ) -> usize {
        let leaves = self.leaves();
        let tree = Grow { random, leaves }.tree(kind, depth);
        self.push(name, tree)
    }

    /// A sum of such numbers is exact in any order, as the model needs it.
    pub(crate) fn add_quarters(&mut self, random: &mut Random, field: usize) -> usize {
        let condition = {
            let leaves = self.leaves();
            Grow { random, leaves }.tree(FieldType::Bool, 1)
        };
        let name = self.stream.schema.fields[field].name.clone();
        let column = || Box::new(Tree::Column(name.clone(), field));
        let half = Box::new(Tree::Plain(Datum::F64(0.5)));
        let half = Tree::Arithmetic("*", FieldType::F64, column(), half);
        let tree = Tree::Case(None, vec![(condition, half)], Some(column()));
        self.push(None, tree)
    }

    fn push(&mut self, name: Option<String>, tree: Tree) -> usize {
        let text = tree.to_string();
        let expression = Expression::parse(&text, &self.scope(), None)
            .unwrap_or_else(|refusal| panic!("{text}: {refusal:?}"));
        self.stream.computed.push(Computed { name, expression });
        self.stream.schema.fields.len() + self.stream.computed.len() - 1
    }

    /// Places of all columns: fields, then named computed ones.
    pub(crate) fn places(&self) -> Vec<usize> {
        let named = |&place: &usize| {
            let fields = self.stream.schema.fields.len();
            place < fields || self.stream.computed[place - fields].name.is_some()
        };
        let all = self.stream.schema.fields.len() + self.stream.computed.len();
        (0..all).filter(named).collect()
    }

    fn leaves(&self) -> Vec<Leaf> {
        let leaf = |place: usize| {
            let column = self.stream.column(place);
            Leaf {
                name: column.name.to_owned(),
                place,
                kind: column.kind,
            }
        };
        self.places().into_iter().map(leaf).collect()
    }

    fn scope(&self) -> Scope<'_> {
        let named = |place: usize| {
            let column = self.stream.column(place);
            let named = Named {
                column: place,
                kind: Some(column.kind),
                optional: column.optional,
            };
            (column.name, named)
        };
        Scope {
            stream: &self.stream.name,
            fields: self.stream.schema.fields.len(),
            columns: self.places().into_iter().map(named).collect(),
            later: &[],
        }
    }

    /// A column of truths, for half of those who ask.
    pub(crate) fn filter(&mut self, random: &mut Random) -> Option<usize> {
        match random.below(6) {
            0..=2 => None,
            3 => {
                let places = self.places().into_iter();
                let is_truth = |&place: &usize| self.stream.column(place).kind == FieldType::Bool;
                let truths: Vec<usize> = places.filter(is_truth).collect();
                Some(*random.pick(&truths))
            }
            _ => Some(self.add(random, FieldType::Bool, None, 2)),
        }
    }
}
