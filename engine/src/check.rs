//! `ringmill check`: every problem of a pipeline file at once, or what it will need.

use std::path::Path;
use std::sync::Arc;

use ringmill_shard::pipeline::{Declarations, Pipeline, Problem, Test};

use crate::cli::{CheckArgs, EXIT_USAGE};
use crate::say;

/// Runs the command; returns the exit code.
pub fn run(args: &CheckArgs) -> i32 {
    match read(&args.file, Pipeline::check) {
        Ok((checked, _)) => {
            let file = args.file.display();
            let warnings = checked.warnings.iter();
            let warnings: String = warnings
                .map(|warning| format!("{file}: warning: {warning}\n"))
                .collect();
            let forecast = checked.pipeline.forecast(args.keys);
            say::print(&format!("{warnings}{file}: ok\n{forecast}"))
        }
        Err(message) => {
            say!("{message}");
            EXIT_USAGE
        }
    }
}

/// Reads and checks a pipeline file. Returns it with its text; the error is ready to print.
pub fn load(file: &Path) -> Result<(Pipeline, String), String> {
    read(file, Pipeline::parse)
}

/// Reads and checks a pipeline file. Returns it with the places and former names of its objects, and
/// its text; the error is ready to print.
pub fn load_declared(file: &Path) -> Result<((Pipeline, Declarations), String), String> {
    read(file, Pipeline::parse_declared)
}

/// Reads and checks a pipeline file. Returns it with its tests; the error is ready to print.
pub fn load_with_tests(file: &Path) -> Result<(Arc<Pipeline>, Vec<Test>), String> {
    let ((pipeline, tests), _) = read(file, Pipeline::parse_with_tests)?;
    Ok((Arc::new(pipeline), tests))
}

fn read<T>(
    file: &Path,
    parse: impl FnOnce(&str) -> Result<T, Vec<Problem>>,
) -> Result<(T, String), String> {
    let name = file.display();
    let text = std::fs::read_to_string(file).map_err(|error| {
        format!("cannot read the pipeline file {name}: {error}; give the path of a TOML file")
    })?;
    match parse(&text) {
        Ok(parsed) => Ok((parsed, text)),
        Err(problems) => {
            let lines: Vec<String> = problems
                .iter()
                .map(|problem| format!("{name}: {problem}"))
                .collect();
            let count = lines.len();
            let noun = if count == 1 { "problem" } else { "problems" };
            Err(format!("{}\n{name}: {count} {noun}", lines.join("\n")))
        }
    }
}
