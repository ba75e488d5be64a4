//! A plan as people and programs read it.

use std::fmt;
use std::path::Path;

use ringmill_shard::pipeline::{Pipeline, Plan, Step};
use serde::{Deserialize, Serialize};

use crate::stored::log_bytes;

/// Bytes of log that a shard surely applies in a second; most pipelines take several times as much.
const BYTES_PER_SECOND: u64 = 100_000_000;

/// What it takes to compute state from the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Outlook {
    /// Bytes of log to be read at most.
    log_bytes: u64,
    /// Seconds on one shard; several share the work.
    seconds: u64,
    /// Keys per stream that the memory is forecast for.
    keys: u64,
    /// Memory of the state, in bytes.
    memory_bytes: u64,
    /// Memory of the state of now, in bytes.
    memory_now_bytes: u64,
}

impl Outlook {
    /// For the store in `dir`.
    pub(crate) fn of(new: &Pipeline, now: &Pipeline, dir: &Path, keys: u64) -> Outlook {
        let log_bytes = log_bytes(dir);
        Outlook {
            log_bytes,
            seconds: log_bytes.div_ceil(BYTES_PER_SECOND),
            keys,
            memory_bytes: new.forecast(keys).total_bytes,
            memory_now_bytes: now.forecast(keys).total_bytes,
        }
    }
}

/// A plan, ready to be shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Report {
    /// The fate of every object.
    pub(crate) steps: Vec<Step>,
    /// What deserves a look.
    pub(crate) warnings: Vec<String>,
    /// Why it cannot be applied.
    pub(crate) refused: Vec<String>,
    /// Whether applying it changes anything.
    pub(crate) changes: bool,
    /// Whether state has to be computed from the log.
    needs_log: bool,
    /// What that takes.
    outlook: Outlook,
}

impl Report {
    pub(crate) fn new(plan: &Plan, outlook: Outlook) -> Report {
        let lines = |problems: &[ringmill_shard::pipeline::Problem]| {
            problems.iter().map(|problem| problem.to_string()).collect()
        };
        Report {
            steps: plan.steps.clone(),
            warnings: lines(&plan.warnings),
            refused: lines(&plan.refused),
            changes: plan.changes_anything(),
            needs_log: plan.needs_log(),
            outlook,
        }
    }

    /// What is dropped, in words; `None` if nothing is.
    pub(crate) fn dropped(&self) -> Option<String> {
        let dropped = self.steps.iter();
        let dropped = dropped.filter(|s| s.fate == ringmill_shard::pipeline::Fate::Dropped);
        let names: Vec<String> = dropped.map(|s| format!("{} {}", s.kind, s.name)).collect();
        (!names.is_empty()).then(|| names.join(", "))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for step in &self.steps {
            writeln!(f, "{step}")?;
        }
        for warning in &self.warnings {
            writeln!(f, "warning: {warning}")?;
        }
        for refused in &self.refused {
            writeln!(f, "refused: {refused}")?;
        }
        if !self.refused.is_empty() {
            return writeln!(f, "this cannot be applied");
        }
        if !self.changes {
            return writeln!(f, "nothing would change");
        }
        let Outlook {
            log_bytes,
            seconds,
            keys,
            memory_bytes,
            memory_now_bytes,
        } = &self.outlook;
        if self.needs_log {
            writeln!(
                f,
                "from the log: at most {} to read, about {seconds} s on one shard",
                size_text(*log_bytes)
            )?;
        }
        let (memory, now) = (size_text(*memory_bytes), size_text(*memory_now_bytes));
        writeln!(
            f,
            "memory: about {memory}, now {now}, with {keys} keys per stream"
        )
    }
}

fn size_text(bytes: u64) -> String {
    match bytes {
        0..10_000_000 => format!("{} KB", bytes.div_ceil(1_000)),
        10_000_000..10_000_000_000 => format!("{} MB", bytes.div_ceil(1_000_000)),
        _ => format!("{} GB", bytes.div_ceil(1_000_000_000)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_rounded_up() {
        let shown = [0, 1, 9_999_999, 10_000_000, 64 << 20, 99_000_000_001].map(size_text);
        assert_eq!(
            shown,
            ["0 KB", "1 KB", "10000 KB", "10 MB", "68 MB", "100 GB"]
        );
    }
}
