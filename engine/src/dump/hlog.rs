//! Interval logs (`.hlog`): one line per histogram and interval, for standard HdrHistogram tools.
//!
//! Choices that those tools force: histograms are deflated (the Java reader takes nothing else),
//! StartTime and BaseTime both stand in the header (with one alone the Java reader guesses the
//! other), and the version comment and the column legend are written here because the crate's
//! writer leaves them out.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::{IntervalLogWriterBuilder, Tag};

use crate::latency::StageSnapshot;

/// The maximum column is in ms while histograms hold ns, as the Java tools assume.
const MAX_VALUE_DIVISOR: f64 = 1e6;
const VERSION: &str = "[Histogram log format version 1.3]";
const LEGEND: &str = "\"StartTimestamp\",\"Interval_Length\",\"Interval_Max\",\
                      \"Interval_Compressed_Histogram\"\n";

/// When an interval was, relative to the epoch, in ns.
#[derive(Debug, Clone, Copy)]
pub(super) struct Interval {
    pub(super) start_wall_ns: u64,
    pub(super) duration_ns: u64,
}

/// One open interval log.
#[derive(Debug)]
pub(super) struct HistogramLog {
    path: PathBuf,
    file: File,
    base_wall_ns: u64,
    bytes: u64,
    /// Bytes of the intervals that were written completely; a failed one is cut off again.
    kept_bytes: u64,
    /// Something, perhaps half a line, may stand behind the kept bytes.
    unkept: bool,
}

impl HistogramLog {
    /// Creates the file and writes its header. `start_wall_ns` is the start of the run,
    /// `base_wall_ns` that of this file.
    pub(super) fn create(
        path: &Path,
        title: &str,
        start_wall_ns: u64,
        base_wall_ns: u64,
    ) -> io::Result<HistogramLog> {
        let file = File::options().write(true).create_new(true).open(path)?;
        let header = header(title, start_wall_ns, base_wall_ns)?;
        let path = path.to_path_buf();
        let mut log = HistogramLog {
            path,
            file,
            base_wall_ns,
            bytes: 0,
            kept_bytes: 0,
            unkept: false,
        };
        log.append(&header)?;
        log.keep();
        Ok(log)
    }

    /// Bytes in the file.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Appends one interval's histograms; those without a tag are what tools show by default.
    /// The whole interval goes out in one write, so that readers see whole lines.
    pub(super) fn write(
        &mut self,
        interval: Interval,
        histograms: &[(Option<String>, &StageSnapshot)],
    ) -> io::Result<()> {
        if self.unkept {
            self.undo()?;
        }
        let mut buffer = Vec::new();
        let mut serializer = V2DeflateSerializer::new();
        let mut writer = IntervalLogWriterBuilder::new()
            .with_max_value_divisor(MAX_VALUE_DIVISOR)
            .begin_log_with(&mut buffer, &mut serializer)?;
        let start = Duration::from_nanos(interval.start_wall_ns.saturating_sub(self.base_wall_ns));
        let duration = Duration::from_nanos(interval.duration_ns);
        for (tag, snapshot) in histograms {
            let tag = tag.as_deref().map(|tag| {
                Tag::new(tag).expect("invariant: tags are made of names without separators")
            });
            writer
                .write_histogram(&snapshot.to_histogram(), start, duration, tag)
                .map_err(io::Error::other)?;
        }
        // The builder repeats the divisor's comment, which stands in the file's header already.
        let lines = buffer
            .iter()
            .position(|byte| *byte == b'\n')
            .map_or(0, |end| end + 1);
        self.append(&buffer[lines..])
    }

    /// Declares what was written so far complete.
    pub(super) fn keep(&mut self) {
        self.kept_bytes = self.bytes;
        self.unkept = false;
    }

    /// Cuts off what was written since the last [`HistogramLog::keep`].
    pub(super) fn undo(&mut self) -> io::Result<()> {
        self.file.set_len(self.kept_bytes)?;
        io::Seek::seek(&mut self.file, io::SeekFrom::Start(self.kept_bytes))?;
        self.bytes = self.kept_bytes;
        self.unkept = false;
        Ok(())
    }

    /// Ends this file under another name and goes on in a new one of the old name.
    pub(super) fn rotate(
        &mut self,
        old_path: &Path,
        title: &str,
        start_wall_ns: u64,
        base_wall_ns: u64,
    ) -> io::Result<()> {
        match fs::rename(&self.path, old_path) {
            // An earlier attempt came as far as the renaming; go on from there.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            renamed => renamed?,
        }
        *self = HistogramLog::create(&self.path, title, start_wall_ns, base_wall_ns)?;
        Ok(())
    }

    /// Puts another file in place of the open one, which it returns.
    #[cfg(test)]
    pub(super) fn swap_file(&mut self, file: File) -> File {
        std::mem::replace(&mut self.file, file)
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.unkept = true;
        self.file.write_all(bytes)?;
        self.bytes += bytes.len() as u64;
        Ok(())
    }
}

fn header(title: &str, start_wall_ns: u64, base_wall_ns: u64) -> io::Result<Vec<u8>> {
    let mut buffer = Vec::new();
    IntervalLogWriterBuilder::new()
        .add_comment(&format!("[{title}, values in ns]"))
        .add_comment(VERSION)
        .with_start_time(UNIX_EPOCH + Duration::from_nanos(start_wall_ns))
        .with_base_time(UNIX_EPOCH + Duration::from_nanos(base_wall_ns))
        .with_max_value_divisor(MAX_VALUE_DIVISOR)
        .begin_log_with(&mut buffer, &mut V2DeflateSerializer::new())?;
    buffer.extend_from_slice(LEGEND.as_bytes());
    Ok(buffer)
}
