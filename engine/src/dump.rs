//! Latency dumps: files that standard HdrHistogram tools open, written beside the running engine.
//!
//! A [`Dumper`] makes one directory per run below a root and appends an interval whenever it is
//! called: on a timer, on a signal, on request, at the end. The directory holds
//!
//! - `coreN.hlog`: per core an interval log, one line per stage tagged `coreN.<stage>`, and the
//!   core's total once more without a tag, because tools show untagged lines by default;
//! - `all.hlog`: the total over all cores without a tag, each stage over all cores as
//!   `all.<stage>`, and each core's total;
//! - `total.hgrm`: percentiles of the total since start;
//! - `dump.json`: everything since start with exact sums; `ringmill inspect` reads it.
//!
//! Interval logs rotate by size and age; all dumps below the root share one budget of bytes. An
//! interval is written to all files or, if one fails, to none: the next one then covers both.
//! Called by the control plane only.

mod base64;
pub(crate) mod budget;
mod hgrm;
mod hlog;
mod info;
mod summary;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

pub use hgrm::hgrm;
pub use info::{HostInfo, RunInfo};
pub use summary::{SCHEMA, Summary, SummaryError};

use crate::clock::{Clock, RealClock};
use crate::latency::{Stage, StageSnapshot};
use crate::metrics::CoreSnapshot;
use hlog::{HistogramLog, Interval};

/// Limits of the files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DumpLimits {
    /// Size at which the interval logs rotate.
    pub file_bytes_max: u64,
    /// Age (ns) at which they rotate.
    pub file_age_ns_max: u64,
    /// Size of all dumps below the root together; oldest go first.
    pub budget_bytes: u64,
}

impl Default for DumpLimits {
    fn default() -> Self {
        DumpLimits {
            file_bytes_max: 64 << 20,
            file_age_ns_max: 3_600 * 1_000_000_000,
            budget_bytes: 1 << 30,
        }
    }
}

/// A dump file could not be written. Nothing recorded is lost: the next interval includes it.
#[derive(Debug, thiserror::Error)]
#[error("cannot write the latency dump {path}: {source}; check free space and permissions there")]
pub struct DumpError {
    /// File or directory concerned.
    pub path: String,
    /// What the system said.
    pub source: io::Error,
}

/// Writes the dumps of one run.
#[derive(Debug)]
pub struct Dumper<C: Clock = RealClock> {
    clock: C,
    root: PathBuf,
    directory: PathBuf,
    limits: DumpLimits,
    /// The run so far; its time, figures and interval count move on with each interval.
    summary: Summary,
    started_mono_ns: u64,
    /// Figures at the end of the last interval.
    previous: Vec<CoreSnapshot>,
    logs: Vec<HistogramLog>,
    /// Start of the present interval logs, in ns since the start of the run.
    logs_since_ns: u64,
    rotations: u64,
}

impl Dumper<RealClock> {
    /// Starts the dumps of a run in a new directory below `root`, with the default limits.
    pub fn new(root: &Path, host: HostInfo, run: RunInfo) -> Result<Dumper, DumpError> {
        Dumper::with_clock(root, host, run, DumpLimits::default(), RealClock::new())
    }
}

impl<C: Clock> Dumper<C> {
    /// As [`Dumper::new`], with limits and a clock of one's own.
    pub fn with_clock(
        root: &Path,
        host: HostInfo,
        run: RunInfo,
        limits: DumpLimits,
        clock: C,
    ) -> Result<Dumper<C>, DumpError> {
        let started_ns = clock.wall_ns();
        let directory = create_directory(root, started_ns)?;
        let cores = vec![CoreSnapshot::empty(); run.shards];
        let summary = Summary {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started_ns,
            duration_ns: 0,
            intervals: 0,
            finished: false,
            host,
            run,
            cores: cores.clone(),
        };
        let mut logs = Vec::new();
        for index in 0..=cores.len() {
            let path = directory.join(format!("{}.{}", stem(index), budget::LOG_EXTENSION));
            let log = HistogramLog::create(&path, &title(index), started_ns, started_ns);
            logs.push(log.map_err(|source| failed(&path, source))?);
        }
        let mut dumper = Dumper {
            started_mono_ns: clock.mono_ns(),
            clock,
            root: root.to_path_buf(),
            directory,
            limits,
            summary,
            previous: cores,
            logs,
            logs_since_ns: 0,
            rotations: 0,
        };
        dumper.write_summary()?;
        dumper.keep_budget()?;
        Ok(dumper)
    }

    /// Directory of this run's dumps.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Appends what happened since the last call; `snapshots` has one entry per core. Returns the
    /// directory of the dumps. After an error the next call covers the failed interval as well.
    pub fn interval(&mut self, snapshots: &[CoreSnapshot]) -> Result<&Path, DumpError> {
        assert_eq!(
            snapshots.len(),
            self.previous.len(),
            "one snapshot per core"
        );
        let now_ns = self.clock.mono_ns().saturating_sub(self.started_mono_ns);
        self.rotate_if_due()?;

        let pairs = snapshots.iter().zip(&self.previous);
        let cores: Vec<_> = pairs.map(|(now, then)| now.since(then)).collect();
        let interval = Interval {
            // Wall time moves with the monotonic clock from the start of the run on, so that a
            // correction of the system's clock neither overlaps intervals nor tears them apart.
            start_wall_ns: self.summary.started_ns + self.summary.duration_ns,
            duration_ns: now_ns.saturating_sub(self.summary.duration_ns),
        };
        if let Err(error) = self.write_logs(interval, &cores) {
            for log in &mut self.logs {
                // Should the disk refuse this too, the next write tries it again first.
                let _ = log.undo();
            }
            return Err(error);
        }
        self.logs.iter_mut().for_each(HistogramLog::keep);
        self.previous = snapshots.to_vec();
        for (total, core) in self.summary.cores.iter_mut().zip(&cores) {
            total.merge_interval(core);
        }
        self.summary.duration_ns = now_ns.max(self.summary.duration_ns);
        self.summary.intervals += 1;
        self.write_summary()?;
        Ok(&self.directory)
    }

    /// Appends the last interval and marks the run as ended in order.
    pub fn finish(mut self, snapshots: &[CoreSnapshot]) -> Result<PathBuf, DumpError> {
        self.summary.finished = true;
        self.interval(snapshots)?;
        Ok(self.directory)
    }

    fn write_logs(&mut self, interval: Interval, cores: &[CoreSnapshot]) -> Result<(), DumpError> {
        let mut all = CoreSnapshot::empty();
        cores.iter().for_each(|core| all.merge_core(core));
        for (index, log) in self.logs.iter_mut().enumerate() {
            let own = index.checked_sub(1).map_or(&all, |core| &cores[core]);
            let mut lines = vec![(None, own.stage(Stage::Total))];
            lines.extend(tagged(index, own));
            if index == 0 {
                let totals = cores.iter().enumerate().map(|(core, snapshot)| {
                    (
                        Some(tag(core + 1, Stage::Total)),
                        snapshot.stage(Stage::Total),
                    )
                });
                lines.extend(totals);
            }
            log.write(interval, &lines)
                .map_err(|source| failed(&self.directory, source))?;
        }
        Ok(())
    }

    fn rotate_if_due(&mut self) -> Result<(), DumpError> {
        let bytes: u64 = self.logs.iter().map(HistogramLog::bytes).sum();
        let largest = self.logs.iter().map(HistogramLog::bytes).max().unwrap_or(0);
        let age_ns = self.summary.duration_ns - self.logs_since_ns;
        // A quarter of the budget leaves something to remove while this set is still in use.
        let due = largest >= self.limits.file_bytes_max
            || bytes >= self.limits.budget_bytes / 4
            || age_ns >= self.limits.file_age_ns_max;
        if !due || age_ns == 0 {
            return Ok(());
        }
        self.rotations += 1;
        let started_ns = self.summary.started_ns;
        let base_wall_ns = started_ns + self.summary.duration_ns;
        for (index, log) in self.logs.iter_mut().enumerate() {
            let old_path = self
                .directory
                .join(budget::rotated_name(&stem(index), self.rotations));
            log.rotate(&old_path, &title(index), started_ns, base_wall_ns)
                .map_err(|source| failed(&old_path, source))?;
        }
        self.logs_since_ns = self.summary.duration_ns;
        self.keep_budget()
    }

    fn write_summary(&mut self) -> Result<(), DumpError> {
        let mut total = StageSnapshot::empty();
        self.summary
            .cores
            .iter()
            .for_each(|core| total.merge(core.stage(Stage::Total)));
        self.replace(budget::PERCENTILES, &hgrm(&total))?;
        self.replace(budget::SUMMARY, &self.summary.to_json())
    }

    /// Replaces a file as a whole, so that a reader never sees half of it.
    fn replace(&self, name: &str, text: &str) -> Result<(), DumpError> {
        let path = self.directory.join(name);
        let new_path = self.directory.join(format!("{name}.new"));
        fs::write(&new_path, text)
            .and_then(|()| fs::rename(&new_path, &path))
            .map_err(|source| failed(&path, source))
    }

    fn keep_budget(&self) -> Result<(), DumpError> {
        budget::enforce(&self.root, &self.directory, self.limits.budget_bytes)
            .map_err(|source| failed(&self.root, source))
    }
}

/// Index 0 is the log over all cores, index n + 1 that of core n.
fn stem(index: usize) -> String {
    index
        .checked_sub(1)
        .map_or("all".to_owned(), |core| format!("core{core}"))
}

fn title(index: usize) -> String {
    format!(
        "ringmill {} latencies of {}",
        env!("CARGO_PKG_VERSION"),
        stem(index)
    )
}

fn tag(index: usize, stage: Stage) -> String {
    format!("{}.{}", stem(index), stage.name())
}

fn tagged(
    index: usize,
    core: &CoreSnapshot,
) -> impl Iterator<Item = (Option<String>, &StageSnapshot)> {
    Stage::ALL
        .iter()
        .map(move |stage| (Some(tag(index, *stage)), core.stage(*stage)))
}

fn failed(path: &Path, source: io::Error) -> DumpError {
    DumpError {
        path: path.display().to_string(),
        source,
    }
}

/// Makes a directory named by the time, with a number behind it if the name is taken.
fn create_directory(root: &Path, wall_ns: u64) -> Result<PathBuf, DumpError> {
    const ATTEMPTS: u32 = 1_000;
    fs::create_dir_all(root).map_err(|source| failed(root, source))?;
    let name = time_name(wall_ns);
    for attempt in 1.. {
        let suffix = if attempt == 1 {
            String::new()
        } else {
            format!("-{attempt:03}")
        };
        let directory = root.join(format!("{name}{suffix}"));
        match fs::create_dir(&directory) {
            Ok(()) => return Ok(directory),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists && attempt < ATTEMPTS => {}
            Err(source) => return Err(failed(&directory, source)),
        }
    }
    unreachable!("the loop ends by its attempts")
}

/// A wall clock in UTC as `20261120T103117.250Z`; names in this form sort by time.
fn time_name(wall_ns: u64) -> String {
    let (seconds, ms) = (wall_ns / 1_000_000_000, wall_ns / 1_000_000 % 1_000);
    let (year, month, day) = civil(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}.{ms:03}Z")
}

/// Date of a day counted from 1970-01-01, in the Gregorian calendar: days are taken from a year
/// that starts in March, so that the leap day is its last.
pub(crate) fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let era = days / 146_097;
    let day_of_era = days % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 {
        march_month + 3
    } else {
        march_month - 9
    };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;
    use crate::metrics::CoreMetrics;

    #[test]
    fn an_interval_that_cannot_be_written_leaves_no_trace_and_is_made_up_for() {
        let root = tempfile::tempdir().unwrap();
        let clock = ManualClock::new(0, 1_795_170_677_000_000_000);
        let run = RunInfo {
            shards: 1,
            ..RunInfo::default()
        };
        let limits = DumpLimits::default();
        let mut dumper =
            Dumper::with_clock(root.path(), HostInfo::default(), run, limits, clock.clone())
                .unwrap();
        let all = dumper.directory().join("all.hlog");
        let metrics = CoreMetrics::new();
        metrics.record_path(&[1; 8], 8, 5);
        let before = fs::read(&all).unwrap();

        let full = fs::File::options().write(true).open("/dev/full").unwrap();
        let own = dumper.logs[1].swap_file(full);
        clock.advance_ns(1_000_000_000);
        let error = dumper.interval(&[metrics.snapshot()]).unwrap_err();
        assert_eq!(error.source.kind(), io::ErrorKind::StorageFull);
        assert_eq!(
            fs::read(&all).unwrap(),
            before,
            "the other log was cut back"
        );

        drop(dumper.logs[1].swap_file(own));
        clock.advance_ns(1_000_000_000);
        metrics.record_path(&[1; 8], 8, 2);
        dumper.interval(&[metrics.snapshot()]).unwrap();
        let summary = Summary::read(dumper.directory()).unwrap();
        assert_eq!((summary.intervals, summary.duration_ns), (1, 2_000_000_000));
        assert_eq!(summary.cores[0].stage(Stage::Total).count(), 7);
        let text = fs::read_to_string(dumper.directory().join("core0.hlog")).unwrap();
        assert!(
            text.contains("\n0.000,2.000,"),
            "one interval of two seconds: {text}"
        );
    }

    #[test]
    fn days_become_dates() {
        let known = [
            (0, (1970, 1, 1)),
            (59, (1970, 3, 1)),
            (11_016, (2000, 2, 29)),
            (11_017, (2000, 3, 1)),
            (19_782, (2024, 2, 29)),
            (20_777, (2026, 11, 20)),
            (47_540, (2100, 2, 28)),
            (47_541, (2100, 3, 1)),
        ];
        for (days, date) in known {
            assert_eq!(civil(days), date, "day {days}");
        }
    }

    #[test]
    fn times_become_names_that_sort() {
        assert_eq!(time_name(1_795_170_677_250_999_999), "20261120T103117.250Z");
        assert!(time_name(1_795_170_677_999_000_000) < time_name(1_795_170_678_000_000_000));
    }
}
