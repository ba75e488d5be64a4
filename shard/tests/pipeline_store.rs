//! Which pipeline may open the store of another, and what memory a pipeline is expected to take.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use ringmill_shard::pipeline::{Pipeline, Problem};

const STORED: &str = r#"ringmill = 1
[stream.finds]
key = "player"
time = { field = "at", disorder = "5s", max_future = "10s", idle = "3s" }
[stream.finds.fields]
player = { id = 1, type = "u64" }
at = { id = 2, type = "time" }
sent = { id = 3, type = "time" }
[stream.visits]
key = "player"
time = { field = "at" }
[stream.visits.fields]
player = { id = 1, type = "u64" }
at = { id = 2, type = "time" }
"#;

fn parse(text: &str) -> Pipeline {
    Pipeline::parse(text).unwrap_or_else(|problems| panic!("{problems:?}"))
}

fn misfits(text: &str) -> Vec<String> {
    match parse(text).fits(&parse(STORED)) {
        Ok(()) => Vec::new(),
        Err(problems) => problems.iter().map(Problem::to_string).collect(),
    }
}

#[test]
fn derived_state_and_clock_settings_may_differ() {
    assert_eq!(misfits(STORED), [""; 0]);
    let text = STORED
        .replace("disorder = \"5s\"", "disorder = \"9s\"")
        .replace("idle = \"3s\"", "idle = \"1s\"");
    let text = format!(
        "{text}[board.b]\nfrom = \"finds\"\nmember = \"player\"\nscore = \"count()\"\n\
         [stream.more]\nkey = \"at\"\ntime = {{ field = \"at\" }}\n\
         [stream.more.fields]\nat = {{ id = 1, type = \"time\" }}\n"
    );
    assert_eq!(misfits(&text), [""; 0]);
}

#[test]
fn fields_cannot_change() {
    let text = STORED.replace("sent = { id = 3, type = \"time\" }", "");
    assert_eq!(
        misfits(&text),
        [
            "the fields of stream `finds` differ from the store: only the store has `sent` (id 3, \
          time), only the file has nothing; the fields of a store cannot change; open another \
          data directory"
        ]
    );
    let sent = "sent = { id = 3, type = \"time\" }";
    let more = format!("{sent}\nteam = {{ id = 4, type = \"text(8)\", optional = true }}");
    assert_eq!(
        misfits(&STORED.replace(sent, &more)),
        [
            "the fields of stream `finds` differ from the store: only the store has nothing, only \
          the file has `team` (id 4, text(8), optional); the fields of a store cannot change; \
          open another data directory"
        ]
    );
}

#[test]
fn streams_keep_their_place() {
    let (head, visits) = STORED.split_at(STORED.find("[stream.visits]").unwrap());
    let (format, finds) = head.split_at(head.find("[stream.finds]").unwrap());
    assert_eq!(
        misfits(&format!("{format}{finds}")),
        [
            "the store has a stream `visits`, which the file lacks; keep the stream, or open \
          another data directory"
        ]
    );
    assert_eq!(
        misfits(&format!("{format}{visits}{finds}")),
        [
            "stream `finds` is number 1 in the store and number 2 in the file; keep the order \
             of the streams and add new ones behind them",
            "stream `visits` is number 2 in the store and number 1 in the file; keep the order \
             of the streams and add new ones behind them",
        ]
    );
}

#[test]
fn key_time_and_max_future_cannot_change() {
    let text = STORED
        .replacen("key = \"player\"", "key = \"sent\"", 1)
        .replacen("field = \"at\"", "field = \"sent\"", 1)
        .replacen("max_future = \"10s\"", "max_future = \"5s\"", 1);
    assert_eq!(
        misfits(&text),
        [
            "stream `finds` is keyed by `player` in the store, by `sent` in the file; the key \
             of a store cannot change; open another data directory",
            "the time of stream `finds` is `at` in the store, `sent` in the file; the time \
             field of a store cannot change; open another data directory",
            "`max_future` of stream `finds` is 10s in the store, 5s in the file; replay would \
             judge events anew that were acknowledged; keep the value of the store, or open \
             another data directory",
        ]
    );
}

#[test]
fn what_tells_events_apart_cannot_change_but_its_memory_may() {
    let id = |more: &str| {
        let rule = format!("dedupe = {{ by = [\"sent\"], mode = \"id\", horizon = {more} }}");
        STORED.replacen(
            "[stream.finds.fields]",
            &format!("{rule}\n[stream.finds.fields]"),
            1,
        )
    };
    let stored = parse(&id("\"10m\""));
    stored
        .fits(&parse(&id("\"600s\", memory = \"64MiB\"")))
        .unwrap();
    let misfit = |text: &str| {
        let problems = parse(text).fits(&stored).unwrap_err();
        let shown: Vec<String> = problems.iter().map(Problem::to_string).collect();
        shown.join("\n")
    };
    let expected = |given: &str| {
        format!(
            "`dedupe` of stream `finds` is id by `sent` for 10m in the store, {given} in the \
             file; replay would judge events anew that were acknowledged; keep the rule of the \
             store, or open another data directory"
        )
    };
    assert_eq!(misfit(STORED), expected("none"));
    assert_eq!(misfit(&id("\"11m\"")), expected("id by `sent` for 11m"));
    let other = id("\"10m\"").replace("by = [\"sent\"]", "by = [\"at\", \"sent\"]");
    assert_eq!(misfit(&other), expected("id by `at`, `sent` for 10m"));
    let sequence = id("\"10m\"").replace("mode = \"id\", horizon = \"10m\"", "mode = \"sequence\"");
    let sequence = sequence.replace("by = [\"sent\"]", "by = [\"player\"]");
    assert_eq!(misfit(&sequence), expected("sequence by `player`"));
    // Digests of pipelines that tell nothing apart by fields stay what they were.
    assert_ne!(parse(STORED).digest(), stored.digest());
}

#[test]
fn forecast_names_what_tells_events_apart() {
    let rule = |rule: &str| {
        let rule = format!("dedupe = {{ {rule} }}\n[stream.finds.fields]");
        let text = STORED.replacen("[stream.finds.fields]", &rule, 1);
        parse(&text).forecast(1_000_000).to_string()
    };
    let shown = rule("by = [\"player\"], mode = \"sequence\"");
    assert!(
        shown.contains("1000000 x 62 bytes: sources of stream finds"),
        "{shown}"
    );
    assert!(
        shown.contains("one source per key of stream finds"),
        "{shown}"
    );
    let shown = rule("by = [\"sent\"], mode = \"id\", horizon = \"10m\"");
    assert!(
        shown.contains("19884107 x 54 bytes: ids of stream finds"),
        "{shown}"
    );
    let rate = "ids of stream finds fill their memory (1.0 GiB per shard): 29457 events per \
                second and shard over 10m and an eighth; what is beyond is refused";
    assert!(shown.contains(rate), "{shown}");
    let shown = rule("by = [\"player\"], mode = \"sequence\", memory = \"8MiB\"");
    assert!(
        shown.contains("135300 x 62 bytes"),
        "a shard takes no more: {shown}"
    );
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
