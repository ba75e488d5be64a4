//! What memory a pipeline is expected to take.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use ringmill_shard::pipeline::Pipeline;

fn parse(text: &str) -> Pipeline {
    Pipeline::parse(text).unwrap_or_else(|problems| panic!("{problems:?}"))
}

#[test]
fn forecast_grows_with_keys_and_states_its_assumptions() {
    let text = include_str!("../../docs/examples/treasure_hunt.toml");
    let pipeline = parse(text);
    let (small, large) = (pipeline.forecast(1_000), pipeline.forecast(1_000_000));
    assert_eq!(small.key_bytes, large.key_bytes);
    assert!((60..200).contains(&large.key_bytes), "{}", large.key_bytes);
    let sum: u64 = large
        .lines
        .iter()
        .map(|line| line.items * line.item_bytes)
        .sum();
    assert_eq!(sum, large.total_bytes);
    assert_eq!(
        large.total_bytes - small.total_bytes,
        999_000 * large.key_bytes
    );
    let shown = large.to_string();
    for needed in [
        "keys of stream finds",
        "members of board players",
        "groups of view by_region in 362 windows",
        "bytes per key",
        "assuming\n  - 1000000 keys per stream, and as many members per board",
        "rings, log buffers and connections are not included",
    ] {
        assert!(shown.contains(needed), "`{needed}` in\n{shown}");
    }
    // A board of another member holds names of its own; a view by the key has a group per key.
    let foreign = text.replace("member = \"player\"", "member = \"device\"");
    let foreign = parse(&foreign).forecast(1_000_000);
    assert!(foreign.key_bytes == 0 && foreign.total_bytes >= large.total_bytes);
    let by_key = text.replace("group = [\"region\"]", "group = [\"player\"]");
    assert!(parse(&by_key).forecast(1_000_000).total_bytes > 100 * large.total_bytes);
    assert_eq!(parse(&by_key).forecast(u64::MAX).total_bytes, u64::MAX);
}

#[test]
fn forecast_of_windows_that_events_make() {
    let text = include_str!("../../docs/examples/treasure_hunt.toml");
    let window = "window = { kind = \"tumbling\", size = \"10s\", late = \"0s\", keep = \"1h\" }";
    assert!(text.contains(window));
    let with = |kind: &str| {
        let text = text.replace("group = [\"region\"]", "group = [\"player\"]");
        let text = text.replace(window, &format!("window = {{ {kind}, keep = \"1h\" }}"));
        parse(&text).forecast(1_000)
    };
    for (kind, items, lines) in [
        (
            "kind = \"session\", gap = \"30s\"",
            10_000,
            [
                "groups of view by_region",
                "sessions of view by_region, 10 per group",
                "  - 10 sessions of each group of view by_region from `keep` to the newest event",
            ],
        ),
        (
            // No more have room.
            "kind = \"session\", gap = \"30m\"",
            4_000,
            [
                "groups of view by_region",
                "sessions of view by_region, 4 per group",
                "  - 4 sessions of each group of view by_region from `keep` to the newest event",
            ],
        ),
        (
            "kind = \"last\", count = 100",
            100_000,
            [
                "groups of view by_region",
                "last events of view by_region, 100 per group",
                "  - 100 events of each group of view by_region within `keep`",
            ],
        ),
    ] {
        let forecast = with(kind);
        let shown = forecast.to_string();
        for line in lines {
            assert!(shown.contains(line), "`{line}` in\n{shown}");
        }
        assert!(
            forecast.lines.iter().any(|line| line.items == items),
            "{shown}"
        );
    }
}
