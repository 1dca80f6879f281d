//! The `chaski` program: parse, dispatch, exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    chaski::cli::main()
}
