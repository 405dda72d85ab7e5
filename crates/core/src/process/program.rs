//! The main function of every front end.

use std::{
    process::{ExitCode, Termination},
    time::Duration,
};

use crate::{
    error::{Error, Kind},
    process::interrupt::Interrupt,
};

/// The time limit for printing an error. If nobody reads the log, printing waits, which must not delay the
/// end of a cancelled job.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Listens for signals and runs `work`. The result of `work` becomes the exit code. If `work` fails, first
/// shows the failure with `show`.
pub fn run<W, T>(work: impl FnOnce(Interrupt) -> W, show: fn(&Error)) -> ExitCode
where
    W: Future<Output = Result<T, Error>>,
    T: Termination,
{
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            let error = Error::new(Kind::Internal, format!("cannot start: {error}"));
            show(&error.help("check this machine's limit for open files"));
            return ExitCode::from(Kind::Internal.exit_code());
        }
    };
    let outcome = runtime.block_on(async {
        let outcome = match Interrupt::listen() {
            Ok(interrupt) => work(interrupt).await,
            Err(error) => Err(error),
        };
        if let Err(error) = &outcome {
            let error = error.clone();
            let shown = tokio::task::spawn_blocking(move || show(&error));
            let _ = tokio::time::timeout(LAST_WORDS, shown).await;
        }
        outcome
    });
    // An unfinished write must not keep the process alive.
    runtime.shutdown_background();
    outcome.map_or_else(
        |error| ExitCode::from(error.kind().exit_code()),
        Termination::report,
    )
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use rstest::rstest;

    use super::*;

    fn exit_code(outcome: Result<ExitCode, Kind>, show: fn(&Error)) -> ExitCode {
        run(
            async |_| outcome.map_err(|kind| Error::new(kind, "it failed")),
            show,
        )
    }

    /// A verb that runs a command returns the command's exit code.
    #[rstest]
    #[case(Ok(ExitCode::SUCCESS), 0)]
    #[case(Ok(ExitCode::from(42)), 42)]
    #[case(Err(Kind::Input), 2)]
    #[case(Err(Kind::Terminated), 143)]
    fn the_result_is_the_exit_code(#[case] outcome: Result<ExitCode, Kind>, #[case] code: u8) {
        assert_eq!(exit_code(outcome, |_| ()), ExitCode::from(code));
    }

    #[test]
    fn a_log_that_nobody_reads_does_not_keep_the_program() {
        let (ended, end) = channel();
        std::thread::spawn(move || ended.send(exit_code(Err(Kind::Revoke), |_| std::thread::park())));
        assert_eq!(end.recv_timeout(10 * LAST_WORDS), Ok(ExitCode::from(7)));
    }
}
