//! What a file would make of the pipeline of a store: the fate of every object.
//!
//! Names are identities. What has the same name (or was called so, `was`) and means the same is
//! kept; what means something else is rebuilt from the log; what is new is built from it. Streams
//! are the log, which is never rewritten: they can only grow.

use std::fmt;

use serde::{Deserialize, Serialize};

mod stream;

use crate::pipeline::declared::{Declaration, Declarations, Kind, Place};
use crate::pipeline::problem::Problem;
use crate::pipeline::{Pipeline, fit};

/// What becomes of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Fate {
    /// As it is.
    Kept,
    /// Goes on under another name.
    Renamed,
    /// A stream whose settings or fields change; what is in its log stays.
    Changed,
    /// Means something else: computed anew from the log.
    Rebuilt,
    /// New: computed from the log. A new stream is empty.
    Built,
    /// No longer in the file.
    Dropped,
}

impl Fate {
    /// As plans show it.
    pub const fn name(self) -> &'static str {
        match self {
            Fate::Kept => "kept",
            Fate::Renamed => "renamed",
            Fate::Changed => "changed",
            Fate::Rebuilt => "rebuilt",
            Fate::Built => "built",
            Fate::Dropped => "dropped",
        }
    }
}

/// The fate of one object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// What it is.
    pub kind: Kind,
    /// Its name in the file, or in the store if it is dropped.
    pub name: String,
    /// Its name in the store, if that is another one.
    pub was: Option<String>,
    /// What becomes of it.
    pub fate: Fate,
    /// What changes, in words.
    pub changes: Vec<String>,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.fate.name(), self.kind, self.name)?;
        if let Some(was) = &self.was {
            write!(f, " (was {was})")?;
        }
        if !self.changes.is_empty() {
            write!(f, ": {}", self.changes.join(", "))?;
        }
        Ok(())
    }
}

/// The fate of every object of two pipelines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Streams, views and boards in the order of the file, then what is dropped.
    pub steps: Vec<Step>,
    /// What deserves a look and stands in nobody's way.
    pub warnings: Vec<Problem>,
    /// Why the file cannot be applied; empty if it can.
    pub refused: Vec<Problem>,
}

impl Plan {
    /// Whether applying it would change anything.
    pub fn changes_anything(&self) -> bool {
        self.steps.iter().any(|step| step.fate != Fate::Kept)
    }

    /// Whether anything has to be computed from the log.
    pub fn needs_log(&self) -> bool {
        let from_log = |step: &Step| {
            step.kind != Kind::Stream && matches!(step.fate, Fate::Rebuilt | Fate::Built)
        };
        self.steps.iter().any(from_log)
    }

    /// What is dropped.
    pub fn dropped(&self) -> impl Iterator<Item = &Step> {
        self.steps.iter().filter(|step| step.fate == Fate::Dropped)
    }
}

pub(super) fn plan(new: &Pipeline, declarations: &Declarations, stored: &Pipeline) -> Plan {
    let mut plan = Plan::default();
    stream::compare(new, declarations, stored, &mut plan);
    let meanings = |of: &Pipeline| -> Vec<(String, String)> {
        let views = of.views.iter();
        views
            .map(|view| (view.name.clone(), fit::view_meaning(of, view)))
            .collect()
    };
    compare(
        Kind::View,
        &meanings(new),
        &meanings(stored),
        declarations,
        &mut plan,
    );
    let meanings = |of: &Pipeline| -> Vec<(String, String)> {
        let boards = of.boards.iter();
        boards
            .map(|board| (board.name.clone(), fit::board_meaning(of, board)))
            .collect()
    };
    compare(
        Kind::Board,
        &meanings(new),
        &meanings(stored),
        declarations,
        &mut plan,
    );
    // What is dropped comes last; the order is else that of the file.
    plan.steps.sort_by_key(|step| step.fate == Fate::Dropped);
    plan
}

/// Objects that are folds of the log: names and meanings, new and stored.
fn compare(
    kind: Kind,
    new: &[(String, String)],
    stored: &[(String, String)],
    declarations: &Declarations,
    plan: &mut Plan,
) {
    let mut goes_on = vec![false; stored.len()];
    for (name, meaning) in new {
        let declaration = declarations.object(kind, name);
        let stored_names = stored.iter().map(|(name, _)| name.as_str());
        let place = former(kind, name, declaration, stored_names, plan);
        let (was, fate) = match place {
            None => (None, Fate::Built),
            Some(place) => {
                goes_on[place] = true;
                let (old, old_meaning) = &stored[place];
                let was = (old != name).then(|| old.clone());
                let fate = match (old_meaning == meaning, &was) {
                    (false, _) => Fate::Rebuilt,
                    (true, Some(_)) => Fate::Renamed,
                    (true, None) => Fate::Kept,
                };
                (was, fate)
            }
        };
        let name = name.clone();
        let changes = Vec::new();
        plan.steps.push(Step {
            kind,
            name,
            was,
            fate,
            changes,
        });
    }
    for ((name, _), goes_on) in stored.iter().zip(goes_on) {
        if !goes_on {
            plan.steps.push(Step {
                kind,
                name: name.clone(),
                was: None,
                fate: Fate::Dropped,
                changes: Vec::new(),
            });
        }
    }
}

/// The place in the store of what an object of the file goes on from.
fn former<'s>(
    kind: Kind,
    name: &str,
    declaration: Option<&Declaration>,
    stored: impl Iterator<Item = &'s str> + Clone,
    plan: &mut Plan,
) -> Option<usize> {
    let find = |wanted: &str| stored.clone().position(|known| known == wanted);
    let same = find(name);
    let Some((was, place)) = declaration.and_then(|known| known.was.as_ref()) else {
        return same;
    };
    match (same, find(was)) {
        (Some(_), Some(_)) => {
            plan.refused.push(problem(
                *place,
                format!("`was`: the store has a {kind} `{name}` and a {kind} `{was}`"),
                "choose a name that the store does not have, or remove `was`",
            ));
            same
        }
        (None, None) => {
            plan.warnings.push(problem(
                *place,
                format!("`was`: the store has no {kind} `{was}`, so `{name}` is new"),
                "remove `was` if that is meant",
            ));
            None
        }
        (Some(_), None) => {
            plan.warnings.push(problem(
                *place,
                format!("`was`: {kind} `{was}` is called `{name}` already"),
                "remove `was`",
            ));
            same
        }
        (None, former) => former,
    }
}

fn problem(place: Place, message: String, hint: &str) -> Problem {
    Problem {
        line: place.line,
        column: place.column,
        message,
        hint: Some(hint.to_owned()),
    }
}
