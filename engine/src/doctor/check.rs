//! One finding: what was looked at, what it is, whether that is good, and what to do if not.

use std::fmt;

use serde::Serialize;

/// What a finding means for a person who wants to run the engine here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Could not be found out; neither good nor bad.
    #[serde(rename = "n/a")]
    Unknown,
    /// As it should be.
    Ok,
    /// Works, but slower or with a risk.
    Warn,
    /// The engine will not start, or must not be trusted, as it is.
    Fail,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Verdict::Unknown => "n/a",
            Verdict::Ok => "ok",
            Verdict::Warn => "warn",
            Verdict::Fail => "FAIL",
        })
    }
}

/// One row of the report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What was looked at.
    pub check: &'static str,
    /// What was found.
    pub value: String,
    /// What that means.
    pub verdict: Verdict,
    /// What to do about it; absent where nothing needs doing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
}

impl Check {
    pub(super) fn ok(check: &'static str, value: impl Into<String>) -> Check {
        Check {
            check,
            value: value.into(),
            verdict: Verdict::Ok,
            advice: None,
        }
    }

    pub(super) fn warn(
        check: &'static str,
        value: impl Into<String>,
        advice: impl Into<String>,
    ) -> Check {
        let advice = Some(advice.into());
        Check {
            check,
            value: value.into(),
            verdict: Verdict::Warn,
            advice,
        }
    }

    pub(super) fn fail(
        check: &'static str,
        value: impl Into<String>,
        advice: impl Into<String>,
    ) -> Check {
        let advice = Some(advice.into());
        Check {
            check,
            value: value.into(),
            verdict: Verdict::Fail,
            advice,
        }
    }

    /// `why` tells what is missing, for example the file that does not exist here.
    pub(super) fn unknown(check: &'static str, why: impl fmt::Display) -> Check {
        Check {
            check,
            value: format!("n/a ({why})"),
            verdict: Verdict::Unknown,
            advice: None,
        }
    }
}
