#![expect(clippy::print_stderr, reason = "the last word of a failed chore")]

use std::process::ExitCode;

fn main() -> ExitCode {
    match xtask::main() {
        Ok(()) => ExitCode::SUCCESS,
        // Not anyhow's own report: with RUST_BACKTRACE set it would bury the next step under a backtrace.
        Err(error) => {
            eprintln!("error: {error}");
            for cause in error.chain().skip(1) {
                eprintln!("  because: {cause}");
            }
            ExitCode::FAILURE
        }
    }
}
