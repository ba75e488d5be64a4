//! A posted body of NDJSON: lines in, rows out, within limits of bytes, events and time.
//!
//! Nothing is published before the whole body has been parsed, so that a malformed line means that
//! nothing of the request was stored.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::http::StatusCode;
use ringmill_shard::ndjson;
use ringmill_shard::schema::Schema;
use tokio::time::Instant;

use super::problem::Problem;

/// What a posted body may be.
#[derive(Clone, Debug)]
pub struct BodyLimits {
    /// Bytes of one body.
    pub body_bytes_max: usize,
    /// Bytes of one line.
    pub line_bytes_max: usize,
    /// Bytes of the rows that one body becomes: short lines may stand for long rows.
    pub rows_bytes_max: usize,
    /// Bytes of rows of all requests together.
    pub rows_bytes_total: usize,
    /// Longest wait for the next piece of a body.
    pub piece_timeout: Duration,
    /// Longest wait for a whole body.
    pub body_timeout: Duration,
}

impl Default for BodyLimits {
    fn default() -> BodyLimits {
        BodyLimits {
            body_bytes_max: 16 << 20,
            line_bytes_max: 64 << 10,
            rows_bytes_max: 32 << 20,
            rows_bytes_total: 128 << 20,
            piece_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(30),
        }
    }
}

/// Row bytes that all requests together hold.
#[derive(Clone, Debug, Default)]
pub(crate) struct RowBudget(Arc<AtomicUsize>);

/// A share of a [`RowBudget`], given back when dropped.
#[derive(Debug)]
pub(crate) struct RowShare {
    budget: RowBudget,
    bytes: usize,
}

impl RowBudget {
    pub(crate) fn share(&self) -> RowShare {
        RowShare {
            budget: self.clone(),
            bytes: 0,
        }
    }
}

impl RowShare {
    /// Holds at least `bytes` from now on, unless all shares together would exceed `total`.
    fn grow_to(&mut self, bytes: usize, total: usize) -> bool {
        if bytes <= self.bytes {
            return true;
        }
        let more = (bytes - self.bytes).next_multiple_of(SHARE_STEP_BYTES);
        // Ordering: a plain tally; it publishes nothing.
        let before = self.budget.0.fetch_add(more, Ordering::Relaxed);
        self.bytes += more;
        before + more <= total
    }
}

impl Drop for RowShare {
    fn drop(&mut self) {
        self.budget.0.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

const SHARE_STEP_BYTES: usize = 64 << 10;

/// The rows of a body.
#[derive(Debug)]
pub(crate) struct Rows {
    /// The rows, one behind the other.
    pub(crate) bytes: Vec<u8>,
    /// How many.
    pub(crate) count: usize,
    /// Where blank lines stood: rows before them, and blank lines up to there. One entry for any
    /// number of neighbours, so that a body of nothing else takes no memory.
    blanks: Vec<(u32, u32)>,
    _share: RowShare,
}

impl Rows {
    /// The line, from 1, that row `index` came from.
    pub(crate) fn line(&self, index: usize) -> usize {
        let passed = self
            .blanks
            .partition_point(|&(before, _)| before as usize <= index);
        let blanks = passed.checked_sub(1).map_or(0, |last| self.blanks[last].1);
        index + 1 + blanks as usize
    }

    fn note_blank(&mut self) {
        let before = self.count as u32;
        match self.blanks.last_mut() {
            Some((same, blanks)) if *same == before => *blanks += 1,
            last => {
                let blanks = last.map_or(0, |(_, blanks)| *blanks);
                self.blanks.push((before, blanks + 1));
            }
        }
    }
}

/// Most bytes of a body that is one document.
const DOCUMENT_BYTES_MAX: usize = 1024 * 1024;

/// Reads a body of lines to its end.
pub(crate) async fn read_rows(
    body: Body,
    schema: &Schema,
    limits: &BodyLimits,
    share: RowShare,
) -> Result<Rows, Problem> {
    let announced = body.size_hint().lower();
    if announced > limits.body_bytes_max as u64 {
        return Err(body_too_large(limits));
    }
    let mut pieces = Pieces {
        body,
        bytes: 0,
        deadline: Instant::now() + limits.body_timeout,
    };
    let mut lines = Lines::new(schema, limits, share);
    let mut outcome = Ok(());
    while let Some(piece) = pieces.next(limits).await? {
        // A client that is still sending does not read: take the rest in before the refusal.
        if outcome.is_ok() {
            outcome = lines.feed(&piece);
        }
    }
    outcome?;
    lines.finish()
}

/// Reads a body that is one document.
pub(crate) async fn read_whole(body: Body, limits: &BodyLimits) -> Result<Vec<u8>, Problem> {
    let mut pieces = Pieces {
        body,
        bytes: 0,
        deadline: Instant::now() + limits.body_timeout,
    };
    let mut whole = Vec::new();
    while let Some(piece) = pieces.next(limits).await? {
        if whole.len() <= DOCUMENT_BYTES_MAX {
            whole.extend_from_slice(&piece);
        }
    }
    if whole.len() > DOCUMENT_BYTES_MAX {
        let detail = format!("the body of this request has at most {DOCUMENT_BYTES_MAX} bytes");
        return Err(Problem::too_large(detail).with("limit_bytes", DOCUMENT_BYTES_MAX));
    }
    Ok(whole)
}

fn body_too_large(limits: &BodyLimits) -> Problem {
    let most = limits.body_bytes_max;
    Problem::too_large(format!(
        "a body has at most {most} bytes; send several requests"
    ))
    .with("limit_bytes", most)
}

/// The body, piece by piece, on the clock.
struct Pieces {
    body: Body,
    bytes: usize,
    deadline: Instant,
}

impl Pieces {
    async fn next(&mut self, limits: &BodyLimits) -> Result<Option<Bytes>, Problem> {
        loop {
            let deadline = self.deadline.min(Instant::now() + limits.piece_timeout);
            let frame = std::future::poll_fn(|cx| Pin::new(&mut self.body).poll_frame(cx));
            let frame = match tokio::time::timeout_at(deadline, frame).await {
                Err(_) => return Err(slow_sender()),
                Ok(None) => return Ok(None),
                Ok(Some(Err(_))) => {
                    let detail = "the body ended before it was complete; nothing was stored";
                    return Err(Problem::bad_request(detail));
                }
                Ok(Some(Ok(frame))) => frame,
            };
            // Trailers are no part of the events.
            let Ok(piece) = frame.into_data() else {
                continue;
            };
            self.bytes += piece.len();
            if self.bytes > limits.body_bytes_max {
                return Err(body_too_large(limits));
            }
            return Ok(Some(piece));
        }
    }
}

fn slow_sender() -> Problem {
    Problem::new(
        StatusCode::REQUEST_TIMEOUT,
        "slow-sender",
        "The body did not arrive in time",
        "the body took too long; nothing was stored",
    )
}

/// Cuts pieces into lines and parses each into a row.
struct Lines<'a> {
    schema: &'a Schema,
    limits: &'a BodyLimits,
    rows: Rows,
    /// The beginning of a line whose end has not come yet.
    partial: Vec<u8>,
}

impl<'a> Lines<'a> {
    fn new(schema: &'a Schema, limits: &'a BodyLimits, share: RowShare) -> Lines<'a> {
        let rows = Rows {
            bytes: Vec::new(),
            count: 0,
            blanks: Vec::new(),
            _share: share,
        };
        Lines {
            schema,
            limits,
            rows,
            partial: Vec::new(),
        }
    }

    fn feed(&mut self, mut piece: &[u8]) -> Result<(), Problem> {
        while let Some(end) = piece.iter().position(|&byte| byte == b'\n') {
            let (head, rest) = piece.split_at(end);
            piece = &rest[1..];
            if self.partial.is_empty() {
                self.line(head)?;
            } else {
                self.hold(head)?;
                let line = std::mem::take(&mut self.partial);
                self.line(&line)?;
                self.partial = line;
                self.partial.clear();
            }
        }
        self.hold(piece)
    }

    fn hold(&mut self, bytes: &[u8]) -> Result<(), Problem> {
        if self.partial.len() + bytes.len() > self.limits.line_bytes_max {
            return Err(self.line_too_long());
        }
        self.partial.extend_from_slice(bytes);
        Ok(())
    }

    fn finish(mut self) -> Result<Rows, Problem> {
        let last = std::mem::take(&mut self.partial);
        if !last.is_empty() {
            self.line(&last)?;
        }
        Ok(self.rows)
    }

    fn line(&mut self, line: &[u8]) -> Result<(), Problem> {
        if line.len() > self.limits.line_bytes_max {
            return Err(self.line_too_long());
        }
        let line = line.trim_ascii();
        if line.is_empty() {
            self.rows.note_blank();
            return Ok(());
        }
        let start = self.rows.bytes.len();
        let end = start + self.schema.row_len();
        if end > self.limits.rows_bytes_max {
            let most = self.limits.rows_bytes_max / self.schema.row_len();
            let detail = format!("a request has at most {most} events; send several requests");
            return Err(Problem::too_large(detail).with("limit_events", most));
        }
        if !self.rows._share.grow_to(end, self.limits.rows_bytes_total) {
            return Err(Problem::overloaded(
                "too many events are being posted at once",
            ));
        }
        self.rows.bytes.resize(end, 0);
        ndjson::parse_line(self.schema, line, &mut self.rows.bytes[start..]).map_err(|error| {
            let number = self.rows.line(self.rows.count);
            let ndjson::LineError {
                field,
                reason,
                message,
            } = error;
            Problem::new(
                StatusCode::BAD_REQUEST,
                "malformed-event",
                "A line of the body is no event of the stream",
                format!("line {number}: {message}; nothing of the request was stored"),
            )
            .with("line", number)
            .with_some("field", field)
            .with("reason", reason.name())
        })?;
        self.rows.count += 1;
        Ok(())
    }

    fn line_too_long(&self) -> Problem {
        let number = self.rows.line(self.rows.count);
        let most = self.limits.line_bytes_max;
        Problem::too_large(format!("line {number} is longer than {most} bytes"))
            .with("line", number)
            .with("limit_bytes", most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blank_lines_count_as_lines() {
        let share = RowBudget::default().share();
        let mut rows = Rows {
            bytes: Vec::new(),
            count: 0,
            blanks: Vec::new(),
            _share: share,
        };
        // Lines: blank, row, row, blank, blank, row.
        rows.note_blank();
        rows.count = 2;
        rows.note_blank();
        rows.note_blank();
        rows.count = 3;
        assert_eq!([0, 1, 2].map(|index| rows.line(index)), [2, 3, 6]);
        assert_eq!(rows.blanks.len(), 2);
    }

    #[test]
    fn shares_are_bounded_together_and_come_back() {
        let budget = RowBudget::default();
        let (mut one, mut other) = (budget.share(), budget.share());
        let total = 4 * SHARE_STEP_BYTES;
        assert!(one.grow_to(3 * SHARE_STEP_BYTES, total));
        assert!(other.grow_to(1, total));
        assert!(!other.grow_to(SHARE_STEP_BYTES + 1, total));
        drop(one);
        assert!(other.grow_to(3 * SHARE_STEP_BYTES, total));
        drop(other);
        assert_eq!(budget.0.load(Ordering::Relaxed), 0);
    }
}
