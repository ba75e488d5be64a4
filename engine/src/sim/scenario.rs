//! What happens in a run, step by step: drawn from a seed, played, and cut down when it shows a
//! difference.

use ringmill_storage::disk::sim::Crash;
use serde_json::{Map, Value};

/// A run.
#[derive(Clone, Debug)]
pub(super) struct Scenario {
    /// What the clock shows at first, ms since the epoch.
    pub(super) start_ms: i64,
    /// Cores of the first engine.
    pub(super) cores: usize,
    pub(super) steps: Vec<Step>,
}

/// Something that happens.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// Time goes by.
    Pass { ms: i64 },
    /// A producer sends events in one request. What it has sent before without an answer goes first.
    Send {
        producer: usize,
        stream: usize,
        lines: Vec<Line>,
        /// The engine is lost so soon that nobody knows what came of it.
        cut: Option<Cut>,
    },
    /// A producer sends its last events again, at most so many.
    Again { producer: usize, events: usize },
    /// A producer sends a line that is no event.
    Malformed { producer: usize, stream: usize },
    /// The engine is lost while nothing is under way, and starts again.
    Lose(Cut),
    /// Everything is asked for and compared.
    Compare,
}

/// The loss of an engine, and its next start.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cut {
    /// Turns of the cores that it still gets.
    pub(super) turns: u32,
    pub(super) crash: Crash,
    /// Cores of the next engine.
    pub(super) cores: usize,
}

/// An event, but for its time.
#[derive(Clone, Debug)]
pub(super) struct Line {
    pub(super) members: Map<String, Value>,
    pub(super) when: When,
}

/// The time of an event, when it is sent.
#[derive(Clone, Copy, Debug)]
pub(super) enum When {
    /// So many ms after the clock; negative: before.
    Ahead(i64),
    /// The last multiple of a length, or one ms before it: where windows meet.
    Edge { size_ms: i64, before: bool },
}

impl When {
    pub(super) fn at_ms(self, now_ms: i64) -> i64 {
        match self {
            When::Ahead(ms) => now_ms.saturating_add(ms),
            When::Edge { size_ms, before } => {
                now_ms - now_ms.rem_euclid(size_ms) - i64::from(before)
            }
        }
    }
}

/// What can be left out of a run: a step, or an event of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part {
    step: usize,
    line: Option<usize>,
}

impl Scenario {
    /// Everything that can be left out. The last comparison stays.
    pub(super) fn parts(&self) -> Vec<Part> {
        let last = self.steps.len().saturating_sub(1);
        let mut parts = Vec::new();
        for (step, of) in self.steps[..last].iter().enumerate() {
            match of {
                Step::Send { lines, cut, .. } => {
                    let lines = (0..lines.len()).map(|line| Part {
                        step,
                        line: Some(line),
                    });
                    parts.extend(lines);
                    parts.extend(cut.map(|_| Part { step, line: None }));
                }
                _ => parts.push(Part { step, line: None }),
            }
        }
        parts
    }

    /// The run without some of its parts; `without` is in their order.
    pub(super) fn without(&self, without: &[Part]) -> Scenario {
        let is_out = |step: usize, line: Option<usize>| {
            let key = |part: &Part| (part.step, part.line.map_or(usize::MAX, |line| line));
            let wanted = Part { step, line };
            without.binary_search_by_key(&key(&wanted), key).is_ok()
        };
        let mut steps = Vec::new();
        for (index, step) in self.steps.iter().enumerate() {
            let Step::Send {
                producer,
                stream,
                lines,
                cut,
            } = step
            else {
                if !is_out(index, None) {
                    steps.push(step.clone());
                }
                continue;
            };
            let cut = cut.filter(|_| !is_out(index, None));
            let kept = lines.iter().enumerate();
            let kept = kept.filter(|(line, _)| !is_out(index, Some(*line)));
            let lines: Vec<Line> = kept.map(|(_, line)| line.clone()).collect();
            match (lines.is_empty(), cut) {
                (true, None) => {}
                (true, Some(cut)) => steps.push(Step::Lose(cut)),
                (false, cut) => steps.push(Step::Send {
                    producer: *producer,
                    stream: *stream,
                    lines,
                    cut,
                }),
            }
        }
        Scenario {
            steps,
            ..self.clone()
        }
    }

    /// Number of events that are sent, retries not counted.
    pub(super) fn events(&self) -> usize {
        let lines = |step: &Step| match step {
            Step::Send { lines, .. } => lines.len(),
            _ => 0,
        };
        self.steps.iter().map(lines).sum()
    }
}
