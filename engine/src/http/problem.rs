//! RFC 9457 problem bodies: what every refused request is answered with.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value};

/// What precedes the name of a problem in its `type`.
const TYPE_PREFIX: &str = "urn:ringmill:problem:";

/// A refusal: a name that programs match on, a sentence for people, and members that say where.
///
/// Boxed, because it is the error of nearly every function of the HTTP layer.
#[derive(Debug)]
pub struct Problem(Box<Content>);

#[derive(Debug)]
struct Content {
    name: &'static str,
    title: &'static str,
    status: StatusCode,
    detail: String,
    members: Map<String, Value>,
    retry_after_s: Option<u32>,
    allow: Option<HeaderValue>,
}

impl Problem {
    /// A problem called `name`; `title` is the same sentence for every problem of that name.
    pub fn new(
        status: StatusCode,
        name: &'static str,
        title: &'static str,
        detail: impl Into<String>,
    ) -> Problem {
        Problem(Box::new(Content {
            name,
            title,
            status,
            detail: detail.into(),
            members: Map::new(),
            retry_after_s: None,
            allow: None,
        }))
    }

    /// Adds a member to the body.
    pub fn with(mut self, member: &str, value: impl Into<Value>) -> Problem {
        self.0.members.insert(member.to_owned(), value.into());
        self
    }

    /// Adds a member to the body if there is a value.
    pub fn with_some(self, member: &str, value: Option<impl Into<Value>>) -> Problem {
        match value {
            Some(value) => self.with(member, value),
            None => self,
        }
    }

    /// Asks the client to wait before it tries again.
    pub fn retry_after(mut self, seconds: u32) -> Problem {
        self.0.retry_after_s = Some(seconds);
        self
    }

    /// The name that programs match on.
    pub fn name(&self) -> &'static str {
        self.0.name
    }

    /// The HTTP status.
    pub fn status(&self) -> StatusCode {
        self.0.status
    }

    /// The sentence for people.
    pub fn detail(&self) -> &str {
        &self.0.detail
    }

    /// 400: a parameter, header or path that cannot be read.
    pub fn bad_request(detail: impl Into<String>) -> Problem {
        Problem::new(
            StatusCode::BAD_REQUEST,
            "bad-request",
            "The request is malformed",
            detail,
        )
    }

    /// 400: a parameter with a value that is out of place.
    pub fn bad_parameter(parameter: &str, detail: impl Into<String>) -> Problem {
        Problem::new(
            StatusCode::BAD_REQUEST,
            "bad-parameter",
            "A parameter of the request cannot be used",
            detail,
        )
        .with("parameter", parameter)
    }

    /// 404: a name that the pipeline does not know; lists the nearest one.
    pub fn unknown_name<'a>(
        kind: &str,
        name: &str,
        known: impl Iterator<Item = &'a str>,
    ) -> Problem {
        let nearest = super::nearest::nearest(name, known);
        let detail = match nearest {
            Some(nearest) => format!("there is no {kind} `{name}`; did you mean `{nearest}`?"),
            None => format!("there is no {kind} `{name}`"),
        };
        Problem::new(
            StatusCode::NOT_FOUND,
            "unknown-name",
            "The name is not known",
            detail,
        )
        .with("kind", kind)
        .with("name", name)
        .with_some("nearest", nearest)
    }

    /// 413: a body, line or number of events beyond a limit.
    pub fn too_large(detail: impl Into<String>) -> Problem {
        Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "too-large",
            "The request is larger than allowed",
            detail,
        )
    }

    /// 503: the answer did not come in time or there is no room; nothing was stored.
    pub fn overloaded(detail: impl Into<String>) -> Problem {
        Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "overloaded",
            "The engine has no room for the request now",
            detail,
        )
        .retry_after(1)
    }

    /// 503: the process is stopping; nothing was stored.
    pub fn shutting_down() -> Problem {
        Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "shutting-down",
            "The engine is shutting down",
            "send the request again when the engine is back",
        )
        .retry_after(1)
    }

    /// 503: a shard that the answer depends on has failed.
    pub fn shard_failed(shard: usize) -> Problem {
        Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "shard-failed",
            "A shard that the answer depends on has failed",
            format!("the log of shard {shard} failed; restart the engine to recover it"),
        )
        .with("shard", shard)
        .retry_after(10)
    }

    /// 500: an invariant of ours does not hold.
    pub fn internal(detail: impl Into<String>) -> Problem {
        Problem::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "The engine failed to answer",
            detail,
        )
    }

    pub(super) fn allow(mut self, methods: Option<HeaderValue>) -> Problem {
        self.0.allow = methods;
        self
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let Content {
            name,
            title,
            status,
            detail,
            members,
            retry_after_s,
            allow,
        } = *self.0;
        let mut body = Map::new();
        body.insert("type".to_owned(), format!("{TYPE_PREFIX}{name}").into());
        body.insert("title".to_owned(), title.into());
        body.insert("status".to_owned(), status.as_u16().into());
        body.insert("detail".to_owned(), detail.into());
        body.extend(members);
        let mut response = (status, Value::Object(body).to_string()).into_response();
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        if let Some(seconds) = retry_after_s {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        if let Some(methods) = allow {
            headers.insert(header::ALLOW, methods);
        }
        response
    }
}
