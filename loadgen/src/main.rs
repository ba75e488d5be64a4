//! The `loadgen` binary. Everything is in the library.

#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    ringmill_loadgen::command::main()
}
