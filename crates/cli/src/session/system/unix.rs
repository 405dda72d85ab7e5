//! Linux and macOS.

use std::{
    ffi::OsStr,
    fs::File,
    io::{self, IsTerminal as _, stderr, stdin, stdout},
    os::{fd::AsFd as _, unix::process::ExitStatusExt as _},
    path::Path,
    process::ExitStatus,
};

use jobpass_core::process::interrupt::Signal;
use rustix::{
    fs::{Access, access},
    process::{self, Pid, kill_process},
};
use tokio::{
    process::{Child, Command},
    signal::unix::{self, SignalKind, signal},
};

/// Whether this user may execute the file.
pub(crate) fn can_run(path: &Path) -> bool {
    path.is_file() && access(path, Access::EXEC_OK).is_ok()
}

/// Sets the first argument (`argv[0]`) of a command to the name by which the user called it.
pub(crate) fn name(command: &mut Command, name: &OsStr) {
    command.arg0(name);
}

/// The file behind standard output.
pub(crate) fn stdout_file() -> io::Result<File> {
    stdout().as_fd().try_clone_to_owned().map(File::from)
}

/// The file behind standard error.
pub(crate) fn stderr_file() -> io::Result<File> {
    stderr().as_fd().try_clone_to_owned().map(File::from)
}

/// The signals that jobpass only passes on to the command.
pub(crate) struct UserSignals {
    user_1: unix::Signal,
    user_2: unix::Signal,
}

impl UserSignals {
    pub(crate) fn listen() -> io::Result<Self> {
        Ok(Self {
            user_1: signal(SignalKind::user_defined1())?,
            user_2: signal(SignalKind::user_defined2())?,
        })
    }

    /// Waits for the next signal.
    pub(crate) async fn next(&mut self) -> process::Signal {
        tokio::select! {
            _ = self.user_1.recv() => process::Signal::USR1,
            _ = self.user_2.recv() => process::Signal::USR2,
        }
    }
}

/// Passes `signal` on to the command, unless the terminal has sent it to the command already.
pub(crate) fn pass_on(signal: Signal, child: &Child) {
    if is_sent_by_terminal(signal, stdin().is_terminal()) {
        return;
    }
    let signal = match signal {
        Signal::Int => process::Signal::INT,
        Signal::Term => process::Signal::TERM,
        Signal::Hup => process::Signal::HUP,
        Signal::Quit => process::Signal::QUIT,
    };
    send(signal, child);
}

/// Sends `signal` to the command.
pub(crate) fn send(signal: process::Signal, child: &Child) {
    let pid = child.id().and_then(|pid| Pid::from_raw(pid.cast_signed()));
    if let Some(pid) = pid {
        let _ = kill_process(pid, signal);
    }
}

/// Whether a terminal sends `signal` to all processes in its foreground, and so also to the command.
fn is_sent_by_terminal(signal: Signal, on_terminal: bool) -> bool {
    on_terminal && [Signal::Int, Signal::Quit].contains(&signal)
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
    #[case(Signal::Int, true, true)]
    #[case(Signal::Quit, true, true)]
    #[case(Signal::Term, true, false)]
    #[case(Signal::Hup, true, false)]
    #[case(Signal::Int, false, false)]
    #[case(Signal::Term, false, false)]
    fn only_a_terminal_signals_the_command_itself(
        #[case] signal: Signal,
        #[case] on_terminal: bool,
        #[case] sent: bool,
    ) {
        assert_eq!(is_sent_by_terminal(signal, on_terminal), sent);
    }
}
