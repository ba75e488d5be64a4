//! The stored verdict: a few lines of text that a person can read as well.
//!
//! ```text
//! ringmill flush-probe 1
//! backend uring
//! chosen ring-fdatasync
//! pinned yes
//! kernel 6.18.44
//! device 254:0 ext4 rw,relatime vda rq_affinity=1 write_cache=write-back fua=0 scheduler=none
//! way dsync p50_ns 187000 p99_ns 8000000 samples 120
//! way ring-fdatasync p50_ns 152000 p99_ns 327000 samples 400
//! ```
//!
//! Anything that does not parse is as good as no verdict: measuring again costs half a second.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;
use std::str::FromStr;

use thiserror::Error;

use super::{Backend, ProbeReport, SyncWay, WayLatency};
use crate::disk::posix::files::names;

/// Name of the verdict in the data directory.
pub const VERDICT_FILE: &str = "flush-probe";

const HEAD: &str = "ringmill flush-probe 1";
const TEMPORARY_FILE: &str = "flush-probe.new";
/// A verdict is a few hundred bytes; more is not ours.
const VERDICT_BYTES_MAX: u64 = 64 * 1024;

/// Why a stored verdict cannot be used.
#[derive(Debug, Error)]
pub enum VerdictError {
    /// There is none.
    #[error("no verdict is stored")]
    Missing,
    /// It cannot be read.
    #[error("the stored verdict cannot be read: {0}")]
    Unreadable(#[from] io::Error),
    /// It is not what this version writes.
    #[error("the stored verdict has no usable {0}")]
    Malformed(&'static str),
}

/// Reads the verdict stored in `dir`.
pub(super) fn load(dir: &Path) -> Result<ProbeReport, VerdictError> {
    let path = dir.join(VERDICT_FILE);
    let bytes = match fs::metadata(&path) {
        Ok(metadata) => metadata.len(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(VerdictError::Missing),
        Err(error) => return Err(error.into()),
    };
    if bytes > VERDICT_BYTES_MAX {
        return Err(VerdictError::Malformed("length"));
    }
    parse(&fs::read_to_string(&path)?)
}

/// Stores a verdict in `dir`: whole or not at all.
pub(super) fn store(dir: &Path, report: &ProbeReport) -> io::Result<()> {
    let temporary = dir.join(TEMPORARY_FILE);
    let mut file = File::create(&temporary)?;
    file.write_all(to_text(report).as_bytes())?;
    file.sync_all()?;
    fs::rename(&temporary, dir.join(VERDICT_FILE))?;
    names::sync_dir(dir)
}

fn to_text(report: &ProbeReport) -> String {
    let mut text = format!(
        "{HEAD}\nbackend {}\nchosen {}\npinned {}\nkernel {}\ndevice {}\n",
        report.backend,
        report.chosen.name(report.backend),
        if report.pinned { "yes" } else { "no" },
        report.kernel,
        report.device,
    );
    for latency in &report.ways {
        text.push_str(&format!(
            "way {} p50_ns {} p99_ns {} samples {}\n",
            latency.way.name(report.backend),
            latency.p50_ns,
            latency.p99_ns,
            latency.samples
        ));
    }
    text
}

fn parse(text: &str) -> Result<ProbeReport, VerdictError> {
    let mut lines = text.lines();
    if lines.next() != Some(HEAD) {
        return Err(VerdictError::Malformed("version line"));
    }
    let mut field = |name: &'static str| {
        lines
            .next()
            .and_then(|line| line.split_once(' '))
            .filter(|(key, value)| *key == name && !value.is_empty())
            .map(|(_, value)| value)
            .ok_or(VerdictError::Malformed(name))
    };
    let backend = match field("backend")? {
        "uring" => Backend::Uring,
        "posix" => Backend::Posix,
        _ => return Err(VerdictError::Malformed("backend")),
    };
    let chosen = SyncWay::from_name(backend, field("chosen")?);
    let chosen = chosen.ok_or(VerdictError::Malformed("chosen"))?;
    let pinned = match field("pinned")? {
        "yes" => true,
        "no" => false,
        _ => return Err(VerdictError::Malformed("pinned")),
    };
    let kernel = field("kernel")?.to_string();
    let device = field("device")?.to_string();
    let ways: Option<Vec<WayLatency>> = lines.map(|line| parse_way(backend, line)).collect();
    let ways = ways.ok_or(VerdictError::Malformed("way"))?;
    if !ways.iter().any(|latency| latency.way == chosen) {
        return Err(VerdictError::Malformed("way of the chosen name"));
    }
    Ok(ProbeReport {
        backend,
        chosen,
        ways,
        pinned,
        kernel,
        device,
    })
}

fn parse_way(backend: Backend, line: &str) -> Option<WayLatency> {
    let words: Vec<&str> = line.split(' ').collect();
    let [
        "way",
        name,
        "p50_ns",
        p50,
        "p99_ns",
        p99,
        "samples",
        samples,
    ] = words[..]
    else {
        return None;
    };
    Some(WayLatency {
        way: SyncWay::from_name(backend, name)?,
        p50_ns: u64::from_str(p50).ok()?,
        p99_ns: u64::from_str(p99).ok()?,
        samples: u64::from_str(samples).ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> ProbeReport {
        ProbeReport {
            backend: Backend::Uring,
            chosen: SyncWay::RingDatasync,
            ways: vec![
                WayLatency {
                    way: SyncWay::WriteDsync,
                    p50_ns: 1,
                    p99_ns: 2,
                    samples: 3,
                },
                WayLatency {
                    way: SyncWay::RingDatasync,
                    p50_ns: 4,
                    p99_ns: 5,
                    samples: 6,
                },
            ],
            pinned: true,
            kernel: "6.18.44-fc".into(),
            device: "254:0 ext4 rw,relatime vda rq_affinity=1".into(),
        }
    }

    #[test]
    fn a_verdict_is_read_back_as_it_was_written() {
        let posix = ProbeReport {
            backend: Backend::Posix,
            pinned: false,
            ..report()
        };
        for report in [report(), posix] {
            assert_eq!(parse(&to_text(&report)).unwrap(), report);
        }
    }

    #[test]
    fn stored_verdicts_replace_each_other_and_leave_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(load(dir.path()), Err(VerdictError::Missing)));
        store(dir.path(), &report()).unwrap();
        let second = ProbeReport {
            kernel: "7.0".into(),
            ..report()
        };
        store(dir.path(), &second).unwrap();
        assert_eq!(load(dir.path()).unwrap(), second);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn every_cut_and_every_changed_line_is_refused_and_never_panics() {
        let text = to_text(&report());
        let last_way = text.trim_end().rfind("\nway").unwrap();
        for end in 0..last_way {
            assert!(parse(&text[..end]).is_err(), "cut at {end} was taken");
        }
        for (index, _) in text.lines().enumerate() {
            let changed: Vec<String> = text
                .lines()
                .enumerate()
                .map(|(at, line)| {
                    if at == index {
                        format!("x{line}")
                    } else {
                        line.into()
                    }
                })
                .collect();
            assert!(
                parse(&changed.join("\n")).is_err(),
                "changed line {index} was taken"
            );
        }
        assert!(parse(&text.replace("samples 3", "samples -3")).is_err());
        assert!(parse(&text.replace("chosen ring-fdatasync", "chosen posix-dsync")).is_err());
    }

    #[test]
    fn a_verdict_file_of_absurd_length_is_not_read() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(VERDICT_FILE), vec![b'x'; 100_000]).unwrap();
        assert!(matches!(
            load(dir.path()),
            Err(VerdictError::Malformed("length"))
        ));
    }
}
