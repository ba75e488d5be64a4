//! Reading `[view.NAME.window]`.

use std::ops::Range;

use jiff::tz::TimeZoneDatabase;

use super::{After, CalendarUnit, Window, WindowKind};
use crate::limits::{LAST_EVENTS_MAX, SESSIONS_MAX, WINDOW_PANES_MAX, WINDOWS_MAX};
use crate::pipeline::problem::Report;
use crate::pipeline::section::Section;
use crate::pipeline::stream::StreamDraft;
use crate::pipeline::{duration_text, keys, suggest};

/// Keys that only some kinds have.
const OF_KINDS: [(&str, &[&str]); 9] = [
    ("size", &["tumbling", "hopping", "cumulative"]),
    ("hop", &["hopping"]),
    ("step", &["cumulative"]),
    ("unit", &["calendar"]),
    ("zone", &["calendar"]),
    ("gap", &["session"]),
    ("count", &["last"]),
    ("late", &CLOSING),
    ("after", &CLOSING),
];

/// Kinds whose windows are closed.
const CLOSING: [&str; 5] = ["tumbling", "hopping", "cumulative", "calendar", "session"];

pub(in crate::pipeline) fn read_window(
    report: &mut Report<'_>,
    view: &Section<'_, '_>,
    name: &str,
    draft: Option<&StreamDraft>,
) -> Option<Window> {
    view.require(report, "window")?;
    let (span, table) = view.table(report, "window")?;
    let path = format!("[view.{name}.window]");
    let section = Section::open(report, path, span.clone(), table, &keys::WINDOW);
    let kind = read_kind(report, &section)?;
    refuse_foreign_keys(report, &section, kind);
    let kind = match kind {
        "hopping" => read_hopping(report, &section),
        "cumulative" => read_cumulative(report, &section),
        "calendar" => read_calendar(report, &section),
        "session" => {
            let gap_ms = read_length(report, &section, "gap");
            gap_ms.map(|gap_ms| WindowKind::Session { gap_ms })
        }
        "last" => read_count(report, &section).map(|count| WindowKind::Last { count }),
        _ => read_length(report, &section, "size").map(|size_ms| WindowKind::Tumbling { size_ms }),
    };
    let late_ms = section.duration_ms(report, "late", 0, keys::LATE_MS_DEFAULT);
    let keep_ms = section.duration_ms(report, "keep", 0, keys::KEEP_MS_DEFAULT);
    let after = read_after(report, &section, late_ms, keep_ms);
    let window = Window {
        kind: kind?,
        late_ms,
        keep_ms,
        after: after?,
    };
    // Open windows reach from the watermark back by `late` and forth to the newest event, which is
    // `disorder` ahead of it.
    let disorder_ms = draft
        .and_then(|draft| draft.time)
        .map_or(0, |time| time.disorder_ms);
    check_counts(report, &section, span, &window, disorder_ms).then_some(window)
}

fn read_kind(report: &mut Report<'_>, section: &Section<'_, '_>) -> Option<&'static str> {
    if section.value("kind").is_none() {
        return Some(keys::WINDOW_KIND);
    }
    let kind = section.text(report, "kind")?;
    let known = keys::WINDOW_KINDS.into_iter().find(|one| *one == kind.text);
    if known.is_none() {
        let message = format!("{}: unknown kind `{}`", section.path, kind.text);
        report.push(
            kind.span,
            message,
            suggest::hint(kind.text, keys::WINDOW_KINDS),
        );
    }
    known
}

/// A key of another kind would be passed over in silence.
fn refuse_foreign_keys(report: &mut Report<'_>, section: &Section<'_, '_>, kind: &str) {
    for (key, span, _) in section.entries() {
        let Some((_, kinds)) = OF_KINDS.iter().find(|(one, _)| *one == key) else {
            continue;
        };
        if !kinds.contains(&kind) {
            let kinds: Vec<String> = kinds.iter().map(|kind| format!("`{kind}`")).collect();
            report.add_hint(
                span,
                format!("{}: `{kind}` windows have no `{key}`", section.path),
                format!("it belongs to {}", kinds.join(", ")),
            );
        }
    }
}

/// A length that must be there.
fn read_length(report: &mut Report<'_>, section: &Section<'_, '_>, key: &str) -> Option<i64> {
    section.require(report, key)?;
    let ms = section.duration_ms(report, key, 1, 0);
    (ms > 0).then_some(ms)
}

fn value_span(section: &Section<'_, '_>, key: &str) -> Range<usize> {
    section
        .value(key)
        .map_or(section.span.clone(), |value| value.span())
}

fn read_hopping(report: &mut Report<'_>, section: &Section<'_, '_>) -> Option<WindowKind> {
    let size_ms = read_length(report, section, "size");
    let hop_ms = read_length(report, section, "hop");
    let (size_ms, hop_ms) = (size_ms?, hop_ms?);
    let path = &section.path;
    if hop_ms > size_ms {
        report.add_hint(
            value_span(section, "hop"),
            format!("{path}: `hop` is longer than `size`: events in between are in no window"),
            "use a `hop` of at most `size`".to_owned(),
        );
        return None;
    }
    let kind = WindowKind::Hopping { size_ms, hop_ms };
    let pane_ms = kind.pane_ms();
    let panes = size_ms / pane_ms;
    if panes > WINDOW_PANES_MAX {
        report.add_hint(
            value_span(section, "hop"),
            format!(
                "{path}: a window is merged from {panes} panes of {}; at most \
                 {WINDOW_PANES_MAX} are possible",
                duration_text(pane_ms)
            ),
            "use a longer `hop`, or one that divides `size`".to_owned(),
        );
        return None;
    }
    Some(kind)
}

fn read_cumulative(report: &mut Report<'_>, section: &Section<'_, '_>) -> Option<WindowKind> {
    let size_ms = read_length(report, section, "size");
    let step_ms = read_length(report, section, "step");
    let (size_ms, step_ms) = (size_ms?, step_ms?);
    let path = &section.path;
    if size_ms % step_ms != 0 {
        report.add_hint(
            value_span(section, "step"),
            format!("{path}: `step` does not divide `size`: the last window would be shorter"),
            "use a `size` that is a multiple of `step`".to_owned(),
        );
        return None;
    }
    let panes = size_ms / step_ms;
    if panes > WINDOW_PANES_MAX {
        report.add_hint(
            value_span(section, "step"),
            format!(
                "{path}: a window is merged from {panes} panes of {}; at most \
                 {WINDOW_PANES_MAX} are possible",
                duration_text(step_ms)
            ),
            "use a longer `step`".to_owned(),
        );
        return None;
    }
    Some(WindowKind::Cumulative { size_ms, step_ms })
}

fn read_count(report: &mut Report<'_>, section: &Section<'_, '_>) -> Option<u32> {
    section.require(report, "count")?;
    let (count, span) = section.integer(report, "count")?;
    let known = u32::try_from(count).ok();
    let known = known.filter(|count| (1..=LAST_EVENTS_MAX).contains(count));
    if known.is_none() {
        let path = &section.path;
        let message = format!("{path}: `count` is {count}; it must be 1 to {LAST_EVENTS_MAX}");
        report.add(span, message);
    }
    known
}

fn read_calendar(report: &mut Report<'_>, section: &Section<'_, '_>) -> Option<WindowKind> {
    let unit = section.required_text(report, "unit").and_then(|unit| {
        let known = CalendarUnit::ALL
            .into_iter()
            .find(|one| one.name() == unit.text);
        if known.is_none() {
            let message = format!("{}: unknown unit `{}`", section.path, unit.text);
            let names = CalendarUnit::ALL.map(CalendarUnit::name);
            report.push(unit.span, message, suggest::hint(unit.text, names));
        }
        known
    });
    let zone = match section.value("zone") {
        None => Some(keys::ZONE.to_owned()),
        Some(_) => section.text(report, "zone").and_then(|zone| {
            let database = TimeZoneDatabase::bundled();
            let known = database.get(zone.text).ok();
            if let Some(known) = known.filter(|zone| !zone.is_unknown()) {
                // Names are matched whatever their case is.
                return Some(known.iana_name().unwrap_or(keys::ZONE).to_owned());
            }
            let names: Vec<String> = database.available().map(|one| one.to_string()).collect();
            let nearest = suggest::nearest(zone.text, names.iter().map(String::as_str));
            let hint = match nearest {
                Some(nearest) => format!("did you mean `{nearest}`?"),
                None => "use a name of the IANA database, as `Europe/Berlin`".to_owned(),
            };
            let message = format!("{}: unknown zone `{}`", section.path, zone.text);
            report.add_hint(zone.span, message, hint);
            None
        }),
    };
    Some(WindowKind::Calendar {
        unit: unit?,
        zone: zone?,
    })
}

fn read_after(
    report: &mut Report<'_>,
    section: &Section<'_, '_>,
    late_ms: i64,
    keep_ms: i64,
) -> Option<After> {
    if section.value("after").is_none() {
        return Some(After::Drop);
    }
    let after = section.text(report, "after")?;
    match after.text {
        "drop" => Some(After::Drop),
        "amend" if keep_ms > late_ms => Some(After::Amend),
        "amend" => {
            report.add_hint(
                after.span,
                format!(
                    "{}: nothing can be amended, because no closed window is kept",
                    section.path
                ),
                "use a `keep` longer than `late`".to_owned(),
            );
            None
        }
        other => {
            let message = format!("{}: unknown `after` `{other}`", section.path);
            report.push(after.span, message, suggest::hint(other, keys::AFTERS));
            None
        }
    }
}

/// Whether the windows and panes that are there at one moment are few enough.
fn check_counts(
    report: &mut Report<'_>,
    section: &Section<'_, '_>,
    span: Range<usize>,
    window: &Window,
    disorder_ms: i64,
) -> bool {
    let (longest_ms, between_ms) = window.kind.lengths_ms();
    let reach_ms = window.late_ms + window.keep_ms + disorder_ms;
    let windows = reach_ms / between_ms;
    let panes = (reach_ms + longest_ms) / window.kind.pane_ms();
    let (longer, what, count, most) = match &window.kind {
        WindowKind::Hopping { .. } if panes > windows => ("hop", "panes", panes, WINDOWS_MAX),
        WindowKind::Hopping { .. } => ("hop", "windows", windows, WINDOWS_MAX),
        WindowKind::Cumulative { .. } => ("step", "windows", panes, WINDOWS_MAX),
        WindowKind::Tumbling { .. } => ("size", "windows", windows, WINDOWS_MAX),
        WindowKind::Calendar { .. } => ("unit", "windows", windows, WINDOWS_MAX),
        WindowKind::Session { .. } => ("gap", "sessions of a group", windows, SESSIONS_MAX),
        WindowKind::Last { .. } => return true,
    };
    if count <= most {
        return true;
    }
    let path = &section.path;
    report.add_hint(
        span,
        format!("{path}: {count} {what} at once; at most {most} are possible"),
        format!("shorten `keep` or lengthen `{longer}`"),
    );
    false
}
