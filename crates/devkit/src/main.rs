//! `jobpass-devkit`: the dev cluster for people.

use std::process::ExitCode;

fn main() -> ExitCode {
    jobpass_devkit::cli::main()
}
