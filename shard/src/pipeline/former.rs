//! The schemas that streams have had: what stands in the log was written with one of them.
//!
//! A store keeps them all as a text, because an entry of the log only names the id of its schema:
//!
//! ```text
//! ringmill-schemas 1
//! stream 0
//! ringmill-schema 1
//! 1 player u64 required
//! 2 at time required
//! stream 0
//! ...
//! ```

use crate::pipeline::{Pipeline, Stream};
use crate::schema::{Schema, Widening};

const HEAD: &str = "ringmill-schemas 1";

/// Rows of a schema that a stream had before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Former {
    /// How they become rows of the schema in force.
    pub widening: Widening,
    /// The key among their own fields.
    pub key: usize,
}

/// Every schema that a stream of a store has had, by the number of the stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Schemas {
    known: Vec<(usize, Schema)>,
}

/// Why a text holds no schemas.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct SchemasError {
    /// From 1.
    pub line: usize,
    /// What is wrong.
    pub what: &'static str,
}

impl Schemas {
    /// Adds the schemas of a pipeline's streams.
    pub fn add(&mut self, pipeline: &Pipeline) {
        for (index, stream) in pipeline.streams.iter().enumerate() {
            let known = |(at, schema): &(usize, Schema)| *at == index && *schema == stream.schema;
            if !self.known.iter().any(known) {
                self.known.push((index, stream.schema.clone()));
            }
        }
    }

    /// Adds what another store of the same streams knows.
    pub fn extend(&mut self, other: &Schemas) {
        for known in &other.known {
            if !self.known.contains(known) {
                self.known.push(known.clone());
            }
        }
    }

    /// As the store keeps them.
    pub fn text(&self) -> String {
        let mut out = format!("{HEAD}\n");
        for (stream, schema) in &self.known {
            out.push_str(&format!("stream {stream}\n{}", schema.description()));
        }
        out
    }

    /// Reads [`Schemas::text`].
    pub fn parse(text: &str) -> Result<Schemas, SchemasError> {
        let refuse = |line: usize, what| Err(SchemasError { line, what });
        let lines: Vec<&str> = text.lines().collect();
        if lines.first() != Some(&HEAD) {
            return refuse(1, "this is no list of schemas of this version");
        }
        let mut known = Vec::new();
        let mut at = 1;
        while at < lines.len() {
            let stream = lines[at].strip_prefix("stream ");
            let Some(stream) = stream.and_then(|number| number.parse().ok()) else {
                return refuse(at + 1, "a stream was expected");
            };
            let rest = &lines[at + 1..];
            let ends = rest.iter().position(|line| line.starts_with("stream "));
            let count = ends.unwrap_or(rest.len());
            let description: String = rest[..count].iter().flat_map(|l| [l, "\n"]).collect();
            let Some(schema) = Schema::parse_description(&description) else {
                return refuse(at + 2, "this is no description of a schema");
            };
            known.push((stream, schema));
            at += 1 + count;
        }
        Ok(Schemas { known })
    }
}

impl Pipeline {
    /// The pipeline of a store whose streams have had these schemas. One that does not lead to the
    /// schema in force was never used, and stays unknown.
    #[must_use]
    pub fn with_former(mut self, schemas: &Schemas) -> Pipeline {
        for (index, stream) in self.streams.iter_mut().enumerate() {
            let of_stream = schemas.known.iter().filter(|(at, _)| *at == index);
            let former = of_stream.filter_map(|(_, schema)| stream.former_of(schema));
            stream.former = former.collect();
        }
        self
    }
}

impl Stream {
    fn former_of(&self, schema: &Schema) -> Option<Former> {
        if schema.id == self.schema.id {
            return None;
        }
        let widening = Widening::new(schema, &self.schema)?;
        let key = widening.origin(self.key)?;
        widening.origin(self.time.field)?;
        Some(Former { widening, key })
    }

    /// The former schema of an id.
    pub fn former(&self, schema_id: u32) -> Option<&Former> {
        let mut former = self.former.iter();
        former.find(|former| former.widening.from().id == schema_id)
    }

    /// The schema of an id, and the key among its fields: the one in force, or a former one.
    #[inline]
    pub fn written_with(&self, schema_id: u32) -> Option<(&Schema, usize)> {
        if schema_id == self.schema.id {
            return Some((&self.schema, self.key));
        }
        let former = self.former(schema_id)?;
        Some((former.widening.from(), former.key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pipeline(more: &str) -> Pipeline {
        let text = format!(
            "ringmill = 1\n[stream.s]\nkey = \"k\"\ntime = {{ field = \"at\" }}\n\
             [stream.s.fields]\nk = {{ id = 5, type = \"u64\" }}\n\
             at = {{ id = 6, type = \"time\" }}\n{more}"
        );
        Pipeline::parse(&text).unwrap()
    }

    #[test]
    fn schemas_are_kept_as_text_and_found_by_id() {
        let before = pipeline("");
        let more = "a = { id = 1, type = \"uuid\", optional = true }";
        let after = pipeline(more);
        let stray = pipeline("a = { id = 1, type = \"bool\", optional = true }");
        let mut schemas = Schemas::default();
        for one in [&before, &after, &stray, &before] {
            schemas.add(one);
        }
        assert_eq!(Schemas::parse(&schemas.text()), Ok(schemas.clone()));
        let stream = &after.clone().with_former(&schemas).streams[0];
        let id = |of: &Pipeline| of.streams[0].schema.id;
        assert_eq!(stream.former.len(), 1);
        let (schema, key) = stream.written_with(id(&before)).unwrap();
        assert_eq!((schema.id, key), (id(&before), 0));
        assert_eq!(stream.written_with(id(&after)), Some((&stream.schema, 1)));
        assert_eq!(stream.written_with(id(&stray)), None);
    }

    #[test]
    fn a_damaged_list_names_its_line() {
        let mut schemas = Schemas::default();
        schemas.add(&pipeline(""));
        let text = schemas.text();
        for (from, to, expected) in [
            (
                "schemas 1",
                "schemas 2",
                "line 1: this is no list of schemas of this version",
            ),
            ("stream 0", "strm 0", "line 2: a stream was expected"),
            ("u64", "u63", "line 3: this is no description of a schema"),
        ] {
            let damaged = Schemas::parse(&text.replace(from, to));
            assert_eq!(damaged.unwrap_err().to_string(), expected);
        }
    }
}
