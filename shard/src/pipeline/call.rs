//! `sum(points)`, `sum(points * weight) desc`: a function, what stands in its parentheses, and what
//! stands behind them.

use crate::schema::FieldType;

/// A call as written; nothing is resolved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Call<'t> {
    pub(super) function: &'t str,
    /// A field or an expression; empty if there is none.
    pub(super) argument: &'t str,
    /// Where the argument begins in the text.
    pub(super) argument_at: usize,
    /// What stands behind the parenthesis.
    pub(super) suffix: &'t str,
}

/// Reads `FUNCTION(ARGUMENT) SUFFIX`; `None` if it has another shape.
pub(super) fn parse_call(text: &str) -> Option<Call<'_>> {
    let open = text.find('(')?;
    let inside = &text[open + 1..];
    let close = closing(inside)?;
    let argument = inside[..close].trim_start();
    let argument_at = open + 1 + (close - argument.len());
    let call = Call {
        function: text[..open].trim(),
        argument: argument.trim_end(),
        argument_at,
        suffix: inside[close + 1..].trim(),
    };
    (!call.function.is_empty() && is_word(call.function)).then_some(call)
}

/// Whether it is at most one name or word.
pub(super) fn is_word(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// Where the parenthesis is that closes one that stands just before `text`. Those in quotes do not
/// count.
fn closing(text: &str) -> Option<usize> {
    let closes = |&(_, c, depth): &(usize, char, usize)| c == ')' && depth == 0;
    outside_quotes(text).find(closes).map(|(at, ..)| at)
}

/// Where commas stand that are in no parenthesis and in no quotes.
pub(super) fn commas(text: &str) -> Vec<usize> {
    let separates = |&(_, c, depth): &(usize, char, usize)| c == ',' && depth == 0;
    let found = outside_quotes(text).filter(separates);
    found.map(|(at, ..)| at).collect()
}

/// Characters outside of quotes, each with the number of parentheses that are open around it.
fn outside_quotes(text: &str) -> impl Iterator<Item = (usize, char, usize)> {
    let (mut depth, mut quote) = (0_usize, None);
    text.char_indices().filter_map(move |(at, c)| {
        match (c, quote) {
            (c, Some(open)) if c == open => quote = None,
            (_, Some(_)) => {}
            ('\'' | '"', None) => quote = Some(c),
            ('(', None) => depth += 1,
            (')', None) => {
                let around = depth;
                depth = depth.saturating_sub(1);
                return Some((at, c, around));
            }
            _ => return Some((at, c, depth)),
        }
        None
    })
}

/// Whether the type can be added up.
pub(super) fn is_number(kind: FieldType) -> bool {
    matches!(kind, FieldType::U64 | FieldType::I64 | FieldType::F64)
}

/// Whether the type has an order that aggregates and scores use.
pub(super) fn is_ordered(kind: FieldType) -> bool {
    is_number(kind) || kind == FieldType::Time
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes() {
        let call = |function, argument, argument_at, suffix| {
            Some(Call {
                function,
                argument,
                argument_at,
                suffix,
            })
        };
        assert_eq!(parse_call("count()"), call("count", "", 6, ""));
        assert_eq!(
            parse_call(" sum( points )  desc "),
            call("sum", "points", 6, "desc")
        );
        assert_eq!(
            parse_call("sum((a + 1) * 2) asc"),
            call("sum", "(a + 1) * 2", 4, "asc")
        );
        let quoted = "max(case when a = ')''(' then 1 end)";
        let argument = "case when a = ')''(' then 1 end";
        assert_eq!(parse_call(quoted), call("max", argument, 4, ""));
        for text in [
            "",
            "sum",
            "sum(points",
            "sum('points)",
            "sum points)",
            "(points)",
        ] {
            assert_eq!(parse_call(text), None, "{text}");
        }
        assert_eq!(commas("a, f(b, c), ',', d"), [1, 10, 15]);
    }
}
