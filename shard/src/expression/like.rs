//! `like`: patterns in time linear in the text.
//!
//! The pattern is a small machine whose states are the bits of one word: bit `i` is set while the
//! text so far may be the first `i` characters of the pattern. A character moves every bit on at
//! once; `%` lets a bit also stay where it is.

use crate::limits::LIKE_CHARACTERS_MAX;

/// A compiled pattern: `_` is any one character, `%` any number of them, all else is itself.
#[derive(Clone, Debug)]
pub(super) struct LikePattern {
    /// The characters of the pattern at which each ASCII character may stand.
    ascii: Box<[u64; 128]>,
    /// The same for the other characters of the pattern, sorted.
    others: Box<[(char, u64)]>,
    /// The same for every further character: the places of `_`.
    any: u64,
    /// States that a `%` lets stay.
    stays: u64,
    /// The state of a full match.
    accepts: u64,
}

impl LikePattern {
    /// Compiles a pattern; `None` if it has too many characters.
    pub(super) fn new(pattern: &str) -> Option<Self> {
        let characters = pattern.chars().filter(|&c| c != '%').count();
        if characters > LIKE_CHARACTERS_MAX {
            return None;
        }
        let (mut ascii, mut any, mut stays) = (Box::new([0u64; 128]), 0u64, 0u64);
        let mut others: Vec<(char, u64)> = Vec::new();
        let mut bit = 1u64;
        for c in pattern.chars() {
            match c {
                '%' => {
                    stays |= bit;
                    continue;
                }
                '_' => any |= bit,
                c if c.is_ascii() => ascii[c as usize] |= bit,
                c => match others.iter_mut().find(|(other, _)| *other == c) {
                    Some((_, bits)) => *bits |= bit,
                    None => others.push((c, bit)),
                },
            }
            bit <<= 1;
        }
        ascii.iter_mut().for_each(|bits| *bits |= any);
        others.iter_mut().for_each(|(_, bits)| *bits |= any);
        others.sort_unstable();
        Some(Self {
            ascii,
            others: others.into_boxed_slice(),
            any,
            stays,
            accepts: bit,
        })
    }

    /// Whether the pattern describes all of `text`, which should be UTF-8.
    pub(super) fn fits(&self, text: &[u8]) -> bool {
        let mut states = 1;
        if text.is_ascii() {
            for &byte in text {
                states = self.step(states, self.ascii[usize::from(byte)]);
            }
        } else {
            for c in text.utf8_chunks().flat_map(|chunk| chunk.valid().chars()) {
                states = self.step(states, self.places(c));
            }
        }
        states & self.accepts != 0
    }

    #[inline]
    fn step(&self, states: u64, places: u64) -> u64 {
        (states & places) << 1 | states & self.stays
    }

    fn places(&self, c: char) -> u64 {
        if let Some(places) = self.ascii.get(c as usize) {
            return *places;
        }
        let found = self.others.binary_search_by_key(&c, |(other, _)| *other);
        found.map_or(self.any, |index| self.others[index].1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fits(pattern: &str, text: &str) -> bool {
        LikePattern::new(pattern).unwrap().fits(text.as_bytes())
    }

    /// The definition, by all ways to split.
    fn defined(pattern: &[char], text: &[char]) -> bool {
        match pattern.split_first() {
            None => text.is_empty(),
            Some(('%', rest)) => (0..=text.len()).any(|taken| defined(rest, &text[taken..])),
            Some((c, rest)) => text
                .split_first()
                .is_some_and(|(head, tail)| (*c == '_' || c == head) && defined(rest, tail)),
        }
    }

    #[test]
    fn every_short_pattern_and_text_agree_with_the_definition() {
        let words = |letters: [char; 4]| {
            let mut all = vec![Vec::new()];
            let mut last: Vec<Vec<char>> = vec![Vec::new()];
            for _ in 0..4 {
                let longer = |word: &Vec<char>| {
                    let word = word.clone();
                    letters.map(|c| [&word[..], &[c]].concat())
                };
                last = last.iter().flat_map(longer).collect();
                all.extend(last.iter().cloned());
            }
            all
        };
        for pattern in words(['a', '\u{e9}', '_', '%']) {
            let text_of_pattern: String = pattern.iter().collect();
            let compiled = LikePattern::new(&text_of_pattern).unwrap();
            for text in words(['a', '\u{e9}', 'b', '\u{1f600}']) {
                let bytes: String = text.iter().collect();
                assert_eq!(
                    compiled.fits(bytes.as_bytes()),
                    defined(&pattern, &text),
                    "{text_of_pattern:?} {bytes:?}"
                );
            }
        }
    }

    #[test]
    fn the_longest_pattern_has_63_characters() {
        let longest = format!("%{}%", "a".repeat(LIKE_CHARACTERS_MAX));
        assert!(fits(&longest, &"a".repeat(255)));
        assert!(!fits(&longest, &"a".repeat(LIKE_CHARACTERS_MAX - 1)));
        assert!(LikePattern::new(&"_".repeat(LIKE_CHARACTERS_MAX + 1)).is_none());
    }

    #[test]
    fn bytes_that_are_no_utf8_do_no_harm() {
        let pattern = LikePattern::new("%a_").unwrap();
        assert!(!pattern.fits(&[0xff, b'a', 0xc3]));
        assert!(pattern.fits(&[0xff, b'a', 0xc3, b'b']));
    }
}
