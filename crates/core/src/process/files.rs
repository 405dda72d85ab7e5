//! Reading files that the rest of the job can change.

use std::{
    fs::{File, OpenOptions},
    io::{self, ErrorKind, Read as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use rustix::fs::OFlags;

use crate::{error::Error, text::harmless};

/// Far more than any kubeconfig, certificate, token or state.
pub(crate) const LONGEST: u64 = 1 << 20;

/// The text of a plain file.
///
/// # Errors
/// As [`open`]; if it is no UTF-8 or is larger than 1 MiB. No part of it is shown.
pub fn read(path: &Path) -> io::Result<String> {
    let file = open(path)?;
    let mut text = String::new();
    match file.take(LONGEST + 1).read_to_string(&mut text)? as u64 > LONGEST {
        true => Err(io::Error::new(ErrorKind::InvalidInput, "it is larger than 1 MiB")),
        false => Ok(text),
    }
}

/// The text of a path that is recorded, or handed over: both are JSON, YAML and variables, in which a path is text.
///
/// # Errors
/// If it is not UTF-8: a wrong input, called `name`.
pub fn utf8<'a>(name: &str, path: &'a Path) -> Result<&'a str, Error> {
    path.to_str().ok_or_else(|| {
        let shown = harmless(&path.to_string_lossy());
        Error::input(
            name,
            format!("is the path `{shown}`, which is not UTF-8"),
            "choose another path, or rename the folder; jobpass records it as text",
        )
    })
}

/// The absolute path that `path` is from here, to be recorded.
///
/// # Errors
/// As [`utf8`].
pub fn absolute(name: &str, path: &Path) -> Result<PathBuf, Error> {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    utf8(name, &path)?;
    Ok(path)
}

/// Opens a plain file for reading. A named pipe or a device in its place is an error at once: waiting for one would keep the
/// end of a job from revoking.
///
/// # Errors
/// If it is something else, or cannot be read.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    let flags = (OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::new(ErrorKind::InvalidInput, "it is not a plain file")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_files_are_read() {
        let folder = tempfile::tempdir().expect("a folder");
        let pipe = folder.path().join("pipe");
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RUSR).expect("a named pipe");
        for path in [pipe.as_path(), Path::new("/dev/zero"), folder.path()] {
            assert!(read(path).is_err(), "{}", path.display());
        }
        std::fs::write(folder.path().join("file"), "text").expect("written");
        assert_eq!(read(&folder.path().join("file")).expect("read"), "text");
    }
}
