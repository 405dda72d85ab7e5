//! Signals to a command, and the signal that ended it.

use std::{
    io::{IsTerminal as _, stdin},
    os::unix::process::ExitStatusExt as _,
    process::ExitStatus,
};

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::Child;

/// Passes `signal` on to the command, unless the terminal itself has sent it to the command.
pub(crate) fn pass_on(signal: Signal, child: &Child) {
    if is_sent_by_terminal(signal, stdin().is_terminal()) {
        return;
    }
    let pid = child.id().and_then(|pid| Pid::from_raw(pid.cast_signed()));
    if let Some(pid) = pid {
        let _ = kill_process(pid, signal);
    }
}

/// Whether a terminal sends `signal` to all processes in its foreground. The command is one of them.
fn is_sent_by_terminal(signal: Signal, on_terminal: bool) -> bool {
    on_terminal && [Signal::INT, Signal::QUIT].contains(&signal)
}

/// The exit code of a command, as a shell reports it. If a signal ended the command, the code is 128 plus the
/// signal's number.
pub(crate) fn exit_code(status: ExitStatus) -> u8 {
    let code = status
        .code()
        .unwrap_or_else(|| 128 + status.signal().unwrap_or_default());
    u8::try_from(code).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::success(0, 0)]
    #[case::failure(3 << 8, 3)]
    #[case::highest(255 << 8, 255)]
    #[case::interrupted(2, 130)]
    #[case::killed(9, 137)]
    #[case::terminated(15, 143)]
    // Bit 7 says that the kernel wrote a core dump.
    #[case::aborted_with_core_dump(6 | 0x80, 134)]
    fn an_exit_code_is_the_one_that_a_shell_reports(#[case] wait_status: i32, #[case] expected: u8) {
        assert_eq!(exit_code(ExitStatus::from_raw(wait_status)), expected);
    }

    #[rstest]
    #[case(Signal::INT, true, true)]
    #[case(Signal::QUIT, true, true)]
    #[case(Signal::TERM, true, false)]
    #[case(Signal::HUP, true, false)]
    #[case(Signal::INT, false, false)]
    #[case(Signal::TERM, false, false)]
    fn only_a_terminal_signals_the_command_itself(
        #[case] signal: Signal,
        #[case] on_terminal: bool,
        #[case] sent: bool,
    ) {
        assert_eq!(is_sent_by_terminal(signal, on_terminal), sent);
    }
}
