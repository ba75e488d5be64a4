//! Asking a running server.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use thiserror::Error;

use super::Report;

/// A plan takes no longer.
const PLAN_WAIT: Duration = Duration::from_secs(30);

/// Why a server gave no answer, or none that helps.
#[derive(Debug, Error)]
pub(super) enum RemoteError {
    /// Nobody answers.
    #[error(
        "no server answers at {address}: {source}; give its address with --http, or a stopped \
         store with --data"
    )]
    Unreachable {
        address: SocketAddr,
        source: Box<ureq::Error>,
    },
    /// The server says no.
    #[error("{0}")]
    Refused(String),
    /// The answer is none of this version.
    #[error(
        "the server at {address} answers something else: {what}; is it a ringmill server of \
             this version?"
    )]
    Strange { address: SocketAddr, what: String },
}

/// What the server would make of a file.
pub(super) fn plan(address: SocketAddr, text: &str, keys: u64) -> Result<Report, RemoteError> {
    let body = post(address, &format!("/v1/pipeline/plan?keys={keys}"), text)?;
    serde_json::from_value(body).map_err(|error| RemoteError::Strange {
        address,
        what: error.to_string(),
    })
}

fn post(address: SocketAddr, path: &str, text: &str) -> Result<Value, RemoteError> {
    let unreachable = |source| RemoteError::Unreachable {
        address,
        source: Box::new(source),
    };
    let config = ureq::Agent::config_builder()
        .timeout_global(Some(PLAN_WAIT))
        .http_status_as_error(false)
        .build();
    let agent = ureq::Agent::new_with_config(config);
    let request = agent
        .post(format!("http://{address}{path}"))
        .header("content-type", "application/toml");
    let mut response = request.send(text).map_err(unreachable)?;
    let status = response.status();
    let body = response.body_mut().read_to_string().map_err(unreachable)?;
    let strange = |what| RemoteError::Strange { address, what };
    let body: Value = serde_json::from_str(&body).map_err(|error| strange(error.to_string()))?;
    if status.is_success() {
        return Ok(body);
    }
    match body["detail"].as_str() {
        Some(detail) => Err(RemoteError::Refused(detail.to_owned())),
        None => Err(strange(format!("status {status}"))),
    }
}
