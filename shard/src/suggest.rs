//! The name that was probably meant.

/// The candidate nearest to `name`, if it is near enough to be a slip.
pub(crate) fn nearest<'c>(
    name: &str,
    candidates: impl IntoIterator<Item = &'c str>,
) -> Option<&'c str> {
    let lower = name.to_ascii_lowercase();
    let distance = |candidate: &str| strsim::damerau_levenshtein(&lower, candidate);
    candidates
        .into_iter()
        .map(|candidate| (distance(&candidate.to_ascii_lowercase()), candidate))
        .filter(|(distance, candidate)| {
            let length = name.chars().count().max(candidate.chars().count());
            *distance <= (length / 3).max(1) && *distance < length
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// The hint for an unknown name: the nearest candidate, else all of them.
pub(crate) fn hint<'c>(
    name: &str,
    candidates: impl IntoIterator<Item = &'c str> + Clone,
) -> Option<String> {
    if let Some(nearest) = nearest(name, candidates.clone()) {
        return Some(format!("did you mean `{nearest}`?"));
    }
    let all: Vec<String> = candidates
        .into_iter()
        .map(|candidate| format!("`{candidate}`"))
        .collect();
    match all.as_slice() {
        [] => None,
        [one] => Some(format!("the only one is {one}")),
        many => Some(format!("known: {}", many.join(", "))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_found_and_strangers_are_not() {
        let keys = ["field", "disorder", "max_future", "idle"];
        for (slip, meant) in [
            ("disordr", "disorder"),
            ("max_futrue", "max_future"),
            ("Idle", "idle"),
            ("max-future", "max_future"),
            ("filed", "field"),
        ] {
            assert_eq!(nearest(slip, keys), Some(meant));
        }
        for stranger in ["x", "watermark", "retract", ""] {
            assert_eq!(nearest(stranger, keys), None, "{stranger}");
        }
        assert_eq!(nearest("a", ["b"]), None);
    }
}
