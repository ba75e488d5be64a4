//! Reading the columns of a board beside its scores: what it is split by, and what it shows of the
//! latest event.

use crate::limits::{
    SPLIT_BYTES_MAX, SPLIT_FIELDS_MAX, SPLITS_MAX, WITH_BYTES_MAX, WITH_FIELDS_MAX,
};
use crate::pipeline::keys;
use crate::pipeline::problem::Report;
use crate::pipeline::section::{Section, Text};
use crate::pipeline::stream::StreamDraft;

/// A list of columns as it is limited.
struct Limits {
    key: &'static str,
    fields: usize,
    bytes: usize,
}

const SPLIT: Limits = Limits {
    key: "split",
    fields: SPLIT_FIELDS_MAX,
    bytes: SPLIT_BYTES_MAX,
};
const WITH: Limits = Limits {
    key: "with",
    fields: WITH_FIELDS_MAX,
    bytes: WITH_BYTES_MAX,
};

/// The columns of `split`, none if it is absent.
pub(super) fn read_split(
    report: &mut Report<'_>,
    section: &Section<'_, '_>,
    draft: Option<&StreamDraft>,
) -> Option<Vec<usize>> {
    let columns = read_list(report, section, draft, &SPLIT, |report, draft, text| {
        let Text { text: name, span } = text.clone();
        let column = draft.resolve_identity(report, &section.path, "a split", text)?;
        if keys::BOARD_PARAMETERS.contains(&name) {
            let path = &section.path;
            report.add_hint(
                span,
                format!(
                    "{path}: a split is asked for by its name, and `{name}` means another thing"
                ),
                "split by a computed column of another name".to_owned(),
            );
            return None;
        }
        Some(column)
    });
    if section.value("split").is_none()
        && let Some(value) = section.value("splits")
    {
        let path = &section.path;
        report.add(
            value.span(),
            format!("`splits` in {path} belongs to `split`"),
        );
    }
    columns
}

/// How many splits there may be.
pub(super) fn read_splits(report: &mut Report<'_>, section: &Section<'_, '_>) -> Option<u32> {
    if section.value("splits").is_none() {
        return Some(keys::SPLITS_DEFAULT);
    }
    let (splits, span) = section.integer(report, "splits")?;
    let fits = u32::try_from(splits).ok();
    let fits = fits.filter(|splits| (1..=SPLITS_MAX).contains(splits));
    if fits.is_none() {
        let path = &section.path;
        let message = format!("{path}: `splits` is a number of splits from 1 to {SPLITS_MAX}");
        report.add(span, message);
    }
    fits
}

/// The columns of `with`, none if it is absent.
pub(super) fn read_with(
    report: &mut Report<'_>,
    section: &Section<'_, '_>,
    draft: Option<&StreamDraft>,
) -> Option<Vec<usize>> {
    read_list(report, section, draft, &WITH, |report, draft, text| {
        let resolved = draft.resolve(report, &section.path, text.text, text.span)?;
        Some(resolved.index)
    })
}

fn read_list(
    report: &mut Report<'_>,
    section: &Section<'_, '_>,
    draft: Option<&StreamDraft>,
    limits: &Limits,
    resolve: impl Fn(&mut Report<'_>, &StreamDraft, Text<'_>) -> Option<usize>,
) -> Option<Vec<usize>> {
    let key = limits.key;
    let Some(value) = section.value(key) else {
        return Some(Vec::new());
    };
    let texts = section.texts(report, key)?;
    let (path, count) = (&section.path, texts.len());
    let mut columns = Vec::new();
    for (position, text) in texts.iter().enumerate() {
        if texts[..position].iter().any(|one| one.text == text.text) {
            let message = format!("{path}: `{key}` names `{}` twice", text.text);
            report.add(text.span.clone(), message);
        }
        columns.extend(resolve(report, draft?, text.clone()));
    }
    if count > limits.fields {
        let most = limits.fields;
        let message = format!("{path}: `{key}` has {count} fields; at most {most} are possible");
        report.add(value.span(), message);
    }
    let kinds = columns.iter().filter_map(|&column| draft?.kind(column));
    let bytes: usize = kinds.map(|kind| kind.cell_bytes()).sum();
    if bytes > limits.bytes {
        let most = limits.bytes;
        let message = format!("{path}: `{key}` takes {bytes} bytes; at most {most} are possible");
        report.add_hint(
            value.span(),
            message,
            "name fewer or shorter fields".to_owned(),
        );
    }
    (columns.len() == count).then_some(columns)
}
