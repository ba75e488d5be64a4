//! The commands: from options to output and exit code.

mod compare;
mod load;
mod run;

use std::process::ExitCode;

use clap::Parser;

use crate::args::{Cli, Command, Format};
use crate::error::LoadError;
use crate::exit::{EXIT_ERROR, EXIT_USAGE};
use crate::say::print;

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let command = cli.command.unwrap_or_else(|| {
        let cli = Cli::parse_from(["loadgen", "run"]);
        cli.command.expect("invariant: a command was given")
    });
    match dispatch(command) {
        Ok(code) => ExitCode::from(code),
        Err(error @ LoadError::Settings(_)) => {
            say!("loadgen: {error}");
            ExitCode::from(EXIT_USAGE)
        }
        Err(error) => {
            say!("loadgen: {error}");
            ExitCode::from(EXIT_ERROR)
        }
    }
}

fn dispatch(command: Command) -> Result<u8, LoadError> {
    match command {
        Command::Run(args) => run::run(&args),
        Command::Verify(args) => run::verify(&args),
        Command::Report(args) => run::report(&args),
        Command::Echo(args) => echo(&args),
        Command::Search(args) => load::search(&args),
        Command::Replay(args) => load::replay(&args),
        Command::Selftest(args) => load::selftest(&args),
        Command::Compare(args) => compare::compare(&args),
    }
}

/// Prints documents in the chosen form.
fn print_document(
    document: &crate::report::Document,
    format: Format,
    files: &[String],
) -> Result<(), LoadError> {
    match format {
        Format::Text => print(&crate::report::text(document, files)),
        Format::Json => print(&to_json(document)),
        Format::Csv => print(&crate::report::csv(std::slice::from_ref(document))),
    }
}

fn to_json<T: serde::Serialize>(value: &T) -> String {
    let text = serde_json::to_string_pretty(value).expect("invariant: plain data has a JSON form");
    text + "\n"
}

fn echo(args: &crate::args::EchoArgs) -> Result<u8, LoadError> {
    use std::sync::atomic::Ordering;
    let server = crate::echo::Echo::start(&args.listen, crate::echo::EchoOptions::default())
        .map_err(|source| LoadError::Listen {
            addr: args.listen.clone(),
            source,
        })?;
    let stop = crate::signal::on_interrupt()?;
    print(&format!(
        "ready listen={} floor=echo stores=nothing\n",
        server.addr()
    ))?;
    while !stop.load(Ordering::Relaxed) {
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    Ok(0)
}
