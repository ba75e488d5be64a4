//! What the proof asks the server over HTTP.

use std::time::Duration;

use serde::Deserialize;
use serde_json::Value as Json;

use crate::error::LoadError;

/// Asks one server.
pub struct Client {
    agent: ureq::Agent,
    base: String,
}

/// A producer as the server knows it.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(super) struct Producer {
    /// Highest sequence that any shard has.
    pub(super) last_sequence: u64,
    /// Events accepted over all shards.
    pub(super) accepted: u64,
    /// Events rejected for their content.
    pub(super) rejected: u64,
}

/// Counters of a stream.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(super) struct StreamCounts {
    /// Events accepted since the store was made.
    pub(super) accepted: u64,
}

/// The pipeline, as far as the proof needs it.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Pipeline {
    /// Its views.
    #[serde(default)]
    pub(super) views: Vec<ViewInfo>,
    /// Its boards.
    #[serde(default)]
    pub(super) boards: Vec<BoardInfo>,
}

/// A view.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct ViewInfo {
    /// Name.
    pub(super) view: String,
    /// Stream.
    pub(super) from: String,
    /// Expression that picks its events.
    #[serde(default, rename = "where")]
    pub(super) filter: Option<String>,
    /// Its windows.
    pub(super) window: WindowInfo,
    /// Columns.
    pub(super) columns: Vec<ColumnInfo>,
}

/// Windows of a view.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct WindowInfo {
    /// Their kind.
    pub(super) kind: String,
}

impl WindowInfo {
    /// Whether each event is in one window, unless it is late or the window is gone.
    pub(super) fn has_each_once(&self) -> bool {
        matches!(self.kind.as_str(), "tumbling" | "calendar" | "session")
    }
}

/// A column of a view.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct ColumnInfo {
    /// Name.
    pub(super) name: String,
    /// What it holds, as `count()` or `sum(field)`.
    pub(super) value: String,
}

/// A board.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct BoardInfo {
    /// Name.
    pub(super) board: String,
    /// Stream.
    pub(super) from: String,
    /// Expression that picks its events.
    #[serde(default, rename = "where")]
    pub(super) filter: Option<String>,
    /// Field that names its members.
    pub(super) member: String,
    /// Rule and direction, as `sum(points) desc`; a list of them if there are several.
    pub(super) score: Json,
    /// How rows are numbered.
    pub(super) rank: String,
    /// After which time scores begin anew; null for never.
    pub(super) season: Json,
}

/// A page of a board.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Page {
    /// Rows by rank.
    pub(super) rows: Vec<PageRow>,
    /// Members of the whole board.
    pub(super) members: u64,
}

/// A row of a board.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct PageRow {
    /// From 1.
    pub(super) rank: u64,
    /// Value of the member field.
    pub(super) member: Json,
    /// Score.
    pub(super) score: Json,
}

#[derive(Deserialize)]
struct WindowsPage {
    rows: Vec<serde_json::Map<String, Json>>,
    #[serde(default)]
    next: Option<String>,
}

impl Client {
    /// A client of the server at `host:port`.
    pub fn new(address: &str, timeout: Duration) -> Client {
        let agent = ureq::Agent::config_builder()
            .timeout_global(Some(timeout))
            .http_status_as_error(false)
            .build()
            .new_agent();
        Client {
            agent,
            base: format!("http://{address}"),
        }
    }

    /// The body of an answer; `None` if the thing does not exist.
    fn body(&self, path: &str) -> Result<Option<String>, LoadError> {
        let url = format!("{}{path}", self.base);
        let failed = |message: String| LoadError::Http {
            url: url.clone(),
            message,
        };
        let mut response = self
            .agent
            .get(&url)
            .call()
            .map_err(|error| failed(format!("{error}; is --http right?")))?;
        let status = response.status();
        let body = response
            .body_mut()
            .with_config()
            .limit(BODY_BYTES_MAX)
            .read_to_string()
            .map_err(|error| failed(error.to_string()))?;
        match status.as_u16() {
            200 => Ok(Some(body)),
            404 => Ok(None),
            _ => Err(failed(format!("{status}: {}", body.trim()))),
        }
    }

    fn json<T: for<'de> Deserialize<'de>>(&self, path: &str) -> Result<Option<T>, LoadError> {
        let Some(body) = self.body(path)? else {
            return Ok(None);
        };
        serde_json::from_str(&body)
            .map(Some)
            .map_err(|error| LoadError::Http {
                url: format!("{}{path}", self.base),
                message: format!("unexpected answer: {error}"),
            })
    }

    fn required<T: for<'de> Deserialize<'de>>(&self, path: &str) -> Result<T, LoadError> {
        self.json(path)?.ok_or_else(|| LoadError::Http {
            url: format!("{}{path}", self.base),
            message: "not found".to_owned(),
        })
    }

    pub(super) fn producer(&self, name: &str) -> Result<Option<Producer>, LoadError> {
        self.json(&format!("/v1/producers/{name}"))
    }

    pub(super) fn pipeline(&self) -> Result<Pipeline, LoadError> {
        self.required("/v1/pipeline")
    }

    pub(super) fn stream(&self, name: &str) -> Result<StreamCounts, LoadError> {
        self.required(&format!("/v1/streams/{name}"))
    }

    pub(super) fn top(&self, board: &str, n: usize) -> Result<Page, LoadError> {
        self.required(&format!("/v1/boards/{board}/top?n={n}"))
    }

    pub(super) fn rank(&self, board: &str, member: &str) -> Result<Option<PageRow>, LoadError> {
        self.json(&format!("/v1/boards/{board}/rank/{}", escape(member)))
    }

    /// The sum of a column over all windows of a view.
    pub(super) fn column_total(&self, view: &str, column: &str) -> Result<u64, LoadError> {
        let mut total = 0;
        let mut after = String::new();
        loop {
            let path = format!("/v1/views/{view}?limit={WINDOWS_PER_PAGE}{after}");
            let page: WindowsPage = self.required(&path)?;
            for row in &page.rows {
                total += row.get(column).and_then(Json::as_u64).unwrap_or_default();
            }
            match page.next {
                Some(next) => after = format!("&after={next}"),
                None => return Ok(total),
            }
        }
    }

    /// Events that came too late for a view; `None` if the server does not tell.
    pub(super) fn late(&self, view: &str) -> Result<Option<u64>, LoadError> {
        let Some(body) = self.body("/metrics")? else {
            return Ok(None);
        };
        let label = format!("view=\"{view}\"");
        let values = body
            .lines()
            .filter(|line| line.starts_with(LATE_METRIC) && line.contains(&label))
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
        Ok(values.map(|value| value as u64).reduce(|a, b| a + b))
    }
}

/// Rows of windows per request.
const WINDOWS_PER_PAGE: usize = 10_000;
/// Largest answer that is read.
const BODY_BYTES_MAX: u64 = 64 << 20;
/// Counter of late events by view.
const LATE_METRIC: &str = "ringmill_view_late_total{";

/// A path segment with everything but unreserved characters escaped.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}
