use super::*;
use crate::testing::plan;

fn progress(acked: u64, sent: u64) -> Arc<Progress> {
    let progress = Progress::default();
    progress.acked.store(acked, Ordering::Relaxed);
    progress.sent.store(sent, Ordering::Relaxed);
    Arc::new(progress)
}

#[test]
fn logs_read_back_survive_a_torn_line_and_stay_small() {
    let dir = tempfile::tempdir().unwrap();
    let producers = vec![("a-0".to_owned(), 1), ("a-1".to_owned(), 101)];
    let mut log = AckLog::create(dir.path(), "r1", &plan("x:1"), "finds", producers).unwrap();
    log.append(&[progress(0, 0), progress(0, 0)]).unwrap();
    log.append(&[progress(50, 60), progress(0, 120)]).unwrap();
    log.append(&[progress(70, 90), progress(110, 130)]).unwrap();
    let path = dir.path().join("r1.acks");
    let mut text = std::fs::read_to_string(&path).unwrap();
    assert_eq!(text.lines().count(), 3, "{text}");
    text.push_str("0:99:1");
    std::fs::write(&path, &text).unwrap();
    let records = read_dir(dir.path()).unwrap();
    assert_eq!(records.len(), 1);
    assert!(!records[0].is_whole);
    assert_eq!(
        records[0].ranges,
        [
            AckRange {
                first: 1,
                acked: 70,
                sent: 90
            },
            AckRange {
                first: 101,
                acked: 110,
                sent: 130
            }
        ]
    );
    log.rewrite().unwrap();
    log.append(&[progress(71, 91), progress(110, 130)]).unwrap();
    log.finish().unwrap();
    let again = &read_dir(dir.path()).unwrap()[0];
    assert!(again.is_whole);
    assert_eq!(
        again.ranges[0],
        AckRange {
            first: 1,
            acked: 71,
            sent: 91
        }
    );
    assert_eq!(again.ranges[1], records[0].ranges[1]);
}

#[test]
fn files_that_are_no_logs_are_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    assert!(
        read_dir(dir.path())
            .unwrap_err()
            .to_string()
            .contains("--acks")
    );
    for text in ["", "{}\n", "{\"ringmill_acks\":2}\n"] {
        std::fs::write(dir.path().join("x.acks"), text).unwrap();
        assert!(
            read_dir(dir.path())
                .unwrap_err()
                .to_string()
                .contains("x.acks"),
            "{text}"
        );
    }
}
