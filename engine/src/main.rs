//! The `ringmill` binary.

use clap::Parser;
use ringmill_engine::cli::{Cli, Command, LogCommand};
use ringmill_engine::{check, correct, doctor, inspect, plan, serve, sim, testrun, verify};

fn main() {
    let code = match Cli::parse().command {
        Command::Serve(args) => serve::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Plan(args) => plan::run(&args),
        Command::Apply(args) => plan::apply(&args),
        Command::Test(args) => testrun::run(&args),
        Command::Sim(args) => sim::run(&args),
        Command::Retract(args) => correct::retract(&args),
        Command::Undo(args) => correct::undo(&args),
        Command::Explain(command) => correct::explain(&command),
        Command::Doctor(args) => doctor::run(&args),
        Command::Inspect(args) => inspect::run(&args),
        Command::Log(LogCommand::Verify { dir }) => verify::run(&dir),
    };
    std::process::exit(code);
}
