//! Signals to a child, and the signal that ended it.

use std::{
    io::{IsTerminal as _, stdin},
    os::unix::process::ExitStatusExt as _,
    process::ExitStatus,
};

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::Child;

/// A terminal sends SIGINT and SIGQUIT to the command by itself.
pub(crate) fn pass_on(signal: Signal, child: &Child) {
    if [Signal::INT, Signal::QUIT].contains(&signal) && stdin().is_terminal() {
        return;
    }
    let pid = child.id().and_then(|pid| Pid::from_raw(pid.cast_signed()));
    if let Some(pid) = pid {
        let _ = kill_process(pid, signal);
    }
}

/// As a shell says it: 128 and the signal that ended the command.
pub(crate) fn exit_code(status: ExitStatus) -> u8 {
    let code = status
        .code()
        .unwrap_or_else(|| 128 + status.signal().unwrap_or_default());
    u8::try_from(code).unwrap_or(u8::MAX)
}
