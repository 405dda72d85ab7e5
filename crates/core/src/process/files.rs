//! Reads files that other steps of the job can change, and writes files that hold a secret.

use std::{
    fs::File,
    io::{self, ErrorKind, Read as _, Write as _},
    path::{Path, PathBuf},
};

pub use super::system::{TEMP, anybody_may_rename_in, create_private_folder};
use super::system::{
    append_private, create_private, create_private_folders, names_of_open, remove_file, rename, rename_new,
    why_not_own, why_open_to_others, without_following, without_waiting, write_at,
};
use crate::{
    error::{Error, Kind},
    text::{self, harmless},
    token::Token,
};

/// The length of the longest file that jobpass reads as a whole, in bytes. Kubeconfigs, certificates, tokens
/// and states are usually far shorter.
pub(crate) const LONGEST: u64 = 1 << 20;

/// Reads the text of a regular file.
///
/// # Errors
/// If `path` is not a regular file, if the content is not UTF-8 or larger than 1 MiB, or if jobpass cannot
/// read it. The error quotes no part of the file.
pub fn read(path: &Path) -> io::Result<String> {
    read_at_most(LONGEST, path)
}

/// Reads the text of a regular file of at most `longest` bytes.
///
/// # Errors
/// As [`read`], with `longest` in place of 1 MiB.
pub(crate) fn read_at_most(longest: u64, path: &Path) -> io::Result<String> {
    String::from_utf8(read_bytes(longest, path)?).map_err(|_| io::Error::from(ErrorKind::InvalidData))
}

/// Reads the text of a regular file. The file must belong to this user, and no other user may write to it.
/// (On Windows, jobpass does not check this.)
///
/// # Errors
/// As [`read`]. Also if another user owns the file, or may write to it.
pub(crate) fn read_own(path: &Path) -> io::Result<String> {
    let file = open(path)?;
    if let Some(why) = why_not_own(&file.metadata()?) {
        return Err(io::Error::new(ErrorKind::PermissionDenied, why));
    }
    let content = read_open(LONGEST, file)?;
    String::from_utf8(content).map_err(|_| io::Error::from(ErrorKind::InvalidData))
}

/// Reads the content of a regular file of at most `longest` bytes.
///
/// # Errors
/// If `path` is not a regular file, if the file is larger, or if jobpass cannot read it.
pub(crate) fn read_bytes(longest: u64, path: &Path) -> io::Result<Vec<u8>> {
    read_open(longest, open(path)?)
}

fn read_open(longest: u64, file: File) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    if file.take(longest + 1).read_to_end(&mut content)? as u64 > longest {
        let why = format!("it is larger than {} KiB", longest >> 10);
        return Err(io::Error::new(ErrorKind::InvalidInput, why));
    }
    Ok(content)
}

/// Converts a path to UTF-8. jobpass records the path, or hands it over in JSON, YAML or a variable, and
/// shows it in logs.
///
/// # Errors
/// If the path is not UTF-8 or has control characters: a line break in the path could begin a command to the
/// runner that shows the log. The error names the input `name`.
pub fn utf8<'a>(name: &str, path: &'a Path) -> Result<&'a str, Error> {
    let refused = |problem: &str| {
        Error::input(
            name,
            format!("is the path `{}`, which {problem}", text::path(path)),
            "choose another path, or rename the folder: jobpass records the path as text",
        )
    };
    match path.to_str() {
        None => Err(refused("is not UTF-8")),
        Some(text) if text.chars().any(char::is_control) => Err(refused("has control characters")),
        Some(text) => Ok(text),
    }
}

/// Makes `path` absolute, because the end of the job may have another working directory.
///
/// # Errors
/// As [`utf8`].
pub fn absolute(name: &str, path: &Path) -> Result<PathBuf, Error> {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    utf8(name, &path)?;
    Ok(path)
}

/// Opens a regular file for reading. Fails at once for a named pipe or a device: to wait for one would keep
/// the end of a job from revoking.
///
/// # Errors
/// If `path` is not a regular file, or jobpass cannot read it.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    let file = without_waiting().read(true).open(path)?;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::new(
            ErrorKind::InvalidInput,
            "it is not a regular file",
        )),
    }
}

/// Opens a regular file for reading, and for appending if `to_append`, if only this user can have written it.
/// (On Windows, jobpass does not check the user.) Follows no link.
///
/// # Errors
/// If `path` is not a regular file, or jobpass cannot open it. Also if another user owns the file or may
/// write to it, or if the file has a second name, under which other programs may know it.
pub(crate) fn open_own(path: &Path, to_append: bool) -> io::Result<File> {
    if !path.symlink_metadata()?.is_file() {
        return Err(io::Error::new(
            ErrorKind::InvalidInput,
            "it is not a regular file",
        ));
    }
    let file = without_following().read(true).append(to_append).open(path)?;
    match why_not_only_ours(&file)? {
        None => Ok(file),
        Some(why) => Err(io::Error::new(ErrorKind::PermissionDenied, why)),
    }
}

/// The reason why an open file may have content that this user did not write.
pub(crate) fn why_not_only_ours(file: &File) -> io::Result<Option<String>> {
    let metadata = file.metadata()?;
    Ok(match metadata.is_file() {
        false => Some("it is not a regular file".to_owned()),
        true if names_of_open(file)? > 1 => Some("it has a second name (a hard link)".to_owned()),
        true => why_not_own(&metadata),
    })
}

/// Reads a file that an input or a kubeconfig field names. If there is no such file, the input may hold a
/// secret in place of a path, so the error does not show text that could be a secret.
pub(crate) fn read_file(input: &str, path: &Path) -> Result<String, Error> {
    read(path).map_err(|error| {
        let path = match path.exists() {
            true => text::path(path),
            false => text::wrong(&path.to_string_lossy()),
        };
        let why = match error.kind() {
            ErrorKind::InvalidData => "it is not text".to_owned(),
            _ => harmless(&error.to_string()),
        };
        Error::input(
            input,
            format!("names the file `{path}`, which cannot be read: {why}"),
            READABLE,
        )
    })
}

/// The next step after [`read`] or [`read_bytes`] failed.
pub(crate) const READABLE: &str = "check the path and the file's permissions. jobpass reads only regular \
                                   files of text, of at most 1 MiB";

pub(crate) const PARTIAL: &str = ".jobpass-partial";

pub(crate) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Creates the folder of a file, and the missing folders above it, as [`create_private_folders`] does.
pub(crate) fn make_folder(input: &str, file: &Path) -> Result<(), Error> {
    let folder = file.parent().unwrap_or(Path::new("/"));
    create_private_folders(folder).map_err(|error| {
        let (shown, why) = (text::path(file), harmless(&error.to_string()));
        Error::input(
            input,
            format!("is `{shown}`, whose folder jobpass cannot create: {why}"),
            "choose a folder in which this user may write, on a file system with free space",
        )
    })
}

/// Writes a new file. If the file system can rename without replacing, the path has the whole content or
/// nothing. Never overwrites another file.
pub(crate) fn put(path: &Path, content: &str) -> Result<(), Error> {
    put_by(rename_new, path, content).map_err(|error| cannot_write(path, &error))
}

/// Writes a file under another name, then gives it its own name with `rename_new`.
///
/// Some file systems cannot rename without replacing (NFS, most of FUSE). After a failure, this function
/// creates the file under its own name at once. That is safe, because readers learn the name only after the
/// write. Hard links are no way out: many of these file systems have none.
fn put_by(
    rename_new: impl FnOnce(&Path, &Path) -> io::Result<()>,
    path: &Path,
    content: &str,
) -> io::Result<()> {
    let partial = with_suffix(path, PARTIAL);
    let renamed = write_new(&partial, content).and_then(|()| rename_new(&partial, path));
    let Err(error) = renamed else { return Ok(()) };
    let _ = remove_file(&partial);
    if error.kind() == ErrorKind::AlreadyExists {
        return Err(error);
    }
    write_new(path, content)
}

/// Replaces the whole file at once.
pub(crate) fn replace(path: &Path, content: &str) -> Result<(), Error> {
    let partial = with_suffix(path, PARTIAL);
    replace_by(&partial, path, content).map_err(|error| cannot_write(path, &error))
}

/// Replaces the whole file at once. Overwrites a file `partial` of an earlier attempt.
pub(crate) fn replace_by(partial: &Path, path: &Path, content: &str) -> io::Result<()> {
    let _ = remove_file(partial);
    write_new(partial, content).and_then(|()| rename(partial, path))
}

/// Warns if other users can open a file that jobpass created for this user alone.
pub(crate) fn is_open_to_others(path: &Path) -> Option<String> {
    why_open_to_others(path).map(|why| {
        let path = text::path(path);
        format!(
            "other users of this machine can open `{path}`, which holds the token: {why}. Choose a folder on \
             another file system"
        )
    })
}

/// Creates a new file as [`create_private`] does, and writes it. If the write fails, removes the file.
fn write_new(path: &Path, content: &str) -> io::Result<()> {
    let mut file = create_private(path)?;
    let written = file.write_all(content.as_bytes());
    // Windows removes no open file.
    drop(file);
    written.inspect_err(|_| {
        let _ = remove_file(path);
    })
}

/// Appends to a file, and creates it if it is missing. Lets only this user read it, if the file system can.
/// Asks the kernel for one write, so that SIGKILL leaves the whole text or nothing.
///
/// # Errors
/// If jobpass cannot write the file.
pub fn append(path: &Path, text: &str) -> io::Result<()> {
    append_private(path)?.write_all(text.as_bytes())
}

/// Overwrites bytes of a file from the offset `from`. Follows no link. A file that is too short for these
/// bytes is another file, and stays as it is.
///
/// # Errors
/// If jobpass cannot write the file.
pub fn overwrite(path: &Path, from: u64, bytes: &[u8]) -> io::Result<()> {
    let file = without_following().write(true).open(path)?;
    match file.metadata()?.len() >= from + bytes.len() as u64 {
        true => write_at(&file, bytes, from),
        false => Ok(()),
    }
}

/// The failure to read a file to which jobpass then writes.
pub(crate) fn cannot_read(path: &Path, error: &io::Error) -> Error {
    let (path, why) = (text::path(path), harmless(&error.to_string()));
    Error::new(Kind::Deliver, format!("cannot read `{path}`: {why}"))
        .help("check that it is a file of text, and its permissions")
}

pub(crate) fn cannot_write(path: &Path, error: &io::Error) -> Error {
    let (path, why) = (text::path(path), harmless(&error.to_string()));
    Error::new(Kind::Deliver, format!("cannot write `{path}`: {why}"))
        .help("check the folder, its permissions and its free space")
}

/// The failure of a write to standard output.
pub fn cannot_print(error: &io::Error) -> Error {
    let (why, help) = match error.kind() {
        ErrorKind::BrokenPipe => (
            "its reader closed it".to_owned(),
            "let the program that reads it read to the end",
        ),
        _ => (
            harmless(&error.to_string()),
            "check the file or program that standard output leads to, and its free space",
        ),
    };
    Error::new(Kind::Deliver, format!("cannot write to standard output: {why}")).help(help)
}

impl Token {
    /// Reads the token in a file that the input `input` names.
    ///
    /// # Errors
    /// If jobpass cannot read the file, or if the file does not hold a token.
    pub fn from_file(input: &str, path: &Path) -> Result<Self, Error> {
        Self::parse(&read_file(input, path)?, input)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn only_plain_files_are_read() {
        let folder = tempfile::tempdir().expect("a folder");
        let pipe = folder.path().join("pipe");
        let mode = rustix::fs::Mode::RUSR;
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, mode).expect("a named pipe");
        for path in [pipe.as_path(), Path::new("/dev/zero"), folder.path()] {
            assert!(read(path).is_err(), "{}", path.display());
        }
        std::fs::write(folder.path().join("file"), "text").expect("written");
        assert_eq!(read(&folder.path().join("file")).expect("read"), "text");
    }

    #[test]
    fn a_path_that_is_shown_and_recorded_is_one_line_of_text() {
        assert_eq!(
            utf8("token-file", Path::new("/tmp/a töken")).expect("text"),
            "/tmp/a töken"
        );
        for path in ["/tmp/x\n::error::y", "/tmp/\u{1b}[31m", "/tmp/\u{85}"] {
            let error = utf8("token-file", Path::new(path)).expect_err(path).to_string();
            assert!(error.contains("which has control characters"), "{error}");
            assert!(!error.contains(path), "{error}");
        }
    }

    /// NFS and many FUSE file systems answer EINVAL.
    #[test]
    fn a_file_system_that_cannot_rename_without_replacing_is_fine() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("token");
        let cannot = |_: &Path, _: &Path| Err(rustix::io::Errno::INVAL.into());
        let text = || read(&path).expect("a file");
        put_by(cannot, &path, "secret").expect("written");
        let mode = path.metadata().expect("a file").permissions().mode() & 0o777;
        assert_eq!((text(), mode), ("secret".to_owned(), 0o600));
        let error = put_by(cannot, &path, "other").expect_err("it is there");
        assert_eq!(
            (error.kind(), text()),
            (ErrorKind::AlreadyExists, "secret".to_owned())
        );
        assert_eq!(std::fs::read_dir(folder.path()).expect("read").count(), 1);
    }

    #[test]
    fn a_closed_pipe_and_a_full_disk_have_their_own_next_steps() {
        let said = |kind| cannot_print(&io::Error::from(kind)).to_string();
        assert!(said(ErrorKind::BrokenPipe).contains("its reader closed it\n\nlet the program"));
        let full = said(ErrorKind::StorageFull);
        assert!(full.contains("free space") && !full.contains("reader"), "{full}");
    }
}
