//! The objective of a run: `p99=1ms,errors=0,achieved=99%`.

use std::fmt;
use std::str::FromStr;

use crate::recorder::Recorder;
use crate::units::{human_ns, parse_count, parse_duration, parse_share, short_duration};

/// One condition.
#[derive(Clone, Debug, PartialEq)]
enum Term {
    /// A quantile of the response time is at most so many ns.
    Quantile {
        name: String,
        quantile: f64,
        at_most_ns: u64,
    },
    /// At most so many errors.
    Errors { at_most: u64 },
    /// At least this share of the offered events is acknowledged.
    Achieved { at_least: f64 },
}

/// All conditions of an objective.
#[derive(Clone, Debug, PartialEq)]
pub struct Slo {
    terms: Vec<Term>,
}

impl FromStr for Slo {
    type Err = String;

    fn from_str(text: &str) -> Result<Slo, String> {
        let terms: Vec<Term> = text.split(',').map(parse_term).collect::<Result<_, _>>()?;
        Ok(Slo { terms })
    }
}

fn parse_term(text: &str) -> Result<Term, String> {
    let (name, value) = text
        .split_once('=')
        .ok_or_else(|| format!("`{text}` is no condition; write p99=1ms or errors=0"))?;
    match name {
        "errors" => Ok(Term::Errors {
            at_most: parse_count(value)?,
        }),
        "achieved" => Ok(Term::Achieved {
            at_least: parse_share(value)?,
        }),
        _ => {
            let quantile = quantile_of(name).ok_or_else(|| {
                format!("unknown condition `{name}`; use p50 to p9999, max, errors or achieved")
            })?;
            let at_most_ns = parse_duration(value)?.as_nanos() as u64;
            Ok(Term::Quantile {
                name: name.to_owned(),
                quantile,
                at_most_ns,
            })
        }
    }
}

/// `p99`, `p99.9` and `p999` (the same), `max`.
fn quantile_of(name: &str) -> Option<f64> {
    if name == "max" {
        return Some(1.0);
    }
    let digits = name.strip_prefix('p')?;
    let quantile = match digits.split_once('.') {
        Some(_) => digits.parse::<f64>().ok()? / 100.0,
        None if digits.bytes().all(|b| b.is_ascii_digit()) => {
            digits.parse::<f64>().ok()? / 10f64.powi(digits.len() as i32)
        }
        None => return None,
    };
    (quantile > 0.0 && quantile < 1.0).then_some(quantile)
}

impl fmt::Display for Slo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, term) in self.terms.iter().enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            match term {
                Term::Quantile {
                    name, at_most_ns, ..
                } => {
                    let time = std::time::Duration::from_nanos(*at_most_ns);
                    write!(f, "{name}={}", short_duration(time))?;
                }
                Term::Errors { at_most } => write!(f, "errors={at_most}")?,
                Term::Achieved { at_least } => write!(f, "achieved={}%", at_least * 100.0)?,
            }
        }
        Ok(())
    }
}

impl Slo {
    /// The conditions that are not met, in words.
    pub fn missed(&self, response: &Recorder, errors: u64, achieved: f64) -> Vec<String> {
        let check = |term: &Term| match term {
            Term::Quantile {
                name,
                quantile,
                at_most_ns,
            } => {
                let value = response.quantile(*quantile);
                let (have, want) = (human_ns(value), human_ns(*at_most_ns));
                (value > *at_most_ns).then(|| format!("{name} is {have}, over {want}"))
            }
            Term::Errors { at_most } => {
                (errors > *at_most).then(|| format!("{errors} errors, over {at_most}"))
            }
            Term::Achieved { at_least } => (achieved < *at_least).then(|| {
                format!(
                    "achieved {:.2}%, under {:.2}%",
                    achieved * 100.0,
                    at_least * 100.0
                )
            }),
        };
        self.terms.iter().filter_map(check).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objectives_are_read_checked_and_printed() {
        let slo: Slo = "p99=1ms,p99.9=2ms,errors=0,achieved=99%".parse().unwrap();
        assert_eq!(slo.to_string(), "p99=1ms,p99.9=2ms,errors=0,achieved=99%");
        let mut response = Recorder::new();
        response.record_n(500_000, 1000);
        assert!(slo.missed(&response, 0, 1.0).is_empty());
        response.record_n(1_500_000, 15);
        let missed = slo.missed(&response, 1, 0.5);
        assert_eq!(missed.len(), 3, "{missed:?}");
        assert!(missed[0].starts_with("p99 is 1.50ms"), "{missed:?}");
        assert_eq!(quantile_of("p999"), Some(0.999));
        assert_eq!(quantile_of("p50"), Some(0.5));
        for text in [
            "",
            "p99",
            "p100.0=1ms",
            "p=1ms",
            "latency=1ms",
            "p99=1",
            "errors=-1",
        ] {
            assert!(text.parse::<Slo>().is_err(), "{text}");
        }
    }
}
