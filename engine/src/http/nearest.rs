//! The known name that a mistyped one was probably meant to be.

/// The nearest of `known`, if it is near enough to be worth naming: at most a third of the longer
/// name has to change.
pub(crate) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let name: Vec<char> = name.chars().take(NAME_CHARS_MAX).collect();
    let near_enough = |known: &&str, edits: usize| edits * 3 <= name.len().max(known.len()).max(3);
    known
        .map(|known| (edits(&name, known), known))
        .filter(|(edits, known)| near_enough(known, *edits))
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, known)| known)
}

/// Names are shorter; a longer one is compared by its beginning only.
const NAME_CHARS_MAX: usize = 96;

/// Insertions, deletions, substitutions and swaps of neighbours that make `b` of `a`.
fn edits(a: &[char], b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for (i, &from) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, &to) in b.iter().enumerate() {
            let substituted = above[j] + usize::from(from != to);
            let mut best = substituted.min(above[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && from == b[j - 1] && a[i - 1] == to {
                best = best.min(before[j - 1] + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut above, row);
    }
    above[b.len()]
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn near_names_are_found_and_far_ones_are_not() {
        let known = ["finds", "players", "per_minute"];
        let near = |name| nearest(name, known.into_iter());
        assert_eq!(near("find"), Some("finds"));
        assert_eq!(near("fidns"), Some("finds"));
        assert_eq!(near("playres"), Some("players"));
        assert_eq!(near("per_minutes"), Some("per_minute"));
        assert_eq!(near("flights"), None);
        assert_eq!(near(""), None);
        assert_eq!(near(&"x".repeat(100_000)), None);
        assert_eq!(nearest("a", [].into_iter()), None);
    }
}
