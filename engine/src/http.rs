//! The HTTP interface: routes, and what they share. `docs/formats/http.md` is its reference.
//!
//! Runs on the control plane's thread. Handlers ask the cores through [`Cores`] and read metrics
//! where the cores put them; none of them waits without a bound.

pub(crate) mod answers;
mod boards;
mod corrections;
mod health;
mod listen;
mod metrics;
mod ndjson;
mod nearest;
mod numbers;
mod origin;
mod params;
mod pipeline;
mod problem;
mod producers;
mod publish;
mod side;
mod streams;
mod views;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::extract::{Path, Request, rejection::PathRejection};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use ringmill_shard::pipeline::Pipeline;
use serde_json::Value;

use crate::control::{Cores, Dumps, Logs, ServeFacts};
use crate::metrics::CoreMetrics;
pub use listen::ConnectionLimits;
pub(crate) use listen::GuardedListener;
pub use ndjson::BodyLimits;
pub use problem::Problem;

/// Limits of the HTTP interface.
#[derive(Clone, Debug, Default)]
pub struct HttpLimits {
    /// Of connections.
    pub connection: ConnectionLimits,
    /// Of posted bodies.
    pub body: BodyLimits,
}

/// What the handlers share.
pub(crate) struct App {
    pub(crate) cores: Cores,
    pub(crate) pipeline: Arc<Pipeline>,
    pub(crate) facts: ServeFacts,
    pub(crate) metrics: Vec<Arc<CoreMetrics>>,
    pub(crate) data_dir: PathBuf,
    pub(crate) shard_failed: Arc<[AtomicBool]>,
    pub(crate) disk_full: Arc<AtomicBool>,
    pub(crate) draining: AtomicBool,
    pub(crate) limits: HttpLimits,
    pub(crate) dumps: Dumps,
    pub(crate) producers: producers::Producers,
    pub(crate) rows: ndjson::RowBudget,
    pub(crate) logs: Logs,
    /// One correction at a time.
    pub(crate) correcting: tokio::sync::Mutex<()>,
}

impl App {
    /// Shards that have failed, ascending.
    fn failed_shards(&self) -> Vec<usize> {
        let failed = |shard: &usize| self.shard_failed[*shard].load(Ordering::Relaxed);
        (0..self.shard_failed.len()).filter(failed).collect()
    }

    fn is_draining(&self) -> bool {
        // Ordering: a flag that only ever rises; nothing is read on the strength of it.
        self.draining.load(Ordering::Relaxed)
    }

    fn refuse_if_draining(&self) -> Result<(), Problem> {
        if self.is_draining() {
            Err(Problem::shutting_down())
        } else {
            Ok(())
        }
    }

    fn refuse_if_disk_full(&self) -> Result<(), Problem> {
        if self.disk_full.load(Ordering::Relaxed) {
            Err(self.disk_full())
        } else {
            Ok(())
        }
    }

    /// 507: no space for the log.
    fn disk_full(&self) -> Problem {
        let stat = rustix::fs::statvfs(&self.data_dir).ok();
        let free_bytes = stat.map(|stat| stat.f_bavail.saturating_mul(stat.f_frsize));
        let needed_bytes = self.facts.disk_needed_bytes;
        let free = free_bytes.map_or("an unknown number of".to_owned(), |bytes| bytes.to_string());
        let detail = format!(
            "the file system of the data directory has {free} bytes free and the log needs \
             {needed_bytes}; free some and send the request again: with a producer and sequence \
             each event is stored once, whatever was stored already"
        );
        Problem::new(
            StatusCode::INSUFFICIENT_STORAGE,
            "disk-full",
            "No space is left for the log",
            detail,
        )
        .with_some("free_bytes", free_bytes)
        .with("needed_bytes", needed_bytes)
        .retry_after(30)
    }
}

/// All routes.
pub(crate) fn router(app: Arc<App>) -> Router {
    Router::new()
        .route("/v1/streams/{stream}/events", post(publish::post_events))
        .route("/v1/streams/{stream}", get(streams::get_stream))
        .route("/v1/streams/{stream}/rejected", get(side::get_rejected))
        .route("/v1/streams/{stream}/duplicates", get(side::get_duplicates))
        .route("/v1/boards/{board}/top", get(boards::get_top))
        .route("/v1/boards/{board}/rank/{member}", get(boards::get_rank))
        .route(
            "/v1/boards/{board}/around/{member}",
            get(boards::get_around),
        )
        .route("/v1/boards/{board}/seasons", get(boards::get_seasons))
        .route("/v1/boards/{board}/splits", get(boards::get_splits))
        .route("/v1/boards/{board}/among", post(boards::post_among))
        .route(
            "/v1/boards/{board}/explain/{member}",
            get(boards::get_explain),
        )
        .route(
            "/v1/corrections",
            get(corrections::get_corrections).post(corrections::post_correction),
        )
        .route("/v1/corrections/{id}/undo", post(corrections::post_undo))
        .route("/v1/views/{view}", get(views::get_view))
        .route("/v1/views/{view}/late", get(side::get_late))
        .route("/v1/producers/{name}", get(streams::get_producer))
        .route("/v1/pipeline", get(health::get_pipeline))
        .route("/v1/pipeline/plan", post(pipeline::post_plan))
        .route("/v1/status", get(health::get_status))
        .route("/v1/dump", post(health::post_dump))
        .route("/metrics", get(metrics::get_metrics))
        .route("/healthz", get(health::get_healthz))
        .route("/readyz", get(health::get_readyz))
        .method_not_allowed_fallback(wrong_method)
        .fallback(no_route)
        .layer(axum::middleware::from_fn(origin::refuse_foreign))
        .with_state(app)
}

const ROUTES: &str = "/v1/streams/{s}/events, /v1/streams/{s}, /v1/streams/{s}/rejected, \
     /v1/streams/{s}/duplicates, /v1/boards/{b}/top, /v1/boards/{b}/rank/{member}, \
     /v1/boards/{b}/around/{member}, /v1/boards/{b}/explain/{member}, /v1/corrections, \
     /v1/corrections/{id}/undo, /v1/views/{v}, /v1/views/{v}/late, /v1/producers/{name}, \
     /v1/pipeline, /v1/pipeline/plan, \
     /v1/status, /v1/dump, /metrics, /healthz, /readyz";

async fn no_route(request: Request) -> Problem {
    let detail = format!(
        "there is nothing at {}; there are {ROUTES}",
        request.uri().path()
    );
    Problem::new(
        StatusCode::NOT_FOUND,
        "no-route",
        "The path is not known",
        detail,
    )
}

async fn wrong_method(request: Request) -> Problem {
    let path = request.uri().path();
    let is_post = path.ends_with("/events") || path.ends_with("/undo");
    let is_post = is_post || path == "/v1/dump" || path == "/v1/pipeline/plan";
    let allowed = if is_post { "POST" } else { "GET, HEAD" };
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "wrong-method",
        "The path does not take this method",
        format!("{path} takes {allowed}, not {}", request.method()),
    )
    .allow(HeaderValue::from_str(allowed).ok())
}

/// A path segment, decoded.
fn path<T>(segment: Result<Path<T>, PathRejection>) -> Result<T, Problem> {
    match segment {
        Ok(Path(segment)) => Ok(segment),
        Err(error) => Err(Problem::bad_request(format!("the path: {error}"))),
    }
}

/// The index of a name among `names`.
fn lookup<'a>(
    kind: &str,
    name: &str,
    names: impl Iterator<Item = &'a str> + Clone,
) -> Result<usize, Problem> {
    let found = names.clone().position(|known| known == name);
    found.ok_or_else(|| Problem::unknown_name(kind, name, names))
}

/// A JSON answer.
fn reply(mut body: Value, numbers_as_text: bool) -> Response {
    if numbers_as_text {
        numbers::large_to_text(&mut body);
    }
    let json = HeaderValue::from_static("application/json");
    let fresh = HeaderValue::from_static("no-store");
    let headers = [(header::CONTENT_TYPE, json), (header::CACHE_CONTROL, fresh)];
    (headers, body.to_string()).into_response()
}
