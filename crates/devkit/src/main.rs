//! `jobpass-devkit`: runs a dev cluster on which a person can try jobpass.

use std::process::ExitCode;

fn main() -> ExitCode {
    jobpass_devkit::cli::main()
}
