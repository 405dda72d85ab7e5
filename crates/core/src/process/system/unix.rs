//! The parts of a process on Linux and macOS.

use std::{
    borrow::Cow,
    ffi::OsStr,
    fs::{DirBuilder, File, Metadata, OpenOptions, Permissions},
    io,
    os::unix::{
        fs::{
            DirBuilderExt as _, FileExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
            fchown,
        },
        process::parent_id,
    },
    path::{Path, PathBuf},
    process::Command,
};

pub(crate) use std::fs::{remove_file, rename};

use rustix::{
    fs::{CWD, OFlags, RenameFlags, renameat_with},
    process::{Resource, Rlimit, geteuid, setrlimit},
};
use tokio::signal::unix::{self, SignalKind, signal};

use crate::process::{environment::Environment, interrupt::Signal};

/// The variable that names the folder for temporary files.
pub const TEMP: &str = "TMPDIR";

/// The name under which jobpass keeps a variable.
pub(crate) fn variable(name: &str) -> Cow<'_, str> {
    Cow::Borrowed(name)
}

/// The folders that may be the user's home: the value of `HOME`.
pub(crate) fn homes(environment: &Environment) -> Result<Vec<PathBuf>, crate::Error> {
    Ok(environment.utf8("HOME")?.map(PathBuf::from).into_iter().collect())
}

/// Whether `program` is a path, and not only a name.
pub fn is_path(program: &OsStr) -> bool {
    program.as_encoded_bytes().contains(&b'/')
}

/// The files that a path to a program may mean.
pub(crate) fn programs(path: PathBuf, _: &Environment) -> Vec<PathBuf> {
    vec![path]
}

/// Whether somebody may execute the file.
pub(crate) fn is_executable(path: &Path) -> bool {
    path.metadata()
        .is_ok_and(|metadata| metadata.permissions().mode() & 0o111 != 0)
}

/// The options for a file that is perhaps not a regular file. Opening it never waits, and never makes a
/// terminal the controlling terminal of this process.
pub(crate) fn without_waiting() -> OpenOptions {
    with_flags(OFlags::NONBLOCK | OFlags::NOCTTY)
}

/// The options for a file that may be a link: opening a link fails.
pub(crate) fn without_following() -> OpenOptions {
    with_flags(OFlags::NONBLOCK | OFlags::NOFOLLOW)
}

fn with_flags(flags: OFlags) -> OpenOptions {
    let mut options = OpenOptions::new();
    options.custom_flags(flags.bits().cast_signed());
    options
}

/// Creates a file with O_EXCL, which follows no symlink, and with mode 0600 from the first moment.
pub(crate) fn create_private(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
}

/// Creates a file as [`create_private`] does. On Linux and macOS, other processes of this user can always
/// read, rename and remove an open file.
pub(crate) fn create_private_log(path: &Path) -> io::Result<File> {
    create_private(path)
}

/// Opens a file for appending, and creates it if it is missing. If the file belongs to this user, it has mode
/// 0600 afterwards, unless its file system has no modes.
pub(crate) fn append_private(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)?;
    let _ = file.set_permissions(Permissions::from_mode(0o600));
    Ok(file)
}

/// Creates a folder with mode 0700. On a file system without modes, other users may be able to read the
/// folder.
pub fn create_private_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().mode(0o700).create(path)
}

/// Creates a folder as [`create_private_folder`] does, and the missing folders above it.
pub(crate) fn create_private_folders(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// The reason why other users can open a file of [`create_private`], if they can. Some file systems keep no
/// modes.
pub(crate) fn why_open_to_others(path: &Path) -> Option<String> {
    let mode = path.symlink_metadata().ok()?.mode() & 0o777;
    why_open_with(mode)
}

fn why_open_with(mode: u32) -> Option<String> {
    (mode & 0o077 != 0).then(|| format!("its file system turned mode 600 into {mode:03o}"))
}

/// The reason why another user can change this file or folder. `None` if no other user can.
pub(crate) fn why_not_own(file: &Metadata) -> Option<String> {
    let mode = file.mode() & 0o777;
    match (file.uid() == geteuid().as_raw(), mode & 0o022) {
        (false, _) => Some("another user owns it".to_owned()),
        (true, 0) => None,
        (true, _) => Some(format!("other users may write to it (mode {mode:03o})")),
    }
}

/// Whether other users may read the file.
pub(crate) fn is_readable_to_others(file: &Metadata) -> bool {
    file.mode() & 0o044 != 0
}

/// Whether every user may rename files in the folder: all users may write to it, and it has no sticky bit.
pub fn anybody_may_rename_in(folder: &Path) -> bool {
    std::fs::metadata(folder).is_ok_and(|folder| lets_anybody_rename(folder.mode()))
}

fn lets_anybody_rename(mode: u32) -> bool {
    mode & 0o1002 == 0o002
}

/// Renames a file, unless another file has the new name.
pub(crate) fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    Ok(renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE)?)
}

/// The numbers that identify a file. No other file has the same numbers at the same time.
#[derive(PartialEq)]
pub(crate) struct Identity(u64, u64);

impl Identity {
    pub(crate) fn of(file: &File) -> io::Result<Self> {
        file.metadata().map(|file| Self(file.dev(), file.ino()))
    }

    /// The identity of the file at this path. Follows no link.
    pub(crate) fn at(path: &Path) -> io::Result<Self> {
        path.symlink_metadata().map(|file| Self(file.dev(), file.ino()))
    }
}

/// The number of names that the file at this path has.
pub(crate) fn names_of(path: &Path) -> io::Result<u64> {
    Ok(path.symlink_metadata()?.nlink())
}

/// The number of names that an open file has.
pub(crate) fn names_of_open(file: &File) -> io::Result<u64> {
    Ok(file.metadata()?.nlink())
}

/// Gives a file the owner, the group and the mode of the file that `as_to` describes.
pub(crate) fn let_in_the_same(file: &File, as_to: &Metadata) -> io::Result<()> {
    let now = file.metadata()?;
    if (now.uid(), now.gid()) != (as_to.uid(), as_to.gid()) {
        fchown(file, Some(as_to.uid()), Some(as_to.gid()))?;
    }
    file.set_permissions(Permissions::from_mode(as_to.mode() & 0o7777))
}

/// Reads from `offset`.
pub(crate) fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    file.read_at(buffer, offset)
}

/// Writes at `offset`.
pub(crate) fn write_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    file.write_all_at(bytes, offset)
}

/// Forbids core dumps. On Linux, also forbids ptrace by other processes of the same user.
pub(crate) fn close_memory() {
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    let _ = setrlimit(Resource::Core, none);
    // This also closes /proc/PID/environ and /proc/PID/mem to other processes of the same user (prctl(2)).
    #[cfg(target_os = "linux")]
    let _ = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);
}

/// Returns `true`: the terminals of Linux and macOS obey escape sequences.
pub fn enable_escapes() -> bool {
    true
}

/// Returns whether the parent of this process is still `parent`. On Linux, this also makes the kernel send
/// SIGTERM to this process when its parent ends.
pub(crate) fn follow(parent: u32) -> bool {
    #[cfg(target_os = "linux")]
    let _ = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::TERM));
    parent_id() == parent
}

/// Prepares a command whose process outlives this one. The process inherits only its standard streams.
pub(crate) fn detach(_: &mut Command) -> io::Result<()> {
    // A shell may have given this process descriptors of the job's log. The new process must not keep them
    // open.
    close_fds::set_fds_cloexec_threadsafe(3, &[]);
    Ok(())
}

/// The signals that end a job.
pub(crate) struct Signals {
    int: unix::Signal,
    term: unix::Signal,
    hup: unix::Signal,
    quit: unix::Signal,
}

impl Signals {
    /// Starts to listen. From now on, none of the signals ends the process.
    pub(crate) fn listen() -> io::Result<Self> {
        Ok(Self {
            int: signal(SignalKind::interrupt())?,
            term: signal(SignalKind::terminate())?,
            hup: signal(SignalKind::hangup())?,
            quit: signal(SignalKind::quit())?,
        })
    }

    /// Waits for the next signal.
    pub(crate) async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.int.recv() => Signal::Int,
            _ = self.term.recv() => Signal::Term,
            _ = self.hup.recv() => Signal::Hup,
            _ = self.quit.recv() => Signal::Quit,
        }
    }
}

impl Signal {
    /// The name by which people know the signal.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Int => "SIGINT",
            Self::Term => "SIGTERM",
            Self::Hup => "SIGHUP",
            Self::Quit => "SIGQUIT",
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(0o600, None)]
    #[case(0o755, Some("its file system turned mode 600 into 755"))]
    fn a_file_system_without_modes_is_said(#[case] mode: u32, #[case] why: Option<&str>) {
        assert_eq!(why_open_with(mode).as_deref(), why);
    }

    #[rstest]
    #[case(0o777, true)]
    #[case(0o1777, false)]
    #[case(0o775, false)]
    #[case(0o700, false)]
    fn anybody_may_rename_in_a_folder_without_the_sticky_bit(#[case] mode: u32, #[case] expected: bool) {
        assert_eq!(lets_anybody_rename(mode), expected);
    }
}
