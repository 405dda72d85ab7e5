#![expect(clippy::print_stderr, reason = "the one place that prints why a chore failed")]

use std::process::ExitCode;

fn main() -> ExitCode {
    match xtask::main() {
        Ok(()) => ExitCode::SUCCESS,
        // If RUST_BACKTRACE is set, anyhow's own report ends with a long backtrace. A reader would then miss
        // the next step, which is above the backtrace.
        Err(error) => {
            eprintln!("error: {error}");
            for cause in error.chain().skip(1) {
                eprintln!("  because: {cause}");
            }
            ExitCode::FAILURE
        }
    }
}
