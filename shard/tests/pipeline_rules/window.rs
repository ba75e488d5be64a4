//! `[view.NAME.window]`: kinds, their keys, and what becomes of late events.

use crate::base::{accepted, problems, refused, with};
use ringmill_shard::pipeline::{After, CalendarUnit, Pipeline, Window, WindowKind};

fn check(window: &str, expected: &str) {
    refused("window", &format!("window = {{ {window} }}"), expected);
}

fn window(text: &str) -> Window {
    let mut pipeline = accepted("window", &format!("window = {{ {text} }}"));
    pipeline.views.remove(0).window
}

#[test]
fn kinds_of_windows() {
    let expected = Window {
        kind: WindowKind::Hopping {
            size_ms: 600_000,
            hop_ms: 60_000,
        },
        late_ms: 30_000,
        keep_ms: 86_400_000,
        after: After::Amend,
    };
    let text =
        "kind = \"hopping\", size = \"10m\", hop = \"1m\", late = \"30s\", after = \"amend\"";
    assert_eq!(window(text), expected);
    assert_eq!(
        window("kind = \"cumulative\", size = \"1d\", step = \"1h\", after = \"drop\"").kind,
        WindowKind::Cumulative {
            size_ms: 86_400_000,
            step_ms: 3_600_000,
        }
    );
    let calendar = |unit, zone: &str| WindowKind::Calendar {
        unit,
        zone: zone.to_owned(),
    };
    for unit in CalendarUnit::ALL {
        let text = format!("kind = \"calendar\", unit = \"{}\"", unit.name());
        assert_eq!(window(&text).kind, calendar(unit, "UTC"));
        // The name of a zone is that of the database, so that one zone has one name.
        let text = format!("{text}, zone = \"europe/BERLIN\"");
        assert_eq!(window(&text).kind, calendar(unit, "Europe/Berlin"));
    }
}

#[test]
fn keys_of_other_kinds_are_refused() {
    check(
        "size = \"1m\", hop = \"10s\"",
        "line 21, column 25: [view.by_region.window]: `tumbling` windows have no `hop`; \
         it belongs to `hopping`",
    );
    check(
        "kind = \"hopping\", size = \"1m\", hop = \"10s\", zone = \"UTC\"",
        "line 21, column 56: [view.by_region.window]: `hopping` windows have no `zone`; \
         it belongs to `calendar`",
    );
    check(
        "kind = \"calendar\", unit = \"day\", size = \"1d\"",
        "line 21, column 45: [view.by_region.window]: `calendar` windows have no `size`; \
         it belongs to `tumbling`, `hopping`, `cumulative`",
    );
    check(
        "kind = \"cumulative\", size = \"1d\", step = \"1h\", unit = \"day\"",
        "line 21, column 59: [view.by_region.window]: `cumulative` windows have no `unit`; \
         it belongs to `calendar`",
    );
    check(
        "kind = \"calendar\", unit = \"day\", step = \"1h\"",
        "line 21, column 45: [view.by_region.window]: `calendar` windows have no `step`; \
         it belongs to `cumulative`",
    );
}

#[test]
fn hopping_windows() {
    check(
        "kind = \"hopping\", hop = \"1m\"",
        "line 21, column 1: [view.by_region.window] needs `size`",
    );
    check(
        "kind = \"hopping\", size = \"1m\"",
        "line 21, column 1: [view.by_region.window] needs `hop`",
    );
    check(
        "kind = \"hopping\", size = \"1m\", hop = \"0s\"",
        "line 21, column 49: `hop` in [view.by_region.window] must be at least 1ms",
    );
    check(
        "kind = \"hopping\", size = \"1m\", hop = \"61s\"",
        "line 21, column 49: [view.by_region.window]: `hop` is longer than `size`: \
         events in between are in no window; use a `hop` of at most `size`",
    );
    check(
        "kind = \"hopping\", size = \"2h\", hop = \"1s\"",
        "line 21, column 49: [view.by_region.window]: a window is merged from 7200 panes of 1s; \
         at most 4096 are possible; use a longer `hop`, or one that divides `size`",
    );
    check(
        "kind = \"hopping\", size = \"1m\", hop = \"17777ms\"",
        "line 21, column 49: [view.by_region.window]: a window is merged from 60000 panes of 1ms; \
         at most 4096 are possible; use a longer `hop`, or one that divides `size`",
    );
    check(
        "kind = \"hopping\", size = \"1s\", hop = \"1ms\", keep = \"1d\"",
        "line 21, column 1: [view.by_region.window]: 86406000 panes at once; \
         at most 1000000 are possible; shorten `keep` or lengthen `hop`",
    );
    window("kind = \"hopping\", size = \"4096s\", hop = \"1s\"");
    window("kind = \"hopping\", size = \"1m\", hop = \"1m\"");
}

#[test]
fn cumulative_windows() {
    check(
        "kind = \"cumulative\", size = \"1d\"",
        "line 21, column 1: [view.by_region.window] needs `step`",
    );
    check(
        "kind = \"cumulative\", size = \"1d\", step = \"7h\"",
        "line 21, column 53: [view.by_region.window]: `step` does not divide `size`: \
         the last window would be shorter; use a `size` that is a multiple of `step`",
    );
    check(
        "kind = \"cumulative\", size = \"1d\", step = \"10s\"",
        "line 21, column 53: [view.by_region.window]: a window is merged from 8640 panes of 10s; \
         at most 4096 are possible; use a longer `step`",
    );
    check(
        "kind = \"cumulative\", size = \"1s\", step = \"1ms\", keep = \"1h\"",
        "line 21, column 1: [view.by_region.window]: 3606000 windows at once; \
         at most 1000000 are possible; shorten `keep` or lengthen `step`",
    );
}

#[test]
fn calendar_windows() {
    check(
        "kind = \"calendar\"",
        "line 21, column 1: [view.by_region.window] needs `unit`",
    );
    check(
        "kind = \"calendar\", unit = \"days\"",
        "line 21, column 38: [view.by_region.window]: unknown unit `days`; did you mean `day`?",
    );
    check(
        "kind = \"calendar\", unit = \"decade\"",
        "line 21, column 38: [view.by_region.window]: unknown unit `decade`; \
         known: `hour`, `day`, `week`, `month`, `quarter`, `year`",
    );
    check(
        "kind = \"calendar\", unit = \"day\", zone = \"Europe/Berln\"",
        "line 21, column 52: [view.by_region.window]: unknown zone `Europe/Berln`; \
         did you mean `Europe/Berlin`?",
    );
    check(
        "kind = \"calendar\", unit = \"day\", zone = \"+01:00\"",
        "line 21, column 52: [view.by_region.window]: unknown zone `+01:00`; \
         use a name of the IANA database, as `Europe/Berlin`",
    );
    check(
        "kind = \"calendar\", unit = \"day\", zone = \"Etc/Unknown\"",
        "line 21, column 52: [view.by_region.window]: unknown zone `Etc/Unknown`; \
         use a name of the IANA database, as `Europe/Berlin`",
    );
    check(
        "kind = \"calendar\", unit = \"hour\", keep = \"36500d\", late = \"36500d\"",
        "line 21, column 1: [view.by_region.window]: 1752000 windows at once; \
         at most 1000000 are possible; shorten `keep` or lengthen `unit`",
    );
}

/// The base with a view by its key, and these windows.
fn by_key(window: &str) -> String {
    let text = with("window", &format!("window = {{ {window} }}"));
    text.replace(
        "group = [\"region\", \"flag\"]",
        "group = [\"region\", \"player\"]",
    )
}

#[track_caller]
fn check_by_key(window: &str, expected: &str) {
    assert_eq!(problems(&by_key(window)), [expected], "{window}");
}

fn window_by_key(window: &str) -> Window {
    let pipeline = Pipeline::parse(&by_key(window));
    let mut pipeline = pipeline.unwrap_or_else(|problems| panic!("{window}: {problems:?}"));
    pipeline.views.remove(0).window
}

#[test]
fn session_windows() {
    let expected = Window {
        kind: WindowKind::Session { gap_ms: 30_000 },
        late_ms: 5_000,
        keep_ms: 3_600_000,
        after: After::Amend,
    };
    let text = "kind = \"session\", gap = \"30s\", late = \"5s\", keep = \"1h\", after = \"amend\"";
    assert_eq!(window_by_key(text), expected);
    check(
        "kind = \"session\", gap = \"30s\"",
        "line 20, column 9: [view.by_region]: `session` windows need the stream's key `player` in \
         `group`: the events of a group would be on several shards, and none knows when a session \
         ends; add `player` to `group`",
    );
    check_by_key(
        "kind = \"session\"",
        "line 21, column 1: [view.by_region.window] needs `gap`",
    );
    check_by_key(
        "kind = \"session\", gap = \"0ms\"",
        "line 21, column 36: `gap` in [view.by_region.window] must be at least 1ms",
    );
    check_by_key(
        "kind = \"session\", gap = \"30s\", size = \"1m\"",
        "line 21, column 43: [view.by_region.window]: `session` windows have no `size`; \
         it belongs to `tumbling`, `hopping`, `cumulative`",
    );
    check(
        "size = \"1m\", gap = \"30s\"",
        "line 21, column 25: [view.by_region.window]: `tumbling` windows have no `gap`; \
         it belongs to `session`",
    );
    // With the disorder of the base, 5s.
    check_by_key(
        "kind = \"session\", gap = \"1ms\", keep = \"96s\"",
        "line 21, column 1: [view.by_region.window]: 101000 sessions of a group at once; \
         at most 100000 are possible; shorten `keep` or lengthen `gap`",
    );
    window_by_key("kind = \"session\", gap = \"1ms\", keep = \"95s\"");
}

#[test]
fn last_windows() {
    let expected = Window {
        kind: WindowKind::Last { count: 1_000 },
        late_ms: 0,
        keep_ms: 86_400_000,
        after: After::Drop,
    };
    assert_eq!(window_by_key("kind = \"last\", count = 1000"), expected);
    check(
        "kind = \"last\", count = 10",
        "line 20, column 9: [view.by_region]: `last` windows need the stream's key `player` in \
         `group`: the events of a group would be on several shards, and none knows which events \
         are the last; add `player` to `group`",
    );
    check_by_key(
        "kind = \"last\"",
        "line 21, column 1: [view.by_region.window] needs `count`",
    );
    for (count, column) in [("0", 35), ("1001", 35), ("-1", 35)] {
        let expected = format!(
            "line 21, column {column}: [view.by_region.window]: `count` is {count}; \
             it must be 1 to 1000"
        );
        check_by_key(&format!("kind = \"last\", count = {count}"), &expected);
    }
    check_by_key(
        "kind = \"last\", count = \"10\"",
        "line 21, column 35: `count` in [view.by_region.window] must be a whole number, not text",
    );
    check_by_key(
        "kind = \"last\", count = 10, late = \"5s\"",
        "line 21, column 39: [view.by_region.window]: `last` windows have no `late`; it belongs \
         to `tumbling`, `hopping`, `cumulative`, `calendar`, `session`",
    );
    check_by_key(
        "kind = \"last\", count = 10, after = \"amend\"",
        "line 21, column 39: [view.by_region.window]: `last` windows have no `after`; it belongs \
         to `tumbling`, `hopping`, `cumulative`, `calendar`, `session`",
    );
    check(
        "size = \"1m\", count = 5",
        "line 21, column 25: [view.by_region.window]: `tumbling` windows have no `count`; \
         it belongs to `last`",
    );
}

#[test]
fn late_events() {
    check(
        "size = \"1m\", after = \"amed\"",
        "line 21, column 33: [view.by_region.window]: unknown `after` `amed`; \
         did you mean `amend`?",
    );
    check(
        "size = \"1m\", after = \"refuse\"",
        "line 21, column 33: [view.by_region.window]: unknown `after` `refuse`; \
         known: `drop`, `amend`",
    );
    check(
        "size = \"1m\", late = \"5m\", keep = \"5m\", after = \"amend\"",
        "line 21, column 59: [view.by_region.window]: nothing can be amended, because no closed \
         window is kept; use a `keep` longer than `late`",
    );
    check(
        "size = \"1m\", after = 5",
        "line 21, column 33: `after` in [view.by_region.window] must be text, not a whole number",
    );
}
