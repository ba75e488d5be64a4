use std::sync::Arc;

use super::*;
use crate::echo::{Echo, EchoOptions};
use crate::progress::Silent;
use crate::run::execute;
use crate::testing::plan;

fn judged() -> Judged {
    let echo = Echo::start("127.0.0.1:0", EchoOptions::default()).unwrap();
    let outcome = execute(
        &plan(&echo.addr().to_string()),
        &mut Silent,
        &Arc::default(),
    )
    .unwrap();
    Judged::new(outcome, Some("p99=10s,errors=0".parse().unwrap()))
}

#[test]
fn files_of_a_run_read_back() {
    use hdrhistogram::serialization::Deserializer;
    use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};

    let judged = judged();
    assert!(judged.slo_missed.is_empty(), "{:?}", judged.slo_missed);
    let document = Document::of(&judged);
    let dir = tempfile::tempdir().unwrap();
    let files = Files {
        json: Some(dir.path().join("run.json")),
        hlog: Some(dir.path().join("client.hlog")),
        hgrm: Some(dir.path().join("client.hgrm")),
    };
    files.write(&judged, &document).unwrap();

    let again = read(dir.path()).unwrap();
    assert_eq!(again.response_ns, document.response_ns);
    assert_eq!(again.response().quantile(0.99), document.response_ns.p99);
    assert_eq!(again.acked_events, again.response_ns.count);
    assert!(again.offered_events > 5_000, "{}", again.offered_events);
    let report = text(&again, &files.names());
    assert!(
        report.contains("RESULT") && report.contains("response"),
        "{report}"
    );
    assert!(report.chars().all(|c| c == '\n' || !c.is_control()));
    assert_eq!(csv(std::slice::from_ref(&again)).lines().count(), 2);
    assert!(!curve(&again.response()).is_empty());

    let log = std::fs::read(dir.path().join("client.hlog")).unwrap();
    let (mut untagged, mut response) = (0, 0);
    for entry in IntervalLogIterator::new(&log) {
        if let LogEntry::Interval(interval) = entry.unwrap() {
            let bytes = base64(interval.encoded_histogram());
            let histogram: hdrhistogram::Histogram<u64> = Deserializer::new()
                .deserialize(&mut bytes.as_slice())
                .unwrap();
            match interval.tag().map(|tag| tag.as_str().to_owned()) {
                None => untagged += histogram.len(),
                Some(tag) if tag == "response" => response += histogram.len(),
                Some(_) => {}
            }
        }
    }
    assert_eq!(
        (untagged, response),
        (again.response_ns.count, again.response_ns.count)
    );

    let hgrm = std::fs::read_to_string(dir.path().join("client.hgrm")).unwrap();
    let last = hgrm.lines().rfind(|line| line.starts_with(' ')).unwrap();
    let fields: Vec<&str> = last.split_whitespace().collect();
    assert_eq!(fields[1], "1.000000000000");
    assert_eq!(fields[2], again.response_ns.count.to_string());
    assert!(hgrm.contains("#[Mean    =") && hgrm.contains("#[Max     ="));
}

/// Decodes standard base64.
fn base64(text: &str) -> Vec<u8> {
    let digit = |b: u8| match b {
        b'A'..=b'Z' => b - b'A',
        b'a'..=b'z' => b - b'a' + 26,
        b'0'..=b'9' => b - b'0' + 52,
        b'+' => 62,
        _ => 63,
    };
    let text = text.trim_end_matches('=').as_bytes();
    text.chunks(4)
        .flat_map(|chunk| {
            let bits = chunk
                .iter()
                .fold(0u32, |bits, b| bits << 6 | u32::from(digit(*b)));
            let bits = bits << (6 * (4 - chunk.len()));
            bits.to_be_bytes()[1..chunk.len()].to_vec()
        })
        .collect()
}

#[test]
fn foreign_documents_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("run.json");
    assert!(read(&path).is_err());
    std::fs::write(&path, "{}").unwrap();
    assert!(
        read(dir.path())
            .unwrap_err()
            .to_string()
            .contains("run.json")
    );
}
