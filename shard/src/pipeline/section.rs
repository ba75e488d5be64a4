//! One table of the file: its known keys, read with their types and places.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::limits::DURATION_MS_MAX;
use crate::pipeline::duration::{
    QuantityError, duration_text, parse_duration_ms, parse_size_bytes,
};
use crate::pipeline::problem::Report;
use crate::pipeline::suggest;

pub(super) type Entry<'d, 'i> = (&'d str, Range<usize>, &'d Spanned<DeValue<'i>>);

/// A text value and where it stands.
#[derive(Clone)]
pub(super) struct Text<'d> {
    pub(super) text: &'d str,
    pub(super) span: Range<usize>,
}

#[derive(Clone)]
pub(super) struct Section<'d, 'i> {
    /// As it is named in messages: `[stream.finds.time]`.
    pub(super) path: String,
    pub(super) span: Range<usize>,
    table: &'d DeTable<'i>,
}

impl<'d, 'i> Section<'d, 'i> {
    /// Opens a table whose keys are free names.
    pub(super) fn free(path: String, span: Range<usize>, table: &'d DeTable<'i>) -> Self {
        Section { path, span, table }
    }

    /// Opens a table and refuses every key that is not known.
    pub(super) fn open(
        report: &mut Report<'_>,
        path: String,
        span: Range<usize>,
        table: &'d DeTable<'i>,
        known: &[&'static str],
    ) -> Self {
        let section = Section { path, span, table };
        for (key, span, _) in section.entries() {
            if !known.contains(&key) {
                let message = format!("unknown key `{key}` in {}", section.path);
                report.push(span, message, suggest::hint(key, known.iter().copied()));
            }
        }
        section
    }

    /// All entries in the order of the file.
    pub(super) fn entries(&self) -> Vec<Entry<'d, 'i>> {
        let mut entries: Vec<_> = self
            .table
            .iter()
            .map(|(key, value)| (key.get_ref().as_ref(), key.span(), value))
            .collect();
        entries.sort_by_key(|(_, span, _)| span.start);
        entries
    }

    pub(super) fn value(&self, key: &str) -> Option<&'d Spanned<DeValue<'i>>> {
        self.table.get(key)
    }

    /// The entry as a table, with the place of its key.
    pub(super) fn table(
        &self,
        report: &mut Report<'_>,
        key: &str,
    ) -> Option<(Range<usize>, &'d DeTable<'i>)> {
        let (key, value) = self.table.get_key_value(key)?;
        as_table(
            report,
            &format!("`{}` in {}", key.get_ref(), self.path),
            value,
        )
        .map(|table| (key.span(), table))
    }

    pub(super) fn text(&self, report: &mut Report<'_>, key: &str) -> Option<Text<'d>> {
        let value = self.value(key)?;
        match value.get_ref() {
            DeValue::String(text) => Some(Text {
                text: text.as_ref(),
                span: value.span(),
            }),
            other => {
                self.wrong_type(report, key, value.span(), "text", other);
                None
            }
        }
    }

    pub(super) fn required_text(&self, report: &mut Report<'_>, key: &str) -> Option<Text<'d>> {
        self.require(report, key)?;
        self.text(report, key)
    }

    /// Reports a key that is absent.
    pub(super) fn require(&self, report: &mut Report<'_>, key: &str) -> Option<()> {
        if self.value(key).is_none() {
            report.add(self.span.clone(), format!("{} needs `{key}`", self.path));
            return None;
        }
        Some(())
    }

    pub(super) fn integer(
        &self,
        report: &mut Report<'_>,
        key: &str,
    ) -> Option<(i128, Range<usize>)> {
        let value = self.value(key)?;
        match value.get_ref() {
            // A number that no i128 holds is out of every range.
            DeValue::Integer(number) => {
                let read = i128::from_str_radix(number.as_str(), number.radix());
                Some((read.unwrap_or(i128::MAX), value.span()))
            }
            other => {
                self.wrong_type(report, key, value.span(), "a whole number", other);
                None
            }
        }
    }

    pub(super) fn boolean(&self, report: &mut Report<'_>, key: &str) -> Option<bool> {
        let value = self.value(key)?;
        match value.get_ref() {
            DeValue::Boolean(value) => Some(*value),
            other => {
                self.wrong_type(report, key, value.span(), "true or false", other);
                None
            }
        }
    }

    /// A list of texts.
    pub(super) fn texts(&self, report: &mut Report<'_>, key: &str) -> Option<Vec<Text<'d>>> {
        let value = self.value(key)?;
        let DeValue::Array(items) = value.get_ref() else {
            self.wrong_type(
                report,
                key,
                value.span(),
                "a list of texts",
                value.get_ref(),
            );
            return None;
        };
        let mut texts = Vec::new();
        for item in items.iter() {
            match item.get_ref() {
                DeValue::String(text) => {
                    texts.push(Text {
                        text: text.as_ref(),
                        span: item.span(),
                    });
                }
                other => self.wrong_type(report, key, item.span(), "a list of texts", other),
            }
        }
        Some(texts)
    }

    /// A duration of at least `min_ms`, in ms. A faulty one is reported and read as `default_ms`.
    pub(super) fn duration_ms(
        &self,
        report: &mut Report<'_>,
        key: &str,
        min_ms: i64,
        default_ms: i64,
    ) -> i64 {
        let Some(Text { text, span }) = self.text(report, key) else {
            return default_ms;
        };
        match self.parse_duration(report, key, text, span.clone()) {
            Some(ms) if ms >= min_ms => ms,
            Some(_) => {
                let least = duration_text(min_ms);
                let message = format!("`{key}` in {} must be at least {least}", self.path);
                report.add(span, message);
                default_ms
            }
            None => default_ms,
        }
    }

    pub(super) fn parse_duration(
        &self,
        report: &mut Report<'_>,
        key: &str,
        text: &str,
        span: Range<usize>,
    ) -> Option<i64> {
        match parse_duration_ms(text) {
            Ok(ms) => Some(ms),
            Err(QuantityError::Malformed) => {
                report.add_hint(
                    span,
                    format!("`{key}` in {}: `{text}` is no duration", self.path),
                    "write a whole number and a unit: 500ms, 5s, 10m, 1h, 7d, 2w".to_owned(),
                );
                None
            }
            Err(QuantityError::TooLarge) => {
                let most = duration_text(DURATION_MS_MAX);
                let message = format!("`{key}` in {}: `{text}` is over {most}", self.path);
                report.add(span, message);
                None
            }
        }
    }

    /// A size in bytes.
    pub(super) fn size_bytes(&self, report: &mut Report<'_>, key: &str) -> Option<u64> {
        let Text { text, span } = self.text(report, key)?;
        match parse_size_bytes(text) {
            Ok(bytes) => Some(bytes),
            Err(_) => {
                report.add_hint(
                    span,
                    format!("`{key}` in {}: `{text}` is no size", self.path),
                    "write a whole number and a unit: 512MiB, 8GiB, 16GB".to_owned(),
                );
                None
            }
        }
    }

    pub(super) fn wrong_type(
        &self,
        report: &mut Report<'_>,
        key: &str,
        span: Range<usize>,
        wanted: &str,
        found: &DeValue<'_>,
    ) {
        let found = type_name(found);
        report.add(
            span,
            format!("`{key}` in {} must be {wanted}, not {found}", self.path),
        );
    }
}

/// The value as a table; anything else is reported.
pub(super) fn as_table<'d, 'i>(
    report: &mut Report<'_>,
    what: &str,
    value: &'d Spanned<DeValue<'i>>,
) -> Option<&'d DeTable<'i>> {
    match value.get_ref() {
        DeValue::Table(table) => Some(table),
        other => {
            let found = type_name(other);
            report.add(value.span(), format!("{what} must be a table, not {found}"));
            None
        }
    }
}

fn type_name(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
