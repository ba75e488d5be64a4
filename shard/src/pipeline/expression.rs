//! `sum(points)` and `sum(points) desc`.

use crate::schema::FieldType;

/// A call as written; nothing is resolved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Call<'t> {
    pub(super) function: &'t str,
    /// Empty if there is none.
    pub(super) field: &'t str,
    /// What stands behind the parenthesis.
    pub(super) suffix: &'t str,
}

/// Reads `FUNCTION(FIELD) SUFFIX`; `None` if it has another shape.
pub(super) fn parse_call(text: &str) -> Option<Call<'_>> {
    let (function, rest) = text.split_once('(')?;
    let (field, suffix) = rest.split_once(')')?;
    let call = Call {
        function: function.trim(),
        field: field.trim(),
        suffix: suffix.trim(),
    };
    let is_word = |word: &str| word.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    let fits = !call.function.is_empty()
        && [call.function, call.field, call.suffix]
            .into_iter()
            .all(is_word);
    fits.then_some(call)
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
        let call = |function, field, suffix| {
            Some(Call {
                function,
                field,
                suffix,
            })
        };
        assert_eq!(parse_call("count()"), call("count", "", ""));
        assert_eq!(
            parse_call(" sum( points )  desc "),
            call("sum", "points", "desc")
        );
        for text in [
            "",
            "sum",
            "sum(points",
            "sum points)",
            "(points)",
            "sum(a+b)",
            "sum(a)(b)",
        ] {
            assert_eq!(parse_call(text), None, "{text}");
        }
    }
}
