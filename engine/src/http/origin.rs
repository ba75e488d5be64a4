//! Requests that a browser sends on behalf of some other site's page.
//!
//! The interface has no authentication and is meant for this machine. A page from anywhere may make
//! the browser of somebody on this machine post here, and cannot help sending its `Origin` along.

use axum::extract::Request;
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::problem::Problem;

pub(super) async fn refuse_foreign(request: Request, next: Next) -> Response {
    let harmless = request.method() == Method::GET || request.method() == Method::HEAD;
    if harmless || !is_foreign(request.headers()) {
        return next.run(request).await;
    }
    Problem::new(
        StatusCode::FORBIDDEN,
        "foreign-origin",
        "A page of another site may not write here",
        "the header `origin` names another host than `host`",
    )
    .into_response()
}

fn is_foreign(headers: &HeaderMap) -> bool {
    let text = |name| {
        headers
            .get(name)
            .map(|value| value.to_str().unwrap_or_default())
    };
    let Some(origin) = text(header::ORIGIN) else {
        return false;
    };
    let authority = origin.split_once("://").map(|(_, authority)| authority);
    authority.is_none() || authority != text(header::HOST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_own_origin_may_write() {
        let headers = |pairs: &[(&'static str, &'static str)]| {
            let pair = |(name, value): &(&'static str, &'static str)| {
                (name.parse().unwrap(), value.parse().unwrap())
            };
            pairs.iter().map(pair).collect::<HeaderMap>()
        };
        assert!(!is_foreign(&headers(&[("host", "127.0.0.1:7401")])));
        let own = [
            ("host", "127.0.0.1:7401"),
            ("origin", "http://127.0.0.1:7401"),
        ];
        assert!(!is_foreign(&headers(&own)));
        let foreign = [
            ("host", "127.0.0.1:7401"),
            ("origin", "https://example.org"),
        ];
        assert!(is_foreign(&headers(&foreign)));
        assert!(is_foreign(&headers(&[
            ("host", "127.0.0.1:7401"),
            ("origin", "null")
        ])));
        assert!(is_foreign(&headers(&[("origin", "http://127.0.0.1:7401")])));
    }
}
