//! The creation of a named pipe.

use std::{io, path::Path};

/// Creates a named pipe that only this user can open.
///
/// # Errors
/// If a file with this name exists, if this user may not create files in the folder, or if the file system
/// has no pipes.
#[cfg(not(target_vendor = "apple"))]
pub(crate) fn make(path: &Path) -> io::Result<()> {
    use rustix::fs::{CWD, Mode, mkfifoat};

    Ok(mkfifoat(CWD, path, Mode::RUSR | Mode::WUSR)?)
}

/// Creates a named pipe that only this user can open. macOS before version 13 has no `mkfifoat`, so rustix
/// does not offer it for macOS. This function runs `/usr/bin/mkfifo` instead.
///
/// # Errors
/// If a file with this name exists, if this user may not create files in the folder, or if the file system
/// has no pipes.
#[cfg(target_vendor = "apple")]
pub(crate) fn make(path: &Path) -> io::Result<()> {
    let mkfifo = std::process::Command::new("/usr/bin/mkfifo")
        .args(["-m", "600", "--"])
        .arg(path)
        .output()?;
    match mkfifo.status.success() {
        true => Ok(()),
        false => Err(io::Error::other(String::from_utf8_lossy(&mkfifo.stderr).trim())),
    }
}
