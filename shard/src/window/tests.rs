//! That dropped windows are freed in slices, and their memory is used again.

use super::*;
use crate::pipeline::{Aggregate, Column, Durability, Retract, TimeRule, Window, WindowKind};
use crate::schema::{FieldSpec, FieldType};
use crate::value::Value;

const GROUPS: usize = 20_000;

/// A view that counts by the key, and its stream.
pub(super) fn setting(kind: WindowKind) -> (View, Stream) {
    let field = |(id, name, kind): (u16, &str, FieldType)| FieldSpec {
        id,
        name: name.into(),
        kind,
        optional: false,
    };
    let fields = [(1, "at", FieldType::Time), (2, "group", FieldType::U64)];
    let view = View {
        name: "v".into(),
        stream: 0,
        filter: None,
        group: vec![1],
        window: Window {
            kind,
            late_ms: 0,
            keep_ms: 0,
            after: After::Drop,
        },
        columns: vec![Column {
            name: "n".into(),
            aggregate: Aggregate::Count,
        }],
        retract: Retract::Refuse,
    };
    let stream = Stream {
        name: "s".into(),
        key: 1,
        time: TimeRule {
            field: 0,
            disorder_ms: 0,
            max_future_ms: 0,
            idle_ms: 1,
        },
        durability: Durability::Memory,
        dedupe: None,
        schema: Schema::new(fields.map(field).to_vec()).unwrap(),
        computed: vec![],
        former: vec![],
    };
    (view, stream)
}

/// Calls `with` with a batch of one event per group, all of one time.
pub(super) fn with_batch(
    schema: &Schema,
    time_ms: i64,
    groups: std::ops::Range<usize>,
    watermark_ms: i64,
    with: impl FnOnce(&Accepted<'_>),
) {
    let mut rows = vec![0; groups.len() * schema.row_len()];
    for (row, group) in rows.chunks_exact_mut(schema.row_len()).zip(groups.clone()) {
        schema.set(row, 0, &Value::Time(time_ms)).unwrap();
        schema.set(row, 1, &Value::U64(group as u64)).unwrap();
    }
    let picks: Vec<u32> = (0..groups.len() as u32).collect();
    with(&Accepted {
        rows: &rows,
        picks: &picks,
        times_ms: &vec![time_ms; groups.len()],
        members: &[],
        computed: &Evaluated::default(),
        watermark_ms,
        origin: Origin {
            stamp_ns: 1,
            log_stream: 0,
            lsn: 1,
        },
        clock_move: ClockMove::NONE,
    });
}

/// All rows, at most ten.
pub(super) const ALL: Ask<'static> = Ask {
    from_ms: i64::MIN,
    to_ms: i64::MAX,
    after: None,
    limit: 10,
    block_words_max: usize::MAX,
};

fn held(state: &Panes) -> usize {
    state.panes.iter().map(|pane| pane.group_rows.len()).sum()
}

#[test]
fn a_dropped_window_is_freed_in_slices_and_its_memory_used_again() {
    for kind in [
        WindowKind::Tumbling { size_ms: 100 },
        WindowKind::Hopping {
            size_ms: 100,
            hop_ms: 50,
        },
    ] {
        let (view, stream) = setting(kind);
        let mut state = Panes::new(&view, &stream);
        let schema = &stream.schema;
        for round in 0..40 {
            let start_ms = round * 100;
            for batch in 0..GROUPS / 100 {
                let before = held(&state);
                let (groups, watermark_ms) = (batch * 100..(batch + 1) * 100, state.watermark_ms);
                with_batch(schema, start_ms, groups, watermark_ms, |batch| {
                    state.apply(schema, batch);
                });
                let freed = (before + 100).saturating_sub(held(&state));
                assert!(freed <= 200 + SPARE_PANES_MAX, "{freed} rows in one go");
            }
            let before = held(&state);
            state.advance(start_ms + 1);
            assert!(before - held(&state) <= FREE_ROWS, "round {round}");
        }
        assert!(
            state.store.rows_made() <= 4 * GROUPS,
            "{}",
            state.store.rows_made()
        );
        // What is expired and not yet freed does not show.
        state.advance(1_000_000);
        assert!(held(&state) > 0);
        assert_eq!(state.rows(&ALL), (vec![], false));
        let counters = state.counters();
        assert_eq!((counters.open_windows, counters.groups), (0, 0));
        for _ in 0..5 * GROUPS / FREE_ROWS {
            state.advance(1_000_000);
        }
        assert_eq!((held(&state), state.panes.len()), (0, 0));
    }
}
