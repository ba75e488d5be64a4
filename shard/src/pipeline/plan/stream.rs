//! Streams of a file beside those of a store.
//!
//! The log names streams by their number and fields by their schema, so the order of streams stays,
//! and fields stay with their ids and types. What the log was judged by once stays too: replay must
//! come to the same verdicts.

use super::{Fate, Plan, Step, former, problem};
use crate::pipeline::declared::{Declarations, Kind, Place};
use crate::pipeline::duration::duration_text;
use crate::pipeline::{DedupeMode, Durability, Pipeline, Stream, fit};
use crate::schema::{Field, Limits};

const OTHER_STORE: &str = "open another data directory";

pub(super) fn compare(
    new: &Pipeline,
    declarations: &Declarations,
    stored: &Pipeline,
    plan: &mut Plan,
) {
    let mut goes_on = vec![false; stored.streams.len()];
    for (index, stream) in new.streams.iter().enumerate() {
        let name = &stream.name;
        let declaration = declarations.object(Kind::Stream, name);
        let at = declaration.map_or(Place::default(), |known| known.place);
        let names = stored.streams.iter().map(|stream| stream.name.as_str());
        let place = former(Kind::Stream, name, declaration, names, plan);
        let mut step = Step {
            kind: Kind::Stream,
            name: name.clone(),
            was: None,
            fate: Fate::Built,
            changes: Vec::new(),
        };
        if let Some(place) = place {
            goes_on[place] = true;
            let old = &stored.streams[place];
            if place != index {
                plan.refused.push(problem(
                    at,
                    format!(
                        "stream `{name}` is number {} in the store and number {} in the file",
                        place + 1,
                        index + 1
                    ),
                    "keep the order of the streams and add new ones behind them",
                ));
            }
            step.was = (old.name != *name).then(|| old.name.clone());
            let judge = Judge {
                new: stream,
                old,
                declarations,
                at,
            };
            step.changes = judge.changes(plan);
            step.fate = match (step.changes.is_empty(), &step.was) {
                (false, _) => Fate::Changed,
                (true, Some(_)) => Fate::Renamed,
                (true, None) => Fate::Kept,
            };
        } else if index < stored.streams.len() {
            plan.refused.push(problem(
                at,
                format!("stream `{name}` is new and stands before streams of the store"),
                "add new streams behind them, or say with `was` what it was called",
            ));
        }
        plan.steps.push(step);
    }
    for (old, goes_on) in stored.streams.iter().zip(goes_on) {
        if !goes_on {
            plan.refused.push(problem(
                Place::default(),
                format!(
                    "the store has a stream `{}`, which the file lacks",
                    old.name
                ),
                "keep the stream, say with `was` what it is called now, or open another data \
                 directory",
            ));
        }
    }
}

/// One stream, before and after.
struct Judge<'a> {
    new: &'a Stream,
    old: &'a Stream,
    declarations: &'a Declarations,
    /// Where the stream stands in the file.
    at: Place,
}

impl Judge<'_> {
    /// What changes, in words; what must not is refused.
    fn changes(&self, plan: &mut Plan) -> Vec<String> {
        let mut changes = self.fields(plan);
        self.fixed(plan);
        self.dedupe(plan, &mut changes);
        self.limits(plan, &mut changes);
        let (new, old) = (self.new, self.old);
        let times = [
            ("disorder", old.time.disorder_ms, new.time.disorder_ms),
            ("idle", old.time.idle_ms, new.time.idle_ms),
        ];
        for (key, from, to) in times {
            if from != to {
                let (from, to) = (duration_text(from), duration_text(to));
                changes.push(format!("{key} {from} -> {to}"));
            }
        }
        if new.durability != old.durability {
            let (from, to) = (level_text(old.durability), level_text(new.durability));
            changes.push(format!("durability {from} -> {to}"));
        }
        changes
    }

    /// Key, time field and `max_future` decided what became of events that are acknowledged.
    fn fixed(&self, plan: &mut Plan) {
        let Judge { new, old, at, .. } = *self;
        let name = &new.name;
        let field = |stream: &Stream, index: usize| {
            let Field { id, name, .. } = &stream.schema.fields[index];
            (*id, name.clone())
        };
        let (was, is) = (field(old, old.key), field(new, new.key));
        if was.0 != is.0 {
            let message = format!(
                "stream `{name}` is keyed by `{}` in the store, by `{}` in the file: events of \
                 before would have other owners",
                was.1, is.1
            );
            plan.refused.push(problem(at, message, OTHER_STORE));
        }
        let (was, is) = (field(old, old.time.field), field(new, new.time.field));
        if was.0 != is.0 {
            let message = format!(
                "the time of stream `{name}` is `{}` in the store, `{}` in the file",
                was.1, is.1
            );
            plan.refused.push(problem(at, message, OTHER_STORE));
        }
        if new.time.max_future_ms != old.time.max_future_ms {
            let stored = duration_text(old.time.max_future_ms);
            let given = duration_text(new.time.max_future_ms);
            plan.refused.push(problem(
                at,
                format!(
                    "`max_future` of stream `{name}` is {stored} in the store, {given} in the \
                     file; replay would judge events anew that were acknowledged"
                ),
                "keep the value of the store, or open another data directory",
            ));
        }
    }

    /// Replay tells duplicates apart again, which must not change what was acknowledged.
    fn dedupe(&self, plan: &mut Plan, changes: &mut Vec<String>) {
        let (new, old) = (self.new, self.old);
        let recorded = |stream: &Stream| {
            let rule = stream.dedupe.as_ref();
            rule.map(|rule| fit::describe_dedupe(rule, &stream.schema))
        };
        if recorded(new) != recorded(old) {
            let name = &new.name;
            let message = format!(
                "`dedupe` of stream `{name}` is {} in the store, {} in the file; replay would \
                 judge events anew that were acknowledged",
                dedupe_text(old),
                dedupe_text(new)
            );
            let hint = "keep the rule of the store, or open another data directory";
            plan.refused.push(problem(self.at, message, hint));
        } else if new.dedupe != old.dedupe {
            changes.push("memory of dedupe".to_owned());
        }
    }

    /// Replay checks rows again. Defaults were written into the rows, and may differ.
    fn limits(&self, plan: &mut Plan, changes: &mut Vec<String>) {
        let (new, old) = (&self.new.schema, &self.old.schema);
        for (index, field) in new.fields.iter().enumerate() {
            let same = |old: &Field| old.id == field.id;
            let Some(known) = old.fields.iter().position(same) else {
                continue;
            };
            let (stored, given) = (old.limits(known), new.limits(index));
            if stored != given {
                let shown = |limits: Option<Limits>| match limits {
                    Some(limits) => limits.to_string(),
                    None => "not there".to_owned(),
                };
                let message = format!(
                    "`min` and `max` of field `{}` of stream `{}` are {} in the store, {} in the \
                     file; replay would judge events anew that were acknowledged",
                    field.name,
                    self.new.name,
                    shown(stored),
                    shown(given)
                );
                let hint = "keep the limits of the store, or open another data directory";
                plan.refused.push(problem(self.at, message, hint));
            }
            if old.default_of(known) != new.default_of(index) {
                changes.push(format!("default of field {}", field.name));
            }
        }
    }

    /// Fields are the same by id. New ones must be optional, since events of before lack them.
    fn fields(&self, plan: &mut Plan) -> Vec<String> {
        let stream = &self.new.name;
        let mut changes = Vec::new();
        for field in &self.new.schema.fields {
            let name = &field.name;
            let known = self.old.schema.fields.iter().find(|old| old.id == field.id);
            match known {
                Some(old) => self.field(field, old, plan, &mut changes),
                None if field.optional => changes.push(format!("field {name} added")),
                None => plan.refused.push(problem(
                    self.place(field),
                    format!("field `{name}` of stream `{stream}` is new and required"),
                    "make it optional: events of before have no value for it",
                )),
            }
            if known.is_none() {
                self.check_was_of_new(field, plan);
            }
        }
        for old in &self.old.schema.fields {
            if self.new.schema.fields.iter().all(|new| new.id != old.id) {
                plan.refused.push(problem(
                    self.at,
                    format!(
                        "field `{}` (id {}) of stream `{stream}` is in the store and not in the \
                         file; the log is made of rows that have it",
                        old.name, old.id
                    ),
                    "keep the field; senders may leave it out if it is optional",
                ));
            }
        }
        changes
    }

    fn field(&self, new: &Field, old: &Field, plan: &mut Plan, changes: &mut Vec<String>) {
        let (stream, name, at) = (&self.new.name, &new.name, self.place(new));
        if new.kind != old.kind {
            let message = format!(
                "field `{name}` of stream `{stream}` is {} in the store, {} in the file",
                old.kind, new.kind
            );
            let hint = "keep the type, and add a field with an id of its own for the new one";
            plan.refused.push(problem(at, message, hint));
        }
        match (old.optional, new.optional) {
            (true, false) => plan.refused.push(problem(
                at,
                format!(
                    "field `{name}` of stream `{stream}` is optional in the store, required in the \
                     file; events of before may lack it"
                ),
                "keep it optional",
            )),
            (false, true) => changes.push(format!("field {name} made optional")),
            _ => {}
        }
        let was = self.declarations.field(stream, name);
        let was = was.and_then(|known| known.was.as_ref());
        match was {
            _ if new.name == old.name => {
                if let Some((was, place)) = was {
                    plan.warnings.push(problem(
                        *place,
                        format!("`was`: field `{was}` is called `{name}` already"),
                        "remove `was`",
                    ));
                }
            }
            Some((was, _)) if *was == old.name => {
                changes.push(format!("field {name} (was {was})"));
            }
            _ => plan.refused.push(problem(
                at,
                format!(
                    "field `{name}` of stream `{stream}` has id {}, which is `{}` in the store",
                    new.id, old.name
                ),
                &format!(
                    "write `was = \"{}\"` if it is renamed, else take a new id",
                    old.name
                ),
            )),
        }
    }

    /// The id is the identity of a field: a new id is a new field.
    fn check_was_of_new(&self, field: &Field, plan: &mut Plan) {
        let (stream, name) = (&self.new.name, &field.name);
        let was = self.declarations.field(stream, name);
        if let Some((was, place)) = was.and_then(|known| known.was.as_ref()) {
            plan.refused.push(problem(
                *place,
                format!(
                    "`was`: field `{name}` of stream `{stream}` has id {}, which the store does \
                     not have",
                    field.id
                ),
                &format!("give it the id of `{was}`, or remove `was`"),
            ));
        }
    }

    fn place(&self, field: &Field) -> Place {
        let declared = self.declarations.field(&self.new.name, &field.name);
        declared.map_or(self.at, |known| known.place)
    }
}

fn dedupe_text(stream: &Stream) -> String {
    let Some(rule) = &stream.dedupe else {
        return "none".to_owned();
    };
    let name = |&field: &usize| format!("`{}`", stream.schema.fields[field].name);
    let by: Vec<String> = rule.by.iter().map(name).collect();
    let horizon = match rule.mode {
        DedupeMode::Sequence => String::new(),
        DedupeMode::Id { horizon_ms } => format!(" for {}", duration_text(horizon_ms)),
    };
    format!("{} by {}{horizon}", rule.mode.name(), by.join(", "))
}

fn level_text(durability: Durability) -> String {
    match durability {
        Durability::Interval { ms } => format!("interval:{ms}ms"),
        other => other.level().name().to_owned(),
    }
}
