//! Seasons by themselves, with parts that only count.

use super::*;
use crate::board::Origin;
use crate::expression::Evaluated;
use crate::pipeline::Pipeline;
use crate::watermark::ClockMove;

/// A part that counts its events, and pieces that are still to be freed.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Counted {
    events: u64,
    pieces: usize,
}

impl Part for Counted {
    fn fresh(&self, _: &Field) -> Self {
        Self {
            events: 0,
            pieces: 100,
        }
    }

    fn free_some(&mut self, pieces: &mut usize) -> bool {
        let freed = self.pieces.min(*pieces);
        (self.pieces, *pieces) = (self.pieces - freed, *pieces - freed);
        self.pieces == 0
    }

    fn members(&self) -> u64 {
        self.events
    }
}

fn seasons() -> Seasons<Counted> {
    let text = "ringmill = 1\n[stream.s]\nkey = \"k\"\ntime = { field = \"at\" }\n\
                [stream.s.fields]\nk = { id = 1, type = \"u64\" }\nat = { id = 2, type = \"time\" }\n\
                [board.b]\nfrom = \"s\"\nmember = \"k\"\nscore = \"count()\"\n\
                season = { every = \"1s\", grace = \"500ms\", keep = 2 }\n";
    let pipeline = Pipeline::parse(text).unwrap();
    let ready = Counted {
        events: 0,
        pieces: 100,
    };
    let field = &pipeline.streams[0].schema.fields[0];
    Seasons::new(&pipeline.boards[0], field, ready)
}

fn apply(seasons: &mut Seasons<Counted>, times_ms: &[i64], watermark_ms: i64) {
    let picks: Vec<u32> = (0..times_ms.len() as u32).collect();
    let batch = Accepted {
        rows: &[],
        picks: &picks,
        times_ms,
        members: &[],
        computed: &Evaluated::default(),
        watermark_ms,
        origin: Origin {
            stamp_ns: 0,
            log_stream: 0,
            lsn: 0,
        },
        clock_move: ClockMove::NONE,
    };
    seasons.apply(&batch, |part, _, events, _| {
        part.events += events.picks.len() as u64
    });
}

fn held(seasons: &Seasons<Counted>) -> Vec<(i64, u64)> {
    let seasons = seasons.all();
    seasons
        .map(|(span, part)| (span.start_ms, part.events))
        .collect()
}

#[test]
fn trap_38_a_season_border_goes_by_event_time_and_grace() {
    let mut seasons = seasons();
    apply(&mut seasons, &[100, 1_000, 999, 2_100], 0);
    assert_eq!(held(&seasons), [(0, 2), (1_000, 1), (2_000, 1)]);
    seasons.advance(1_499);
    apply(&mut seasons, &[500], 1_499);
    assert_eq!((held(&seasons)[0], seasons.late()), ((0, 3), 0), "frozen");
    seasons.advance(1_500);
    apply(&mut seasons, &[500, 1_100], 1_500);
    assert_eq!((held(&seasons)[0], seasons.late()), ((0, 3), 1), "final");
    seasons.advance(3_499);
    assert_eq!(held(&seasons)[0], (0, 3), "two final ones are kept");
    seasons.advance(3_500);
    assert_eq!(held(&seasons), [(1_000, 2), (2_000, 1)]);
}

#[test]
fn trap_38_a_season_that_left_is_freed_in_slices() {
    let mut seasons = seasons();
    for season in 0..40 {
        apply(&mut seasons, &[season * 1_000], i64::MIN);
    }
    seasons.advance(60_000);
    assert!(held(&seasons).is_empty());
    let left = |seasons: &Seasons<Counted>| -> usize {
        seasons.leaving.iter().map(|part| part.pieces).sum()
    };
    let mut before = left(&seasons);
    assert_eq!(before, 4_000);
    while before > 0 {
        apply(&mut seasons, &[60_000], 60_000);
        let now = left(&seasons);
        assert!(
            (1..=FREE_PIECES).contains(&(before - now)),
            "{before} {now}"
        );
        before = now;
    }
    assert_eq!(held(&seasons).len(), 1);
}

#[test]
fn only_a_watermark_that_changes_a_state_is_awaited() {
    let seasons = seasons();
    for (from_ms, to_ms, expected) in [
        (i64::MIN, 100, true),
        (600, 999, false),
        (600, 1_000, true),
        (999, 1_000, true),
        (1_000, 1_499, false),
        (1_000, 1_500, true),
        (1_499, 1_500, true),
        (1_500, 1_999, false),
        (-600, 9_000, true),
    ] {
        assert_eq!(
            seasons.awaits(from_ms, to_ms),
            expected,
            "{from_ms} {to_ms}"
        );
    }
}

#[test]
fn before_the_first_watermark_the_latest_season_is_current() {
    let mut seasons = seasons();
    let at = At {
        season_ms: None,
        watermark_ms: i64::MIN,
    };
    assert_eq!(seasons.part(at).events, 0);
    apply(&mut seasons, &[100, 100, 2_100], i64::MIN);
    assert_eq!(seasons.part(at).events, 1);
    let at = At {
        watermark_ms: 999,
        ..at
    };
    assert_eq!(seasons.part(at).events, 2);
}
