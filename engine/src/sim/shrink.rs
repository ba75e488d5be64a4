//! A smaller run that shows a difference, too: parts are left out, many at first, then fewer.

use super::play::Difference;
use super::scenario::{Scenario, Step};

/// Runs that are played to find a smaller one.
const PLAYS_MAX: u32 = 300;

/// Cuts a run down that shows a difference at one of its steps. `play` tells at which step a run
/// shows one, if it does.
pub(super) fn shrink(
    scenario: &Scenario,
    at: usize,
    mut play: impl FnMut(&Scenario) -> Option<(usize, Difference)>,
) -> Scenario {
    let mut plays = 0;
    let mut differs = |scenario: &Scenario| {
        plays += 1;
        (plays <= PLAYS_MAX).then(|| play(scenario)).flatten()
    };
    let mut smallest = through(scenario, at);
    let one_core = Scenario {
        cores: 1,
        ..smallest.clone()
    };
    if smallest.cores != 1 && differs(&one_core).is_some() {
        smallest = one_core;
    }
    let mut size = smallest.parts().len().div_ceil(2);
    while size > 0 {
        let mut first = 0;
        let mut cut_any = false;
        loop {
            let parts = smallest.parts();
            if first >= parts.len() {
                break;
            }
            let end = parts.len().min(first + size);
            let smaller = smallest.without(&parts[first..end]);
            match differs(&smaller) {
                Some((at, _)) => {
                    smallest = through(&smaller, at);
                    cut_any = true;
                }
                None => first = end,
            }
        }
        // What was left out last may make more superfluous.
        size = match size {
            1 if cut_any => 1,
            size => size / 2,
        };
    }
    smallest
}

/// The run up to a step, which is the comparison that differs, or what the engine failed at.
fn through(scenario: &Scenario, at: usize) -> Scenario {
    let mut steps = scenario.steps[..=at].to_vec();
    if !matches!(steps.last(), Some(Step::Compare)) {
        steps.push(Step::Compare);
    }
    Scenario {
        steps,
        ..scenario.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::scenario::{Cut, Line, When};
    use ringmill_storage::disk::sim::Crash;
    use serde_json::Map;

    fn line(ahead_ms: i64) -> Line {
        Line {
            members: Map::new(),
            when: When::Ahead(ahead_ms),
        }
    }

    fn send(ahead: &[i64]) -> Step {
        Step::Send {
            producer: 0,
            stream: 0,
            lines: ahead.iter().map(|&ms| line(ms)).collect(),
            cut: None,
        }
    }

    fn sent(scenario: &Scenario) -> Vec<i64> {
        let lines = scenario.steps.iter().flat_map(|step| match step {
            Step::Send { lines, .. } => &lines[..],
            _ => &[],
        });
        lines
            .map(|line| match line.when {
                When::Ahead(ms) => ms,
                When::Edge { .. } => panic!("no edges here"),
            })
            .collect()
    }

    #[test]
    fn what_has_no_part_in_a_difference_goes() {
        let mut steps = Vec::new();
        for first in 0..40 {
            steps.push(Step::Pass { ms: 5 });
            steps.push(send(&[first * 10, first * 10 + 1, first * 10 + 2]));
            if first % 7 == 0 {
                steps.push(Step::Compare);
            }
        }
        steps.push(Step::Lose(Cut {
            turns: 0,
            crash: Crash::Kill,
            cores: 2,
        }));
        steps.push(Step::Compare);
        let scenario = Scenario {
            start_ms: 0,
            cores: 5,
            steps,
        };
        // Differs wherever both of two events were sent and time has passed.
        let mut plays = 0;
        let play = |scenario: &Scenario| {
            plays += 1;
            let all = sent(scenario);
            let passes = scenario.steps.iter();
            let passes = passes
                .filter(|step| matches!(step, Step::Pass { .. }))
                .count();
            let differs = all.contains(&101) && all.contains(&352) && passes > 0;
            let last = scenario.steps.len() - 1;
            differs.then(|| (last, Difference::new("", "", "")))
        };
        let smallest = shrink(&scenario, scenario.steps.len() - 1, play);
        assert_eq!(sent(&smallest), [101, 352]);
        assert_eq!((smallest.cores, smallest.steps.len()), (1, 4));
        assert!(plays <= PLAYS_MAX as usize);
    }

    #[test]
    fn a_run_that_never_differs_again_stays_up_to_the_difference() {
        let steps = vec![send(&[1]), Step::Compare, send(&[2]), Step::Compare];
        let scenario = Scenario {
            start_ms: 0,
            cores: 1,
            steps,
        };
        let kept = shrink(&scenario, 1, |_| None);
        assert_eq!((sent(&kept), kept.steps.len()), (vec![1], 2));
    }
}
