//! Dump files as other tools see them: interval logs read back with the crate's own reader, the
//! percentile text against a golden copy, rotation and budget.

#![allow(clippy::unwrap_used, reason = "helpers of tests are not seen as tests")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hdrhistogram::Histogram;
use hdrhistogram::serialization::Deserializer;
use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};
use ringmill_engine::clock::ManualClock;
use ringmill_engine::dump::{DumpLimits, Dumper, HostInfo, RunInfo, Summary, hgrm};
use ringmill_engine::latency::{Recorder, Stage};
use ringmill_engine::metrics::{CoreMetrics, CoreSnapshot, Counter};

const START_NS: u64 = 1_795_170_677_250_000_000;
const SECOND_NS: u64 = 1_000_000_000;

struct Run {
    root: tempfile::TempDir,
    clock: ManualClock,
    cores: Vec<Arc<CoreMetrics>>,
    dumper: Option<Dumper<ManualClock>>,
}

impl Run {
    fn new(cores: usize, limits: DumpLimits) -> Run {
        let root = tempfile::tempdir().unwrap();
        let clock = ManualClock::new(77, START_NS);
        let dumper = start(root.path(), cores, limits, &clock);
        let cores = (0..cores).map(|_| CoreMetrics::new()).collect();
        Run {
            root,
            clock,
            cores,
            dumper: Some(dumper),
        }
    }

    fn directory(&self) -> PathBuf {
        self.dumper.as_ref().unwrap().directory().to_path_buf()
    }

    fn snapshots(&self) -> Vec<CoreSnapshot> {
        self.cores.iter().map(|core| core.snapshot()).collect()
    }

    fn interval(&mut self, ns: u64) {
        self.clock.advance_ns(ns);
        let snapshots = self.snapshots();
        self.dumper.as_mut().unwrap().interval(&snapshots).unwrap();
    }
}

fn start(
    root: &Path,
    cores: usize,
    limits: DumpLimits,
    clock: &ManualClock,
) -> Dumper<ManualClock> {
    let run = RunInfo {
        shards: cores,
        backend: "sim".to_owned(),
        ..RunInfo::default()
    };
    Dumper::with_clock(root, HostInfo::default(), run, limits, clock.clone()).unwrap()
}

struct Line {
    tag: Option<String>,
    start: Duration,
    duration: Duration,
    max: f64,
    histogram: Histogram<u64>,
}

struct Log {
    start: Duration,
    base: Duration,
    lines: Vec<Line>,
}

fn read_log(path: &Path) -> Log {
    let bytes = fs::read(path).unwrap();
    let mut log = Log {
        start: Duration::ZERO,
        base: Duration::ZERO,
        lines: Vec::new(),
    };
    for entry in IntervalLogIterator::new(&bytes) {
        match entry.unwrap() {
            LogEntry::StartTime(start) => log.start = start,
            LogEntry::BaseTime(base) => log.base = base,
            LogEntry::Interval(line) => {
                let encoded = decode_base64(line.encoded_histogram());
                // The cookie of deflated V2: all that the Java reader accepts.
                assert_eq!(encoded[..4], [0x1c, 0x84, 0x93, 0x14]);
                log.lines.push(Line {
                    tag: line.tag().map(|tag| tag.as_str().to_owned()),
                    start: line.start_timestamp(),
                    duration: line.duration(),
                    max: line.max(),
                    histogram: Deserializer::new()
                        .deserialize(&mut encoded.as_slice())
                        .unwrap(),
                });
            }
        }
    }
    log
}

/// Decoder of the test's own, so that the dump's encoder is not its own judge.
fn decode_base64(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let (mut word, mut bits) = (0u32, 0);
    for letter in text.bytes().filter(|letter| *letter != b'=') {
        let digit = match letter {
            b'A'..=b'Z' => letter - b'A',
            b'a'..=b'z' => letter - b'a' + 26,
            b'0'..=b'9' => letter - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => panic!("not base64: {text}"),
        };
        word = word << 6 | u32::from(digit);
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push((word >> bits) as u8);
        }
    }
    bytes
}

#[test]
fn the_header_satisfies_both_readers() {
    let run = Run::new(1, DumpLimits::default());
    let text = fs::read_to_string(run.directory().join("core0.hlog")).unwrap();
    let version = env!("CARGO_PKG_VERSION");
    let expected = format!(
        "#[ringmill {version} latencies of core0, values in ns]\n\
         #[Histogram log format version 1.3]\n\
         #[StartTime: 1795170677.250 (seconds since epoch)]\n\
         #[BaseTime: 1795170677.250 (seconds since epoch)]\n\
         #[MaxValueDivisor: 1000000.000]\n\
         \"StartTimestamp\",\"Interval_Length\",\"Interval_Max\",\
         \"Interval_Compressed_Histogram\"\n"
    );
    assert_eq!(text, expected);
}

#[test]
fn interval_logs_open_with_the_reader_of_the_crate() {
    let mut run = Run::new(2, DumpLimits::default());
    run.cores[0].record_path(
        &[1_000, 2_000, 0, 500, 90_000, 20_000, 50_000, 3_000],
        166_500,
        50,
    );
    run.cores[1].record_path(&[5, 5, 5, 5, 5, 5, 5, 5], 40, 7);
    run.cores[1].record_n(Stage::Hop, 400, 3);
    run.interval(SECOND_NS);
    run.cores[0].record_path(&[0, 0, 0, 0, 0, 0, 7_000_000, 0], 7_000_000, 1);
    run.interval(2 * SECOND_NS);

    let log = read_log(&run.directory().join("core0.hlog"));
    assert_eq!(log.start, Duration::from_millis(START_NS / 1_000_000));
    assert_eq!(log.base, log.start);
    let tags: Vec<_> = log.lines.iter().map(|line| line.tag.clone()).collect();
    let stages = Stage::ALL
        .iter()
        .map(|stage| Some(format!("core0.{}", stage.name())));
    let one: Vec<_> = std::iter::once(None).chain(stages).collect();
    assert_eq!(tags, [one.clone(), one].concat());
    for (line, (start, seconds)) in log
        .lines
        .iter()
        .zip([[(0, 1)].repeat(12), [(1, 2)].repeat(12)].concat())
    {
        assert_eq!(line.start, Duration::from_secs(start));
        assert_eq!(line.duration, Duration::from_secs(seconds));
    }
    let sync = &log.lines[1 + Stage::Sync as usize];
    assert_eq!(sync.histogram.len(), 50);
    assert!(sync.histogram.equivalent(sync.histogram.max(), 50_000));
    let second = &log.lines[12];
    assert_eq!(second.histogram.len(), 1);
    assert!(
        (second.max - 7.0).abs() < 0.06,
        "the column of maxima is in ms: {}",
        second.max
    );

    let all = read_log(&run.directory().join("all.hlog"));
    let untagged: Vec<_> = all.lines.iter().filter(|line| line.tag.is_none()).collect();
    assert_eq!(
        untagged
            .iter()
            .map(|line| line.histogram.len())
            .collect::<Vec<_>>(),
        [57, 1]
    );
    let of = |tag: &str| {
        let lines = all
            .lines
            .iter()
            .filter(|line| line.tag.as_deref() == Some(tag));
        lines.map(|line| line.histogram.len()).sum::<u64>()
    };
    assert_eq!(
        (of("all.hop"), of("core0.total"), of("core1.total")),
        (3, 51, 7)
    );
}

#[test]
fn the_summary_holds_everything_since_start() {
    let mut run = Run::new(2, DumpLimits::default());
    run.cores[0].record_path(&[1, 2, 3, 4, 5, 6, 7, 8], 37, 10);
    run.cores[0].add(Counter::EventsAccepted, 10);
    run.interval(SECOND_NS);
    run.cores[0].record_path(&[90_000_000_000, 0, 0, 0, 0, 0, 0, 0], 90_000_000_000, 1);
    run.cores[1].set(Counter::LaneSlots, 4_096);
    run.interval(SECOND_NS);
    let directory = run.directory();
    let summary = Summary::read(&directory).unwrap();
    assert_eq!(summary.cores, run.snapshots());
    assert_eq!(summary.cores[0].unattributed_ns(), 10);
    assert_eq!(
        summary.cores[0].stage(Stage::Total).sum_ns(),
        90_000_000_370
    );
    assert_eq!(
        (summary.started_ns, summary.duration_ns),
        (START_NS, 2 * SECOND_NS)
    );
    assert_eq!((summary.intervals, summary.finished), (2, false));
    assert_eq!(summary.run.backend, "sim");

    run.clock.advance_ns(SECOND_NS);
    let snapshots = run.snapshots();
    assert_eq!(
        run.dumper.take().unwrap().finish(&snapshots).unwrap(),
        directory
    );
    let summary = Summary::read(&directory).unwrap();
    assert_eq!((summary.intervals, summary.finished), (3, true));
}

#[test]
fn a_correction_of_the_wall_clock_does_not_move_intervals() {
    let mut run = Run::new(1, DumpLimits::default());
    run.interval(SECOND_NS);
    run.clock.set_wall_ns(START_NS - 3_600 * SECOND_NS);
    run.interval(SECOND_NS);
    let log = read_log(&run.directory().join("all.hlog"));
    let starts: Vec<_> = log
        .lines
        .iter()
        .filter(|line| line.tag.is_none())
        .map(|line| line.start)
        .collect();
    assert_eq!(starts, [Duration::ZERO, Duration::from_secs(1)]);
}

#[test]
fn percentiles_are_laid_out_like_those_of_the_java_tools() {
    let recorder = Recorder::new();
    recorder.record_n(100_000, 90);
    recorder.record_n(1_500_000, 9);
    recorder.record(12_345_678);
    let expected = "       Value     Percentile TotalCount 1/(1-Percentile)

     0.10035 0.000000000000         90           1.00
     0.10035 0.100000000000         90           1.11
     0.10035 0.200000000000         90           1.25
     0.10035 0.300000000000         90           1.43
     0.10035 0.400000000000         90           1.67
     0.10035 0.500000000000         90           2.00
     0.10035 0.550000000000         90           2.22
     0.10035 0.600000000000         90           2.50
     0.10035 0.650000000000         90           2.86
     0.10035 0.700000000000         90           3.33
     0.10035 0.750000000000         90           4.00
     0.10035 0.775000000000         90           4.44
     0.10035 0.800000000000         90           5.00
     0.10035 0.825000000000         90           5.71
     0.10035 0.850000000000         90           6.67
     0.10035 0.875000000000         90           8.00
     0.10035 0.887500000000         90           8.89
     1.50733 0.900000000000         99          10.00
     1.50733 0.912500000000         99          11.43
     1.50733 0.925000000000         99          13.33
     1.50733 0.937500000000         99          16.00
     1.50733 0.943750000000         99          17.78
     1.50733 0.950000000000         99          20.00
     1.50733 0.956250000000         99          22.86
     1.50733 0.962500000000         99          26.67
     1.50733 0.968750000000         99          32.00
     1.50733 0.971875000000         99          35.56
     1.50733 0.975000000000         99          40.00
     1.50733 0.978125000000         99          45.71
     1.50733 0.981250000000         99          53.33
     1.50733 0.984375000000         99          64.00
     1.50733 0.985937500000         99          71.11
     1.50733 0.987500000000         99          80.00
     1.50733 0.989062500000         99          91.43
    12.34568 0.990625000000        100         106.67
    12.34568 1.000000000000        100
#[Mean    =      0.34846, StdDeviation   =      1.27151]
#[Max     =     12.34568, Total count    =          100]
#[Buckets =           29, SubBuckets     =          256]
";
    assert_eq!(hgrm(&recorder.snapshot()), expected);
}

#[test]
fn percentile_rows_match_the_pattern_of_plotters_at_both_ends_of_the_range() {
    let recorder = Recorder::new();
    recorder.record_n(1, 10);
    recorder.record_n(60_000_000_000, 10);
    recorder.record(u64::MAX);
    let text = hgrm(&recorder.snapshot());
    let rows: Vec<_> = text
        .lines()
        .skip(2)
        .filter(|line| !line.starts_with('#'))
        .collect();
    assert!(rows.len() > 5);
    for row in &rows {
        assert!(row.starts_with(' '), "no leading blank: {row:?}");
        let numbers: Vec<f64> = row.split_whitespace().map(|n| n.parse().unwrap()).collect();
        assert!(
            numbers.len() == 4 || (numbers.len() == 3 && numbers[1] == 1.0),
            "{row:?}"
        );
    }
    let footers: Vec<_> = text.lines().filter(|line| line.starts_with("#[")).collect();
    assert_eq!(footers.len(), 3);
    assert_eq!(
        hgrm(&Recorder::new().snapshot())
            .lines()
            .filter(|l| l.starts_with("#["))
            .count(),
        3
    );
}

#[test]
fn rotation_keeps_every_interval_and_renews_the_base_time() {
    let limits = DumpLimits {
        file_bytes_max: 6_000,
        ..DumpLimits::default()
    };
    let mut run = Run::new(1, limits);
    for i in 0..40 {
        run.cores[0].record_path(&[i; 8], 8 * i, 1);
        run.interval(SECOND_NS);
    }
    let mut logs = BTreeMap::new();
    for entry in fs::read_dir(run.directory()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if name.starts_with("core0.") {
            logs.insert(name, read_log(&path));
        }
    }
    assert!(logs.len() > 3, "{:?}", logs.keys());
    let mut starts = Vec::new();
    for (name, log) in &logs {
        assert_eq!(
            log.start,
            Duration::from_millis(START_NS / 1_000_000),
            "{name}"
        );
        let untagged: Vec<_> = log.lines.iter().filter(|line| line.tag.is_none()).collect();
        assert!(untagged.iter().all(|line| line.histogram.len() == 1));
        assert!(
            untagged
                .first()
                .is_none_or(|line| line.start == Duration::ZERO),
            "{name}"
        );
        starts.extend(
            untagged
                .iter()
                .map(|line| (log.base - log.start) + line.start),
        );
    }
    starts.sort();
    assert_eq!(starts, (0..40).map(Duration::from_secs).collect::<Vec<_>>());
}

#[test]
fn logs_rotate_by_age() {
    let limits = DumpLimits {
        file_age_ns_max: 10 * SECOND_NS,
        ..DumpLimits::default()
    };
    let mut run = Run::new(1, limits);
    (0..25).for_each(|_| run.interval(SECOND_NS));
    let names = names(&run.directory());
    assert!(names.contains(&"all.000002.hlog".to_owned()), "{names:?}");
    assert!(!names.contains(&"all.000003.hlog".to_owned()), "{names:?}");
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn bytes_below(root: &Path) -> u64 {
    let directories = fs::read_dir(root)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let files = directories
        .filter(|path| path.is_dir())
        .flat_map(|directory| {
            names(&directory)
                .into_iter()
                .map(move |name| directory.join(name))
        });
    files.map(|file| fs::metadata(file).unwrap().len()).sum()
}

#[test]
fn the_budget_removes_the_oldest_and_nothing_of_others() {
    let limits = DumpLimits {
        budget_bytes: 120_000,
        ..DumpLimits::default()
    };
    let mut run = Run::new(1, limits);
    (0..10).for_each(|_| run.interval(SECOND_NS));
    let first = run.directory();
    let root = run.root.path().to_path_buf();
    fs::write(first.join("notes.txt"), "mine").unwrap();
    fs::create_dir(root.join("other")).unwrap();
    fs::write(
        root.join("other").join("core0.hlog"),
        "not a dump's directory",
    )
    .unwrap();

    // The second run of the same millisecond gets a name of its own.
    run.clock.set_wall_ns(START_NS);
    run.dumper = Some(start(&root, 1, limits, &run.clock));
    assert_ne!(run.directory(), first);
    for _ in 0..100 {
        run.interval(SECOND_NS);
    }
    assert!(
        bytes_below(&root) <= limits.budget_bytes,
        "{}",
        bytes_below(&root)
    );
    assert_eq!(names(&first), ["notes.txt"]);
    assert_eq!(names(&root.join("other")), ["core0.hlog"]);
    let left = names(&run.directory());
    assert!(!left.contains(&"all.000001.hlog".to_owned()), "{left:?}");
    for name in ["all.hlog", "core0.hlog", "dump.json", "total.hgrm"] {
        assert!(left.contains(&name.to_owned()), "{left:?}");
    }
    let summary = Summary::read(&run.directory()).unwrap();
    assert_eq!(summary.intervals, 100);
}

#[test]
fn a_directory_that_cannot_be_made_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, "").unwrap();
    let run = RunInfo::default();
    let error = Dumper::new(&file.join("dumps"), HostInfo::gather(), run).unwrap_err();
    assert!(error.to_string().contains("file/dumps"), "{error}");
}
