//! That sessions are freed in slices, and their memory and their groups' are used again.

use super::*;
use crate::pipeline::WindowKind;
use crate::window::tests::{ALL, setting, with_batch};

const GROUPS: usize = 20_000;

fn remembered(state: &Sessions) -> u64 {
    state.book.counts(i64::MIN).sessions
}

#[test]
fn sessions_are_freed_in_slices_and_their_memory_used_again() {
    let (view, stream) = setting(WindowKind::Session { gap_ms: 10 });
    let mut state = Sessions::new(&view, &stream, 10, 0);
    let schema = &stream.schema;
    for round in 0..40 {
        let start_ms = round * 100;
        for batch in 0..GROUPS / 100 {
            let before = remembered(&state);
            // Every round has groups of its own.
            let first = round as usize * GROUPS + batch * 100;
            let groups = first..first + 100;
            let watermark_ms = state.watermark_ms;
            with_batch(schema, start_ms, groups, watermark_ms, |batch| {
                state.apply(schema, batch);
            });
            let freed = (before + 100).saturating_sub(remembered(&state));
            assert!(freed <= 200, "{freed} sessions in one go");
        }
        let before = remembered(&state);
        state.advance(start_ms + 1);
        assert!(
            before - remembered(&state) <= FREE_ROWS as u64,
            "round {round}"
        );
    }
    let made = [state.store.rows_made(), state.book.groups_made()];
    assert!(made.iter().all(|made| *made <= 4 * GROUPS), "{made:?}");
    // What is expired and not yet freed does not show.
    state.advance(1_000_000);
    assert!(remembered(&state) > 0);
    assert_eq!(state.rows(&ALL), (vec![], false));
    let counters = state.counters();
    let shown = (
        counters.open_windows,
        counters.closed_windows,
        counters.groups,
    );
    assert_eq!(shown, (0, 0, 0));
    for _ in 0..10 * GROUPS / FREE_ROWS {
        state.advance(1_000_000);
    }
    assert_eq!(remembered(&state), 0);
}

#[test]
fn a_session_that_goes_on_is_looked_at_once_in_a_while_and_not_per_event() {
    let (view, stream) = setting(WindowKind::Session { gap_ms: 1_000 });
    let mut state = Sessions::new(&view, &stream, 1_000, 0);
    let schema = &stream.schema;
    let mut looked_at = 0;
    for time_ms in 0..100_000 {
        with_batch(schema, time_ms, 0..1, time_ms, |batch| {
            state.apply(schema, batch)
        });
        let before = state.book.first_due_ms();
        state.advance(time_ms);
        looked_at += u32::from(state.book.first_due_ms() != before);
    }
    assert_eq!(remembered(&state), 1);
    assert!(state.has_open());
    assert!(looked_at <= 100_000 / 1_000, "{looked_at} times");
}

#[test]
fn a_very_long_run_of_one_group_is_freed_in_slices_too() {
    let (view, stream) = setting(WindowKind::Session { gap_ms: 1 });
    let mut state = Sessions::new(&view, &stream, 1, 0);
    let schema = &stream.schema;
    for time_ms in 0..10_000 {
        with_batch(schema, 2 * time_ms, 0..1, i64::MIN, |batch| {
            state.apply(schema, batch)
        });
    }
    let mut left = remembered(&state);
    assert_eq!(left, 10_000);
    while left > 0 {
        state.advance(1_000_000);
        let now = remembered(&state);
        assert!(
            (1..=FREE_ROWS as u64).contains(&(left - now)),
            "{left} to {now}"
        );
        left = now;
    }
}
