//! Which accepted events of a batch count for a view or board, and what its expressions could not
//! compute.
//!
//! An event counts if `where` is true for it; if it is false, null or an error, the event does not.
//! Each expression of the view or board that is an error for an event is counted once, by reason:
//! that of `where` for every accepted event, those of the others for events that `where` lets
//! through. Neither depends on windows or lateness, so replay counts the same.

use crate::expression::ErrorReason;
use crate::pipeline::Stream;
use crate::window::Accepted;

#[derive(Debug, Clone, Default)]
pub(crate) struct Gate {
    filter: Option<usize>,
    /// Computed columns without which an event does not count.
    required: Vec<usize>,
    /// Computed columns that are read besides, each once.
    read: Vec<usize>,
    errors: [u64; ErrorReason::COUNT],
    picks: Vec<u32>,
    times_ms: Vec<i64>,
    members: Vec<u32>,
}

impl Gate {
    /// A gate with the columns that the view or board reads.
    pub(crate) fn new(
        stream: &Stream,
        filter: Option<usize>,
        required: &[usize],
        read: impl Iterator<Item = usize>,
    ) -> Self {
        let computed = |columns: Vec<usize>| {
            let mut columns = columns;
            columns.retain(|&column| stream.is_computed(column));
            columns.sort_unstable();
            columns.dedup();
            columns
        };
        let required = computed(required.to_vec());
        let mut read = computed(read.collect());
        read.retain(|column| !required.contains(column));
        Self {
            filter,
            required,
            read,
            ..Self::default()
        }
    }

    /// Events for which an expression was an error, by [`ErrorReason::index`].
    pub(crate) fn errors(&self) -> [u64; ErrorReason::COUNT] {
        self.errors
    }

    /// Whether every event passes and nothing can be an error: the view or board has no expression.
    #[inline]
    pub(crate) fn is_open(&self) -> bool {
        self.filter.is_none() && self.required.is_empty() && self.read.is_empty()
    }

    /// Whether the one event of a batch counts. Its errors were counted when it came.
    pub(crate) fn lets(&self, event: &Accepted<'_>) -> bool {
        let computed = event.computed;
        let passes = |filter: usize| computed.bits(filter, 0).is_some_and(|truth| truth != 0);
        let whole = |&column: &usize| computed.error(column, 0).is_none();
        self.filter.is_none_or(passes) && self.required.iter().all(whole)
    }

    /// The events of a batch that count: the batch as it is, where nothing holds any back.
    pub(crate) fn pass<'a>(&'a mut self, batch: &Accepted<'a>) -> Accepted<'a> {
        let failed = |&column: &usize| batch.computed.has_errors(column);
        let narrows = self.filter.is_some() || self.required.iter().any(failed);
        if narrows {
            self.narrow(batch);
        }
        if self.read.iter().any(failed) {
            let picks = if narrows { &self.picks } else { batch.picks };
            for &column in &self.read {
                for &pick in picks {
                    count(&mut self.errors, batch, column, pick);
                }
            }
        }
        if !narrows {
            return *batch;
        }
        Accepted {
            picks: &self.picks,
            times_ms: &self.times_ms,
            members: &self.members,
            ..*batch
        }
    }

    fn narrow(&mut self, batch: &Accepted<'_>) {
        self.picks.clear();
        self.times_ms.clear();
        self.members.clear();
        for (index, &pick) in batch.picks.iter().enumerate() {
            if let Some(filter) = self.filter {
                match batch.computed.bits(filter, pick as usize) {
                    Some(0) => continue,
                    Some(_) => {}
                    None => {
                        count(&mut self.errors, batch, filter, pick);
                        continue;
                    }
                }
            }
            let mut whole = true;
            for &column in &self.required {
                whole &= !count(&mut self.errors, batch, column, pick);
            }
            if !whole {
                self.count_read(batch, pick);
                continue;
            }
            self.picks.push(pick);
            self.times_ms.push(batch.times_ms[index]);
            self.members.extend(batch.members.get(index));
        }
    }

    /// The errors of the other columns, for an event that lacks a required one.
    #[cold]
    fn count_read(&mut self, batch: &Accepted<'_>, pick: u32) {
        for &column in &self.read {
            count(&mut self.errors, batch, column, pick);
        }
    }
}

/// Counts the error of a column at an event; false if there is none.
fn count(
    errors: &mut [u64; ErrorReason::COUNT],
    batch: &Accepted<'_>,
    column: usize,
    pick: u32,
) -> bool {
    let error = batch.computed.error(column, pick as usize);
    if let Some(reason) = error {
        errors[reason.index()] += 1;
    }
    error.is_some()
}
