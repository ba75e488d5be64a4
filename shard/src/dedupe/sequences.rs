//! Sequences that are spent, per source: the highest one and which of the last 64 were seen.
//!
//! The memory is per source and not per event, whatever the horizon. A sequence that lies further
//! behind than the window cannot be told from a duplicate, and does not take effect.

use super::ids::{IdBytes, place_of};
use crate::table::KeyTable;
use crate::table::chunks::Chunks;

/// Sequences of a source that are remembered one by one, the highest included.
pub const SEQUENCE_WINDOW: u64 = 64;

/// What is known of a sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seen {
    /// It was not seen.
    No,
    /// It was.
    Yes,
    /// It lies behind the window.
    Behind,
}

/// The last sequences of one source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Window {
    pub(crate) highest: u64,
    /// Bit i: `highest - i` was seen.
    pub(crate) seen: u64,
}

impl Window {
    fn look(self, sequence: u64) -> Seen {
        let Some(back) = self.highest.checked_sub(sequence) else {
            return Seen::No;
        };
        if back >= SEQUENCE_WINDOW {
            return Seen::Behind;
        }
        match self.seen >> back & 1 {
            0 => Seen::No,
            _ => Seen::Yes,
        }
    }

    /// Marks a sequence that was not seen.
    fn mark(&mut self, sequence: u64) {
        match sequence.checked_sub(self.highest) {
            Some(ahead) => {
                let shifted = u32::try_from(ahead).ok();
                let shifted = shifted.and_then(|ahead| self.seen.checked_shl(ahead));
                self.seen = shifted.unwrap_or(0) | 1;
                self.highest = sequence;
            }
            None => self.seen |= 1 << (self.highest - sequence),
        }
    }
}

/// The sources of one stream.
#[derive(Debug, Clone)]
pub(crate) struct Sequences {
    sources: KeyTable,
    windows: Chunks<Window>,
}

impl Sequences {
    pub(super) fn new() -> Self {
        Self {
            sources: KeyTable::fixed(size_of::<IdBytes>()),
            windows: Chunks::new(),
        }
    }

    pub(super) fn look(&self, source: &IdBytes, sequence: u64) -> Seen {
        let place = self.sources.find(place_of(source), source);
        place.map_or(Seen::No, |place| {
            self.windows.at(place as usize).look(sequence)
        })
    }

    /// Spends a sequence; what was known of it before.
    pub(super) fn spend(&mut self, source: &IdBytes, sequence: u64) -> Seen {
        let (place, added) = self.sources.find_or_insert(place_of(source), source);
        if added {
            self.windows.push(Window {
                highest: sequence,
                seen: 1,
            });
            return Seen::No;
        }
        let window = self.windows.at_mut(place as usize);
        let seen = window.look(sequence);
        if seen == Seen::No {
            window.mark(sequence);
        }
        seen
    }

    pub(super) fn knows(&self, source: &IdBytes) -> bool {
        self.sources.find(place_of(source), source).is_some()
    }

    /// Asks for the line that a lookup will start at.
    #[inline]
    pub(super) fn prefetch(&self, source: &IdBytes) {
        self.sources.prefetch(place_of(source));
    }

    /// Sources that are known.
    pub(super) fn len(&self) -> u64 {
        self.sources.len() as u64
    }

    /// Every source with its window, in a fixed order.
    pub(super) fn sorted(&self) -> Vec<(IdBytes, Window)> {
        let source = |place: usize| {
            let bytes = self.sources.key(place as u32);
            bytes.try_into().expect("invariant: sixteen bytes")
        };
        let windows = self.windows.iter().enumerate();
        let mut all: Vec<(IdBytes, Window)> = windows
            .map(|(place, window)| (source(place), *window))
            .collect();
        all.sort_unstable_by_key(|&(source, _)| source);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// What a window says, against all sequences that were ever spent.
    #[test]
    fn a_window_equals_the_set_of_all_sequences() {
        let mut state = 1_u64;
        let mut random = move |below: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state % below
        };
        for start in [0, 1, 1 << 32, u64::MAX - 400] {
            let (mut sequences, mut all) = (Sequences::new(), BTreeSet::<u64>::new());
            let mut middle = start;
            for _ in 0..4_000 {
                middle = middle.saturating_add(random(3)).min(u64::MAX - 140);
                let jump = if random(50) == 0 { 200 } else { 70 };
                let sequence = middle.saturating_add(random(jump)).saturating_sub(35);
                let highest: u64 = all.last().copied().unwrap_or(0);
                let behind = !all.is_empty() && highest.saturating_sub(sequence) >= SEQUENCE_WINDOW;
                let expected = match all.contains(&sequence) {
                    _ if behind => Seen::Behind,
                    true => Seen::Yes,
                    false => Seen::No,
                };
                assert_eq!(sequences.look(&[1; 16], sequence), expected);
                assert_eq!(sequences.spend(&[1; 16], sequence), expected);
                if expected == Seen::No {
                    all.insert(sequence);
                }
            }
            assert_eq!(sequences.len(), 1);
        }
    }

    #[test]
    fn a_jump_of_any_length_forgets_what_lies_behind() {
        for ahead in [63, 64, 65, 1 << 32, 1 << 40, u64::MAX - 1] {
            let mut sequences = Sequences::new();
            sequences.spend(&[1; 16], 1);
            assert_eq!(sequences.spend(&[1; 16], 1 + ahead), Seen::No);
            let expected = if ahead < 64 { Seen::Yes } else { Seen::Behind };
            assert_eq!(sequences.look(&[1; 16], 1), expected, "{ahead}");
        }
    }
}
