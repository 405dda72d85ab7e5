//! Windows.

use std::{
    convert::Infallible,
    ffi::OsStr,
    fs::File,
    future::pending,
    io::{self, stderr, stdout},
    os::windows::io::AsHandle as _,
    path::Path,
    process::ExitStatus,
};

use jobpass_core::process::interrupt::Signal;
use tokio::process::{Child, Command};

/// The exit code of a command that Ctrl-C or Ctrl-Break ended (`STATUS_CONTROL_C_EXIT`).
const ENDED_BY_CONSOLE: u32 = 0xC000_013A;

/// Whether this is a file. On Windows, the extension of a file decides whether it is a program.
pub(crate) fn can_run(path: &Path) -> bool {
    path.is_file()
}

/// Does nothing. On Windows, jobpass cannot set the name by which the user called a command.
pub(crate) fn name(_: &mut Command, _: &OsStr) {}

/// The file behind standard output.
pub(crate) fn stdout_file() -> io::Result<File> {
    stdout().as_handle().try_clone_to_owned().map(File::from)
}

/// The file behind standard error.
pub(crate) fn stderr_file() -> io::Result<File> {
    stderr().as_handle().try_clone_to_owned().map(File::from)
}

/// The signals that jobpass only passes on to the command. Windows has no such signals.
pub(crate) struct UserSignals;

impl UserSignals {
    pub(crate) fn listen() -> io::Result<Self> {
        Ok(Self)
    }

    pub(crate) async fn next(&mut self) -> Infallible {
        pending().await
    }
}

/// Sends `signal` to the command.
pub(crate) fn send(signal: Infallible, _: &Child) {
    match signal {}
}

/// Does nothing. The console sends its signals to all of its processes, so the command gets them from there.
pub(crate) fn pass_on(_: Signal, _: &Child) {}

/// The exit code of a command. If Ctrl-C or Ctrl-Break ended the command, the code is 130. jobpass cannot
/// exit with a number above 255, and exits with 255 in its place.
pub(crate) fn exit_code(status: ExitStatus) -> u8 {
    match status.code().unwrap_or(-1).cast_unsigned() {
        ENDED_BY_CONSOLE => 130,
        code => u8::try_from(code).unwrap_or(u8::MAX),
    }
}
