//! Which key an event belongs to.
//!
//! A draw is a pure function of the event's random bits and its sequence, so that a verifier can
//! repeat it. Keys are numbered from 0.

mod alias;

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::rng::{below, mix};
use alias::AliasTable;

/// Most keys of a skewed distribution: its table takes 8 bytes per key.
pub const SKEWED_KEYS_MAX: u64 = 1 << 28;
/// Seed of the fixed shuffle that spreads hot ranks over the key space, and so over the shards.
const SHUFFLE_SEED: u64 = 0x7368_7566_666c_6531;

/// The distribution of keys as stated on the command line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum KeyDist {
    /// Every key alike.
    Uniform,
    /// The key of rank r is drawn with weight r^-s.
    Zipf(f64),
    /// A share `set` of the keys gets a share `draws` of the events.
    Hotspot {
        /// Share of the keys that are hot.
        set: f64,
        /// Share of the events that go to them.
        draws: f64,
    },
    /// The newest key most often: zipf over the distance to a head that moves with the sequence.
    Latest,
    /// One after the other.
    Sequential,
}

/// Skew of `latest`, and of `zipf` without a number.
const DEFAULT_SKEW: f64 = 0.99;

impl FromStr for KeyDist {
    type Err = String;

    fn from_str(text: &str) -> Result<KeyDist, String> {
        let mut parts = text.split(':');
        let name = parts.next().unwrap_or_default();
        let numbers: Vec<f64> = parts
            .map(|part| {
                part.parse::<f64>()
                    .map_err(|_| format!("`{part}` is no number"))
            })
            .collect::<Result<_, _>>()?;
        let share = |v: f64| v > 0.0 && v < 1.0;
        match (name, numbers.as_slice()) {
            ("uniform", []) => Ok(KeyDist::Uniform),
            ("zipf", []) => Ok(KeyDist::Zipf(DEFAULT_SKEW)),
            ("zipf", [s]) if *s > 0.0 && *s <= 10.0 => Ok(KeyDist::Zipf(*s)),
            ("hotspot", []) => Ok(KeyDist::Hotspot {
                set: 0.2,
                draws: 0.8,
            }),
            ("hotspot", [set, draws]) if share(*set) && share(*draws) => Ok(KeyDist::Hotspot {
                set: *set,
                draws: *draws,
            }),
            ("latest", []) => Ok(KeyDist::Latest),
            ("sequential", []) => Ok(KeyDist::Sequential),
            _ => Err(format!(
                "unknown key distribution `{text}`; use uniform, zipf:0.99, hotspot, \
                 hotspot:0.2:0.8 (share of keys, share of events), latest or sequential"
            )),
        }
    }
}

impl fmt::Display for KeyDist {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeyDist::Uniform => f.write_str("uniform"),
            KeyDist::Zipf(s) => write!(f, "zipf:{s}"),
            KeyDist::Hotspot { set, draws } => write!(f, "hotspot:{set}:{draws}"),
            KeyDist::Latest => f.write_str("latest"),
            KeyDist::Sequential => f.write_str("sequential"),
        }
    }
}

/// A prepared distribution over `0..keys`. Clones share their table.
#[derive(Clone, Debug)]
pub struct Keys {
    keys: u64,
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    Uniform,
    Table(Arc<AliasTable>),
    Hotspot { hot: u64, draws_of_64_bits: u64 },
    Latest(Arc<AliasTable>),
    Sequential,
}

impl Keys {
    /// Prepares `dist` over `keys` keys (at least 1).
    pub fn new(dist: KeyDist, keys: u64) -> Result<Keys, String> {
        if keys == 0 {
            return Err("there must be at least 1 key".to_owned());
        }
        let skewed = matches!(dist, KeyDist::Zipf(_) | KeyDist::Latest);
        if skewed && keys > SKEWED_KEYS_MAX {
            return Err(format!(
                "{dist} takes at most {SKEWED_KEYS_MAX} keys, not {keys}"
            ));
        }
        let kind = match dist {
            KeyDist::Uniform => Kind::Uniform,
            KeyDist::Sequential => Kind::Sequential,
            KeyDist::Zipf(s) => Kind::Table(Arc::new(AliasTable::new(&shuffled_zipf(s, keys)))),
            KeyDist::Latest => {
                Kind::Latest(Arc::new(AliasTable::new(&zipf_weights(DEFAULT_SKEW, keys))))
            }
            KeyDist::Hotspot { set, draws } => Kind::Hotspot {
                hot: ((keys as f64 * set).ceil() as u64).clamp(1, keys),
                draws_of_64_bits: (draws * u64::MAX as f64) as u64,
            },
        };
        Ok(Keys { keys, kind })
    }

    /// The key of the event with this sequence and these 64 random bits.
    #[inline]
    pub fn pick(&self, sequence: u64, bits: u64) -> u64 {
        match &self.kind {
            Kind::Uniform => below(bits, self.keys),
            Kind::Table(table) => table.pick(bits),
            Kind::Sequential => sequence % self.keys,
            Kind::Latest(table) => {
                let head = sequence % self.keys;
                let back = table.pick(bits);
                if back <= head {
                    head - back
                } else {
                    head + self.keys - back
                }
            }
            Kind::Hotspot {
                hot,
                draws_of_64_bits,
            } => {
                let other = mix(bits);
                if bits < *draws_of_64_bits || *hot == self.keys {
                    below(other, *hot)
                } else {
                    hot + below(other, self.keys - hot)
                }
            }
        }
    }

    /// How many keys there are.
    pub fn len(&self) -> u64 {
        self.keys
    }

    /// Never: there is at least one key.
    pub fn is_empty(&self) -> bool {
        false
    }
}

fn zipf_weights(s: f64, keys: u64) -> Vec<f64> {
    (1..=keys).map(|rank| (rank as f64).powf(-s)).collect()
}

/// Zipf weights in key order: ranks are dealt to keys by a fixed shuffle.
fn shuffled_zipf(s: f64, keys: u64) -> Vec<f64> {
    let mut weights = zipf_weights(s, keys);
    let mut rng = crate::rng::SplitMix64::new(SHUFFLE_SEED);
    for last in (1..weights.len()).rev() {
        let other = below(rng.next_bits(), last as u64 + 1) as usize;
        weights.swap(last, other);
    }
    weights
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::{derive, draw};

    fn shares(dist: KeyDist, keys: u64, draws: u64) -> Vec<f64> {
        let keys_of = Keys::new(dist, keys).unwrap();
        let seed = derive(42, 0);
        let mut counts = vec![0u64; keys as usize];
        for sequence in 1..=draws {
            counts[keys_of.pick(sequence, draw(seed, sequence, 0)) as usize] += 1;
        }
        counts
            .into_iter()
            .map(|count| count as f64 / draws as f64)
            .collect()
    }

    #[test]
    fn zipf_shares_match_theory() {
        let mut got = shares(KeyDist::Zipf(0.99), 1000, 400_000);
        got.sort_by(|a, b| b.total_cmp(a));
        let total: f64 = zipf_weights(0.99, 1000).iter().sum();
        for rank in [1usize, 2, 3, 10, 50] {
            let want = (rank as f64).powf(-0.99) / total;
            let have = got[rank - 1];
            assert!(
                (have - want).abs() < want * 0.06 + 2e-4,
                "rank {rank}: {have} for {want}"
            );
        }
    }

    #[test]
    fn hotspot_shares_match_theory() {
        let got = shares(
            KeyDist::Hotspot {
                set: 0.01,
                draws: 0.9,
            },
            1000,
            200_000,
        );
        let hot: f64 = got[..10].iter().sum();
        assert!((hot - 0.9).abs() < 0.01, "{hot}");
        assert!(got[10..].iter().all(|share| *share < 0.001));
    }

    #[test]
    fn uniform_sequential_and_latest_cover_the_key_space() {
        for dist in [KeyDist::Uniform, KeyDist::Sequential] {
            let got = shares(dist, 100, 100_000);
            assert!(
                got.iter().all(|share| (share - 0.01).abs() < 0.0015),
                "{dist}"
            );
        }
        let keys = Keys::new(KeyDist::Latest, 50).unwrap();
        let near = (0..1000u64)
            .filter(|&n| {
                let key = keys.pick(n, draw(1, n, 0));
                assert!(key < 50);
                (n % 50 + 50 - key) % 50 < 5
            })
            .count();
        assert!(near > 400, "{near}");
    }

    #[test]
    fn distributions_read_back_what_they_print() {
        for text in [
            "uniform",
            "zipf:0.99",
            "hotspot:0.2:0.8",
            "latest",
            "sequential",
        ] {
            assert_eq!(text.parse::<KeyDist>().unwrap().to_string(), text);
        }
        for text in [
            "zipf:0",
            "zipf:x",
            "hotspot:2:1",
            "normal",
            "uniform:1",
            "zipf:nan",
        ] {
            assert!(text.parse::<KeyDist>().is_err(), "{text}");
        }
        assert!(Keys::new(KeyDist::Uniform, 0).is_err());
    }
}
