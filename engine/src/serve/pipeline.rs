//! Which pipeline is served: that of a file, if the store can go on with it, or the stored one.

use ringmill_shard::pipeline::{Durability, Fate, Pipeline, Schemas};
use ringmill_storage::level::Level;

use super::error::ServeError;
use crate::check;
use crate::cli::ServeArgs;
use crate::stored::Stored;

/// A pipeline that fits the store.
pub(super) struct Served {
    /// It, knowing what rows of its streams were before.
    pub(super) pipeline: Pipeline,
    /// Its text.
    pub(super) text: String,
    /// Every schema that a stream has had, its own included.
    pub(super) schemas: Schemas,
}

/// Reads the file and judges it against what the store keeps.
pub(super) fn choose(args: &ServeArgs) -> Result<Served, ServeError> {
    let Some(file) = &args.pipeline else {
        let stored = Stored::load(&args.data)?;
        let stored = stored.ok_or_else(|| ServeError::NoPipeline {
            dir: args.data.clone(),
        })?;
        return Ok(Served {
            pipeline: with_durability(stored.pipeline, args),
            text: stored.text,
            schemas: stored.schemas,
        });
    };
    let loaded = check::load_declared(file).map_err(ServeError::Pipeline)?;
    let ((pipeline, declarations), text) = loaded;
    let stored = Stored::load(&args.data)?;
    if let Some(stored) = &stored {
        let plan = pipeline.plan(&declarations, &stored.pipeline);
        let problems = plan.refused.iter();
        let problems: String = problems.map(|problem| format!("  {problem}\n")).collect();
        if !problems.is_empty() {
            return Err(ServeError::PipelineChanged {
                dir: args.data.clone(),
                problems,
            });
        }
        for warning in &plan.warnings {
            say!("{}: warning: {warning}", file.display());
        }
        for step in plan.steps.iter().filter(|step| step.fate != Fate::Kept) {
            say!("pipeline: {step}");
        }
    }
    let mut schemas = stored.map(|stored| stored.schemas).unwrap_or_default();
    schemas.add(&pipeline);
    Ok(Served {
        pipeline: with_durability(pipeline.with_former(&schemas), args),
        text,
        schemas,
    })
}

/// The command line wins over the file.
fn with_durability(mut pipeline: Pipeline, args: &ServeArgs) -> Pipeline {
    if let Some(level) = args.durability {
        let durability = durability(level);
        let streams = pipeline.streams.iter_mut();
        streams.for_each(|stream| stream.durability = durability);
    }
    pipeline
}

/// The level of the command line as a pipeline file would say it.
fn durability(level: Level) -> Durability {
    match level {
        Level::Memory => Durability::Memory,
        Level::Written => Durability::Written,
        Level::Interval(every) => Durability::Interval {
            ms: every.as_millis() as u64,
        },
        Level::Commit => Durability::Commit,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use clap::Parser;

    use super::*;

    const FILE: &str = "ringmill = 1\n[stream.s]\nkey = \"k\"\ntime = { field = \"at\" }\n\
                        [stream.s.fields]\nk = { id = 5, type = \"u64\" }\n\
                        at = { id = 6, type = \"time\" }\n";

    fn args(dir: &Path, pipeline: Option<&Path>) -> ServeArgs {
        let mut line = vec!["ringmill".into(), "serve".into(), "--data".into()];
        line.push(dir.as_os_str().to_owned());
        if let Some(pipeline) = pipeline {
            line.push("--pipeline".into());
            line.push(pipeline.as_os_str().to_owned());
        }
        match crate::cli::Cli::parse_from(line).command {
            crate::cli::Command::Serve(args) => args,
            _ => panic!("serve"),
        }
    }

    #[test]
    fn without_a_file_the_stored_pipeline_is_served() {
        let dir = tempfile::tempdir().unwrap();
        let none = choose(&args(dir.path(), None)).err().unwrap();
        assert!(
            none.is_usage() && none.to_string().contains("--pipeline"),
            "{none}"
        );
        let file = dir.path().join("given.toml");
        std::fs::write(&file, FILE).unwrap();
        let served = choose(&args(dir.path(), Some(&file))).unwrap();
        crate::stored::keep(dir.path(), &served.text, &served.schemas).unwrap();
        let again = choose(&args(dir.path(), None)).unwrap();
        assert_eq!(
            (&again.pipeline, &again.text),
            (&served.pipeline, &served.text)
        );
        // A wider file knows the rows of before.
        let wide = format!("{FILE}n = {{ id = 7, type = \"u64\", optional = true }}\n");
        std::fs::write(&file, wide).unwrap();
        let wide = choose(&args(dir.path(), Some(&file))).unwrap();
        let before = served.pipeline.streams[0].schema.id;
        assert!(wide.pipeline.streams[0].written_with(before).is_some());
        // What has gone is refused.
        crate::stored::keep(dir.path(), &wide.text, &wide.schemas).unwrap();
        std::fs::write(&file, FILE).unwrap();
        let refused = choose(&args(dir.path(), Some(&file))).err().unwrap();
        assert!(
            refused.to_string().contains("field `n` (id 7)"),
            "{refused}"
        );
    }
}
