//! Views and boards with expressions over HTTP: what counts, what is shown, and what is counted as
//! an error.

#![allow(clippy::unwrap_used, reason = "helpers of tests are not seen as tests")]

mod http_support;

use http_support::{Fake, HUNT, find};
use ringmill_engine::control::ControlLimits;
use serde_json::json;

const EVENTS: &str = "/v1/streams/finds/events";
const AT: i64 = 1_700_000_000_000;

const SECTIONS: &str = r#"
[stream.finds.computed]
area = "upper(region)"
share = "100 / points"
[view.areas]
from = "finds"
where = "share < 60"
group = ["area"]
window = { size = "1h", keep = "1d" }
[view.areas.columns]
finds = "count()"
double = "sum(points * 2)"
huge = "max(points * 9223372036854775807)"
[board.shares]
from = "finds"
where = "region <> 'east'"
member = "player"
score = "best(share) asc"
"#;

fn start(shards: usize) -> Fake {
    let limits = ControlLimits {
        signals: false,
        ..ControlLimits::default()
    };
    let fake = Fake::with(&format!("{HUNT}{SECTIONS}"), shards, limits);
    let mut lines = String::new();
    for (player, points, region) in [
        (1, 2, "north"),
        (2, 1, "north"),
        (3, 0, "north"),
        (4, 5, "North"),
        (5, 4, "east"),
        (6, 0, "east"),
    ] {
        lines += &find(player, AT, points, region);
    }
    fake.post(EVENTS, &[], &lines).ok();
    fake
}

#[test]
fn expressions_choose_group_and_compute() {
    for shards in [1, 3] {
        let fake = start(shards);
        let view = fake.get("/v1/views/areas").ok();
        let rows = view["rows"].as_array().unwrap();
        let shown: Vec<_> = rows
            .iter()
            .map(|row| (&row["area"], &row["finds"], &row["double"], &row["huge"]))
            .collect();
        let (east, north) = (json!("EAST"), json!("NORTH"));
        let (one, two, eight, fourteen) = (json!(1), json!(2), json!(8), json!(14));
        let null = json!(null);
        assert_eq!(
            shown,
            [
                (&east, &one, &eight, &null),
                (&north, &two, &fourteen, &null)
            ]
        );
        let picked = fake.get("/v1/views/areas?area=EAST").ok();
        assert_eq!(picked["rows"], json!([rows[0]]));
        let top = fake.get("/v1/boards/shares/top?n=9").ok();
        let top: Vec<_> = top["rows"]
            .as_array()
            .unwrap()
            .iter()
            .map(|row| (row["member"].clone(), row["score"].clone()))
            .collect();
        let row = |member: u64, score: i64| (json!(member), json!(score));
        assert_eq!(top, [row(4, 20), row(1, 50), row(2, 100)]);
    }
}

#[test]
fn errors_are_counted_by_reason() {
    let fake = start(3);
    let stream = fake.get("/v1/streams/finds").ok();
    // Two events divide by zero in the view's `where`; the board's holds one of them back. The
    // three events that the view counts overflow in `huge`.
    assert_eq!(
        stream["expression_errors"],
        json!({
            "view areas": { "division_by_zero": 2, "overflow": 3 },
            "board shares": { "division_by_zero": 1 },
        })
    );
    let metrics = fake.get("/metrics").text;
    let sum = |name: &str, labels: &str| -> u64 {
        let samples = metrics
            .lines()
            .filter(|line| line.starts_with(&format!("{name}{{")) && line.contains(labels));
        samples
            .map(|line| line.rsplit_once(' ').unwrap().1.parse::<u64>().unwrap())
            .sum()
    };
    for (labels, expected) in [
        ("view=\"areas\",reason=\"division_by_zero\"", 2),
        ("view=\"areas\",reason=\"overflow\"", 3),
        ("view=\"areas\",reason=\"not_finite\"", 0),
        ("view=\"by_region\",reason=\"overflow\"", 0),
    ] {
        assert_eq!(
            sum("ringmill_view_expression_errors_total", labels),
            expected,
            "{labels}"
        );
    }
    let labels = "board=\"shares\",reason=\"division_by_zero\"";
    assert_eq!(sum("ringmill_board_expression_errors_total", labels), 1);
}

#[test]
fn the_pipeline_shows_its_expressions() {
    let pipeline = start(1).get("/v1/pipeline").ok();
    assert_eq!(
        pipeline["streams"][0]["computed"][0],
        json!({ "name": "area", "type": "text(8)", "optional": false, "value": "upper(region)" })
    );
    assert_eq!(
        pipeline["streams"][0]["computed"].as_array().unwrap().len(),
        2
    );
    assert_eq!(pipeline["views"][0]["where"], json!(null));
    assert_eq!(pipeline["views"][1]["where"], "share < 60");
    assert_eq!(pipeline["views"][1]["group"], json!(["area"]));
    assert_eq!(
        pipeline["views"][1]["columns"][1]["value"],
        "sum(points * 2)"
    );
    assert_eq!(pipeline["boards"][2]["where"], "region <> 'east'");
    assert_eq!(pipeline["boards"][2]["score"], "best(share) asc");
}
