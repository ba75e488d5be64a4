//! Lines of a file, unpacked if it is compressed, without an allocation per line.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;

use crate::error::LoadError;

/// A longer line is no event.
const LINE_BYTES_MAX: usize = 1 << 20;
/// First bytes of a gzip file.
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// The lines of a file.
pub(super) struct Lines {
    path: PathBuf,
    reader: BufReader<Box<dyn Read>>,
    line: Vec<u8>,
}

impl Lines {
    /// Opens a file; what it is is told by its first bytes, not by its name.
    pub(super) fn open(path: &Path) -> Result<Lines, LoadError> {
        let file = File::open(path).map_err(LoadError::file(path))?;
        let mut file = BufReader::with_capacity(256 * 1024, file);
        let is_gzip = file
            .fill_buf()
            .map_err(LoadError::file(path))?
            .starts_with(&GZIP);
        let inner: Box<dyn Read> = if is_gzip {
            Box::new(MultiGzDecoder::new(file))
        } else {
            Box::new(file)
        };
        let reader = BufReader::with_capacity(256 * 1024, inner);
        Ok(Lines {
            path: path.to_owned(),
            reader,
            line: Vec::new(),
        })
    }

    /// The next line without its end; `None` at the end of the file.
    pub(super) fn next_line(&mut self) -> Result<Option<&[u8]>, LoadError> {
        self.line.clear();
        let limit = LINE_BYTES_MAX as u64 + 1;
        let read = (&mut self.reader)
            .take(limit)
            .read_until(b'\n', &mut self.line)
            .map_err(LoadError::file(&self.path))?;
        if read == 0 {
            return Ok(None);
        }
        if read > LINE_BYTES_MAX {
            let message = format!("a line is longer than {LINE_BYTES_MAX} bytes");
            return Err(LoadError::BadFile {
                path: self.path.clone(),
                message,
            });
        }
        if self.line.last() == Some(&b'\n') {
            self.line.pop();
        }
        if self.line.last() == Some(&b'\r') {
            self.line.pop();
        }
        Ok(Some(&self.line))
    }
}
