//! One column of a view: `sum(points)`, `quantile(delay, 0.99) within 1%`.

use std::ops::RangeInclusive;

use crate::limits::{DISTINCT_WITHIN_PPM_MIN, TOP_VALUES_MAX, WITHIN_PPM};
use crate::pipeline::call::{self, is_number, is_ordered};
use crate::pipeline::computed::read_argument;
use crate::pipeline::decimal::{parse_percent, parse_share, percent_text};
use crate::pipeline::problem::Report;
use crate::pipeline::section::{Section, Text};
use crate::pipeline::stream::StreamDraft;
use crate::pipeline::{Aggregate, suggest};

const AGGREGATES: [&str; 10] = [
    "count", "sum", "min", "max", "avg", "first", "last", "distinct", "quantile", "top",
];

/// A column as written: `FUNCTION(FIELD, ARGUMENT) within WITHIN`.
struct Call<'t> {
    function: &'t str,
    /// The field or expression, as the argument of a call; empty if there is none.
    read: call::Call<'t>,
    argument: Option<&'t str>,
    within: Option<&'t str>,
}

/// `None` if it has another shape.
fn parse_call(text: &str) -> Option<Call<'_>> {
    let mut read = call::parse_call(text)?;
    let within = match read.suffix {
        "" => None,
        suffix => Some(suffix.strip_prefix("within")?.trim()),
    };
    let mut argument = None;
    match call::commas(read.argument)[..] {
        [] => {}
        [comma] => {
            argument = Some(read.argument[comma + 1..].trim());
            read.argument = read.argument[..comma].trim_end();
        }
        _ => return None,
    }
    Some(Call {
        function: read.function,
        read,
        argument,
        within,
    })
}

/// Where a column stands, for its problems.
struct Place<'r, 'f, 't> {
    report: &'r mut Report<'f>,
    path: &'r str,
    written: Text<'t>,
}

impl Place<'_, '_, '_> {
    fn refuse<T>(&mut self, message: &str, hint: Option<String>) -> Option<T> {
        let message = format!("{}: {message}", self.path);
        self.report.push(self.written.span.clone(), message, hint);
        None
    }
}

pub(super) fn read_aggregate(
    report: &mut Report<'_>,
    section: &Section<'_, '_>,
    draft: Option<&mut StreamDraft>,
    written: Text<'_>,
) -> Option<Aggregate> {
    let text = written.text;
    let mut place = Place {
        report,
        path: &section.path,
        written,
    };
    let Some(call) = parse_call(text) else {
        let hint = "write for example `sum(points)` or `count()`".to_owned();
        return place.refuse(&format!("`{text}` is no aggregate"), Some(hint));
    };
    let function = call.function;
    if !AGGREGATES.contains(&function) {
        let hint = suggest::hint(function, AGGREGATES);
        return place.refuse(&format!("unknown aggregate `{function}`"), hint);
    }
    if function == "count" {
        return read_count(&mut place, &call);
    }
    if call.read.argument.is_empty() {
        return place.refuse(&format!("{function}() needs a field"), None);
    }
    let field = read_field(&mut place, draft?, &call)?;
    match function {
        "quantile" => {
            let q_ppm = read_share(&mut place, &call)?;
            let within_ppm = read_within(&mut place, &call, WITHIN_PPM)?;
            Some(Aggregate::Quantile {
                field,
                q_ppm,
                within_ppm,
            })
        }
        "top" => {
            let k = read_number(&mut place, &call)?;
            refuse_within(&mut place, &call)?;
            Some(Aggregate::Top { field, k })
        }
        _ if call.argument.is_some() => place.refuse(
            &format!("{function}() takes a field and nothing else"),
            None,
        ),
        "distinct" => {
            let range = DISTINCT_WITHIN_PPM_MIN..=*WITHIN_PPM.end();
            let within_ppm = read_within(&mut place, &call, range)?;
            Some(Aggregate::Distinct { field, within_ppm })
        }
        _ => {
            refuse_within(&mut place, &call)?;
            Some(match function {
                "sum" => Aggregate::Sum(field),
                "min" => Aggregate::Min(field),
                "max" => Aggregate::Max(field),
                "avg" => Aggregate::Avg(field),
                "first" => Aggregate::First(field),
                _ => Aggregate::Last(field),
            })
        }
    }
}

fn read_count(place: &mut Place<'_, '_, '_>, call: &Call<'_>) -> Option<Aggregate> {
    if !call.read.argument.is_empty() || call.argument.is_some() {
        return place.refuse("count() takes no field", None);
    }
    refuse_within(place, call)?;
    Some(Aggregate::Count)
}

/// The column of the field or expression, if the function takes its type.
fn read_field(
    place: &mut Place<'_, '_, '_>,
    draft: &mut StreamDraft,
    call: &Call<'_>,
) -> Option<usize> {
    let Place {
        report,
        path,
        written,
    } = place;
    let argument = read_argument(report, path, draft, written, &call.read)?;
    let (fits, wanted): (fn(_) -> bool, _) = match call.function {
        "min" | "max" => (is_ordered, "u64, i64, f64 or time"),
        "sum" | "avg" | "quantile" => (is_number, "u64, i64 or f64"),
        _ => (|_| true, ""),
    };
    match argument.kind {
        Some(kind) if !fits(kind) => {
            let message = format!("{} is {kind}", argument.shown);
            place.refuse(&message, Some(format!("{} takes {wanted}", call.function)))
        }
        _ => Some(argument.column),
    }
}

fn read_share(place: &mut Place<'_, '_, '_>, call: &Call<'_>) -> Option<u32> {
    let Some(text) = call.argument else {
        let message = format!("quantile({}) does not say which one", call.read.argument);
        let hint = format!(
            "write for example `quantile({}, 0.99) within 1%`",
            call.read.argument
        );
        return place.refuse(&message, Some(hint));
    };
    parse_share(text).or_else(|| {
        let hint = "use a number from 0 to 1 with at most 6 decimals, for example 0.99";
        place.refuse(&format!("`{text}` is no quantile"), Some(hint.to_owned()))
    })
}

fn read_number(place: &mut Place<'_, '_, '_>, call: &Call<'_>) -> Option<u16> {
    let Some(text) = call.argument else {
        let message = format!("top({}) does not say how many", call.read.argument);
        let hint = format!("write for example `top({}, 10)`", call.read.argument);
        return place.refuse(&message, Some(hint));
    };
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    let number = text
        .parse()
        .ok()
        .filter(|k| digits && (1..=TOP_VALUES_MAX).contains(k));
    number.or_else(|| {
        let hint = format!("use a whole number from 1 to {TOP_VALUES_MAX}");
        place.refuse(&format!("`{text}` is no number of values"), Some(hint))
    })
}

fn read_within(
    place: &mut Place<'_, '_, '_>,
    call: &Call<'_>,
    range: RangeInclusive<u32>,
) -> Option<u32> {
    let function = call.function;
    let Some(text) = call.within else {
        let message = format!("{function}() does not say how exact it is to be");
        let hint = "add for example `within 1%`".to_owned();
        return place.refuse(&message, Some(hint));
    };
    let within_ppm = parse_percent(text).filter(|ppm| range.contains(ppm));
    within_ppm.or_else(|| {
        let message = format!("`within {text}` is no error that {function}() can have");
        let (least, most) = (percent_text(*range.start()), percent_text(*range.end()));
        place.refuse(&message, Some(format!("use {least} to {most}")))
    })
}

fn refuse_within(place: &mut Place<'_, '_, '_>, call: &Call<'_>) -> Option<()> {
    if call.within.is_none() {
        return Some(());
    }
    let message = match call.function {
        "top" => "top() states its own errors and takes no `within`".to_owned(),
        exact => format!("{exact}() is exact and takes no `within`"),
    };
    place.refuse(&message, None)
}
