//! `[view.NAME.window]`: kinds, their keys, and what becomes of late events.

use crate::base::{accepted, refused};
use ringmill_shard::pipeline::{After, CalendarUnit, Window, WindowKind};

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
