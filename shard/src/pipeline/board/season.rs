//! Reading `season` of a board.

use jiff::tz::TimeZoneDatabase;

use super::Season;
use crate::limits::SEASONS_MAX;
use crate::pipeline::problem::Report;
use crate::pipeline::section::{Section, Text};
use crate::pipeline::stream::StreamDraft;
use crate::pipeline::{CalendarUnit, QuantityError, WindowKind, keys, parse_duration_ms, suggest};
use crate::season::at_once;

/// The season of a board, if it has one; `None` if that is faulty.
pub(super) fn read_season(
    report: &mut Report<'_>,
    board: &Section<'_, '_>,
    draft: Option<&StreamDraft>,
) -> Option<Option<Season>> {
    if board.value("season").is_none() {
        return Some(None);
    }
    let (span, table) = board.table(report, "season")?;
    let path = board.path.replace(']', ".season]");
    let section = Section::open(report, path, span.clone(), table, &keys::SEASON);
    let every = read_every(report, &section);
    let grace_ms = section.duration_ms(report, "grace", 0, keys::GRACE_MS_DEFAULT);
    let keep = read_keep(report, &section);
    let season = Season {
        every: every?,
        grace_ms,
        keep: keep?,
    };
    let time = draft.and_then(|draft| draft.time);
    let ahead_ms = time.map_or(0, |time| time.disorder_ms + time.max_future_ms);
    let count = at_once(&season, ahead_ms);
    if count > SEASONS_MAX {
        let path = &section.path;
        report.add_hint(
            span,
            format!("{path}: {count} seasons at once; at most {SEASONS_MAX} are possible"),
            "lengthen `every`, or shorten `keep` or `grace`".to_owned(),
        );
        return None;
    }
    Some(Some(season))
}

/// A unit of the calendar or a duration; a duration in a zone is the unit of that length.
fn read_every(report: &mut Report<'_>, section: &Section<'_, '_>) -> Option<WindowKind> {
    let zone = read_zone(report, section);
    let Text { text, span } = section.required_text(report, "every")?;
    let units = CalendarUnit::ALL.map(CalendarUnit::name);
    let named = CalendarUnit::ALL
        .into_iter()
        .find(|unit| unit.name() == text);
    if let Some(unit) = named {
        let zone = zone?.unwrap_or_else(|| keys::ZONE.to_owned());
        return Some(WindowKind::Calendar { unit, zone });
    }
    let path = &section.path;
    let size_ms = match parse_duration_ms(text) {
        Ok(size_ms) if size_ms > 0 => size_ms,
        Err(QuantityError::TooLarge) => {
            report.add(span, format!("{path}: `{text}` is too long for a season"));
            return None;
        }
        _ => {
            report.add_hint(
                span,
                format!("{path}: `{text}` is no length of a season"),
                format!(
                    "write a duration such as `1d`, or one of {}",
                    units.join(", ")
                ),
            );
            return None;
        }
    };
    let Some(zone) = zone? else {
        return Some(WindowKind::Tumbling { size_ms });
    };
    let of_length = match size_ms {
        3_600_000 => Some(CalendarUnit::Hour),
        86_400_000 => Some(CalendarUnit::Day),
        604_800_000 => Some(CalendarUnit::Week),
        _ => None,
    };
    if of_length.is_none() {
        report.add_hint(
            span,
            format!("{path}: the calendar of a zone has no unit of `{text}`"),
            format!("use one of {}, or no `zone`", units.join(", ")),
        );
    }
    of_length.map(|unit| WindowKind::Calendar { unit, zone })
}

/// The zone, if there is one; `None` if it is faulty.
fn read_zone(report: &mut Report<'_>, section: &Section<'_, '_>) -> Option<Option<String>> {
    if section.value("zone").is_none() {
        return Some(None);
    }
    let Text { text, span } = section.text(report, "zone")?;
    let database = TimeZoneDatabase::bundled();
    if let Ok(found) = database.get(text) {
        // Names are matched whatever their case is.
        return Some(Some(found.iana_name().unwrap_or(keys::ZONE).to_owned()));
    }
    let names: Vec<String> = database.available().map(|one| one.to_string()).collect();
    let nearest = suggest::nearest(text, names.iter().map(String::as_str));
    let hint = match nearest {
        Some(nearest) => format!("did you mean `{nearest}`?"),
        None => "use a name of the IANA database, as `Europe/Berlin`".to_owned(),
    };
    report.add_hint(
        span,
        format!("{}: unknown zone `{text}`", section.path),
        hint,
    );
    None
}

fn read_keep(report: &mut Report<'_>, section: &Section<'_, '_>) -> Option<u32> {
    if section.value("keep").is_none() {
        return Some(keys::SEASONS_KEPT_DEFAULT);
    }
    let (keep, span) = section.integer(report, "keep")?;
    let fits = u32::try_from(keep)
        .ok()
        .filter(|keep| i64::from(*keep) < SEASONS_MAX);
    if fits.is_none() {
        let path = &section.path;
        report.add(
            span,
            format!(
                "{path}: `keep` is a number of seasons from 0 to {}",
                SEASONS_MAX - 1
            ),
        );
    }
    fits
}
