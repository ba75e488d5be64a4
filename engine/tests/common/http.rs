//! A client for HTTP.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;

/// Requests to one server.
#[derive(Clone, Debug)]
pub struct Http {
    agent: ureq::Agent,
    address: SocketAddr,
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub body: Value,
}

impl Answer {
    /// The body of a successful answer.
    #[track_caller]
    pub fn ok(self) -> Value {
        assert_eq!(self.status, 200, "{}", self.body);
        self.body
    }

    /// The body of a problem of this status and name.
    #[track_caller]
    pub fn problem(self, status: u16, name: &str) -> Value {
        assert_eq!(self.status, status, "{}", self.body);
        assert_eq!(
            self.body["type"],
            format!("urn:ringmill:problem:{name}"),
            "{}",
            self.body
        );
        self.body
    }
}

impl Http {
    pub fn new(address: SocketAddr) -> Http {
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(60)));
        Http {
            agent: config.build().into(),
            address,
        }
    }

    #[track_caller]
    pub fn get(&self, path: &str) -> Answer {
        let url = format!("http://{}{path}", self.address);
        answer(self.agent.get(&url).call())
    }

    #[track_caller]
    pub fn post(&self, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let mut request = self.agent.post(format!("http://{}{path}", self.address));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        answer(request.send(body))
    }

    /// Every row of a board, page by page.
    #[track_caller]
    pub fn board(&self, name: &str) -> Vec<Value> {
        let mut rows: Vec<Value> = Vec::new();
        loop {
            let (offset, n) = (rows.len(), 1_000);
            assert!(offset + n <= 10_000, "the pages of a board end there");
            let mut body = self
                .get(&format!("/v1/boards/{name}/top?n={n}&offset={offset}"))
                .ok();
            assert!(body.get("missing_shards").is_none(), "{body}");
            let Value::Array(more) = body["rows"].take() else {
                panic!("no rows in {body}")
            };
            let is_last = more.len() < n;
            rows.extend(more);
            if is_last {
                assert_eq!(body["members"], rows.len(), "{body}");
                return rows;
            }
        }
    }

    /// Every row of a view, page by page.
    #[track_caller]
    pub fn view(&self, name: &str) -> Vec<Value> {
        let mut rows = Vec::new();
        let mut after = String::new();
        loop {
            let mut body = self
                .get(&format!("/v1/views/{name}?limit=1000{after}"))
                .ok();
            assert!(body.get("missing_shards").is_none(), "{body}");
            let Value::Array(more) = body["rows"].take() else {
                panic!("no rows in {body}")
            };
            rows.extend(more);
            match body["next"].as_str() {
                Some(next) => after = format!("&after={next}"),
                None => return rows,
            }
        }
    }
}

#[track_caller]
fn answer(response: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Answer {
    let mut response = response.unwrap();
    let status = response.status().as_u16();
    let text = response.body_mut().read_to_string().unwrap();
    let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
    Answer { status, body }
}
