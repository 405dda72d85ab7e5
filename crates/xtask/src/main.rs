#![expect(clippy::print_stderr, reason = "the last word of a failed chore")]

use std::process::ExitCode;

fn main() -> ExitCode {
    match xtask::main() {
        Ok(()) => ExitCode::SUCCESS,
        // Not anyhow's own report: with RUST_BACKTRACE set it would bury the next step under a backtrace.
        Err(error) => {
            eprintln!("error: {error}");
            error.chain().skip(1).for_each(|cause| eprintln!("  because: {cause}"));
            ExitCode::FAILURE
        }
    }
}
