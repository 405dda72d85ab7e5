//! Reading files that the rest of the job can change.

use std::{
    fs::{File, OpenOptions},
    io::{self, ErrorKind, Read as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use rustix::fs::OFlags;

use crate::{
    error::{Error, Kind},
    text::harmless,
    token::Token,
};

/// Far more than any kubeconfig, certificate, token or state.
pub(crate) const LONGEST: u64 = 1 << 20;

/// The text of a plain file.
///
/// # Errors
/// If it is not a plain file, cannot be read, is not UTF-8, or is larger than 1 MiB. No part of it is shown.
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

/// Reads a file that an input or a kubeconfig field names.
pub(crate) fn read_file(input: &str, path: &Path) -> Result<String, Error> {
    read(path).map_err(|error| {
        let path = harmless(&path.to_string_lossy());
        let why = match error.kind() {
            ErrorKind::InvalidData => "it is not text".to_owned(),
            _ => harmless(&error.to_string()),
        };
        Error::input(
            input,
            format!("names the file `{path}`, which cannot be read: {why}"),
            "check the path",
        )
    })
}

pub(crate) const PARTIAL: &str = ".jobpass-partial";

pub(crate) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Whole or not at all, and never over something else: a hard link fails if the name is taken.
pub(crate) fn put(path: &Path, content: &str) -> Result<(), Error> {
    let partial = with_suffix(path, PARTIAL);
    let written = write_new(&partial, content).and_then(|()| std::fs::hard_link(&partial, path));
    let removed = std::fs::remove_file(&partial);
    written.and(removed).map_err(|error| cannot_write(path, &error))
}

/// O_EXCL, which follows no symlink, and mode 0600 from the first moment.
pub(crate) fn write_new(path: &Path, content: &str) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(content.as_bytes())
}

pub(crate) fn cannot_write(path: &Path, error: &io::Error) -> Error {
    let (path, why) = (harmless(&path.to_string_lossy()), harmless(&error.to_string()));
    Error::new(Kind::Deliver, format!("cannot write `{path}`: {why}"))
        .help("check the folder, its permissions and free space")
}

impl Token {
    /// The token in a file, which the input `input` names.
    ///
    /// # Errors
    /// If the file cannot be read, or holds no token.
    pub fn from_file(input: &str, path: &Path) -> Result<Self, Error> {
        Self::parse(&read_file(input, path)?, input)
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
