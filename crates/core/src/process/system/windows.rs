//! The parts of a process on Windows.
//!
//! Access lists take the place of modes. A file inherits the list of its folder, and on many machines that
//! list lets every user read the file: `C:\actions-runner` admits all users, and so does `D:\a` of GitHub's
//! runners. So jobpass gives a file with a secret a list of its own, with `icacls`, a program of Windows.

use std::{
    borrow::Cow,
    ffi::OsStr,
    fs::{self, File, Metadata, OpenOptions},
    io::{self, ErrorKind, stderr, stdin, stdout},
    os::windows::{
        fs::{FileExt as _, OpenOptionsExt as _},
        process::CommandExt as _,
    },
    path::{Path, PathBuf},
    process::{Command, Stdio, id},
    thread::sleep,
    time::Duration,
};

use filedescriptor::{FileDescriptor, StdioDescriptor};
use tokio::signal::windows::{
    CtrlBreak, CtrlC, CtrlClose, CtrlShutdown, ctrl_break, ctrl_c, ctrl_close, ctrl_shutdown,
};
use winapi_util::{console::Console, file::information};

use crate::process::{environment::Environment, interrupt::Signal, lookup};

/// The variable that names the folder for temporary files.
pub const TEMP: &str = "TEMP";

/// Asks for the attributes of a file, and for none of its content (`FILE_READ_ATTRIBUTES`). Windows then also
/// opens a file that another program has opened without sharing it.
const ATTRIBUTES: u32 = 0x80;
/// Opens a link itself, and not its target (`FILE_FLAG_OPEN_REPARSE_POINT`).
const THE_LINK_ITSELF: u32 = 0x0020_0000;
/// A console that no window shows (`CREATE_NO_WINDOW`). It gets no Ctrl-C of another console.
const NO_WINDOW: u32 = 0x0800_0000;
/// Gives all rights to the owner of the file, whatever the owner's name (`OWNER RIGHTS`). The file's access
/// list names nobody else, and inherits nothing from the folder's list.
const FOR_THE_OWNER: [&str; 3] = ["/inheritance:r", "/grant:r", "*S-1-3-4:F"];
/// Like [`FOR_THE_OWNER`], for a folder and all that programs create in it.
const FOR_THE_OWNER_OF_A_FOLDER: [&str; 3] = ["/inheritance:r", "/grant:r", "*S-1-3-4:(OI)(CI)F"];

/// The name under which jobpass keeps a variable: Windows does not distinguish `Path` and `PATH`.
pub(crate) fn variable(name: &str) -> Cow<'_, str> {
    Cow::Owned(name.to_uppercase())
}

/// The folders in which client-go looks for `.kube\config` (`util/homedir`).
pub(crate) fn homes(environment: &Environment) -> Result<Vec<PathBuf>, crate::Error> {
    lookup::homes_on_windows(environment)
}

/// Whether `program` is a path, and not only a name.
pub fn is_path(program: &OsStr) -> bool {
    let separates = |byte| b"/\\:".contains(byte);
    program.as_encoded_bytes().iter().any(separates)
}

/// The files that a path to a program may mean.
pub(crate) fn programs(path: PathBuf, environment: &Environment) -> Vec<PathBuf> {
    lookup::programs_on_windows(path, environment.get("PATHEXT"))
}

/// Whether the file may be a program. [`programs`] has already added the endings of programs.
pub(crate) fn is_executable(path: &Path) -> bool {
    path.is_file()
}

/// The options for a file that is perhaps not a regular file. On Windows, they need no flag: the opening of a
/// pipe or a device never waits.
pub(crate) fn without_waiting() -> OpenOptions {
    OpenOptions::new()
}

/// The options for a file that may be a link. They open the link itself, which is not a regular file.
pub(crate) fn without_following() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.custom_flags(THE_LINK_ITSELF);
    options
}

/// Creates a file, and lets only this user read it. No other process can open the file before this process
/// closes it, and jobpass sets the access list before that. On a file system without access lists, the file
/// stays as open as its folder: [`why_open_to_others`] reports that.
pub(crate) fn create_private(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .share_mode(0)
        .open(path)?;
    // A failure is not an error here, because some file systems have no access lists. `why_open_to_others`
    // reports it.
    let _ = icacls(path, FOR_THE_OWNER);
    Ok(file)
}

/// Creates a file as [`create_private`] does, for a process that keeps the file open. Unlike a file of
/// [`create_private`], other processes of this user can read, rename and remove the file meanwhile.
///
/// # Errors
/// If jobpass cannot create the file or open it again, or if another program replaces it in between.
pub(crate) fn create_private_log(path: &Path) -> io::Result<File> {
    let created = Identity::of(&create_private(path)?)?;
    // Windows locks no file that a process can only append to, so this also asks for the right to read.
    let file = without_following().read(true).append(true).open(path)?;
    match Identity::of(&file)? == created {
        true => Ok(file),
        false => Err(io::Error::other("another program has replaced it")),
    }
}

/// Opens a file for appending, and creates it if it is missing. If the file is empty, lets only this user
/// read it. On a file system without access lists, the file stays as open as its folder.
pub(crate) fn append_private(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().append(true).create(true).open(path)?;
    // If the file has content, the process that wrote it has limited the access.
    if file.metadata()?.len() == 0 {
        let _ = icacls(path, FOR_THE_OWNER);
    }
    Ok(file)
}

/// Creates a folder, and lets only this user read it. On a file system without access lists, the folder stays
/// as open as the one above it, and nothing reports that.
pub fn create_private_folder(path: &Path) -> io::Result<()> {
    fs::create_dir(path)?;
    let _ = icacls(path, FOR_THE_OWNER_OF_A_FOLDER);
    Ok(())
}

/// Creates a folder as [`create_private_folder`] does, and the missing folders above it.
pub(crate) fn create_private_folders(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(above) = path.parent().filter(|above| !above.as_os_str().is_empty()) {
        create_private_folders(above)?;
    }
    match create_private_folder(path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        created => created,
    }
}

/// The reason why other users can open a file of [`create_private`], if they can. Some file systems keep no
/// access lists.
pub(crate) fn why_open_to_others(path: &Path) -> Option<String> {
    let refused = icacls(path, FOR_THE_OWNER).err()?;
    Some(format!("Windows did not limit the access to it ({refused})"))
}

/// Changes the access list of a file with `icacls`. Rust searches the folder of jobpass and the system
/// folders of Windows before `PATH`, so no program of this name in `PATH` runs.
fn icacls(path: &Path, arguments: [&str; 3]) -> io::Result<()> {
    let status = Command::new("icacls.exe")
        .arg(path)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .creation_flags(NO_WINDOW)
        .status()?;
    match status.success() {
        true => Ok(()),
        false => Err(io::Error::other(format!("icacls.exe: {status}"))),
    }
}

/// The reason why another user can write to this file. Always `None`: jobpass does not look. On a file system
/// with access lists, only the owner of a file of [`create_private`], and users who may delete any file of
/// its folder, can replace it.
pub(crate) fn why_not_own(_: &Metadata) -> Option<String> {
    None
}

/// Whether other users may read the file. Always false, as for [`why_not_own`].
pub(crate) fn is_readable_to_others(_: &Metadata) -> bool {
    false
}

/// Whether every user may rename files in the folder. Always false: jobpass asks before it creates a folder
/// in it with [`create_private_folder`], and the access list of the new folder keeps other users from
/// renaming it. On a file system without access lists, nothing keeps them from it.
pub fn anybody_may_rename_in(_: &Path) -> bool {
    false
}

/// Renames a file, unless another file has the new name. Windows makes no hard link with a name that exists.
pub(crate) fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    fs::hard_link(from, to)?;
    remove_file(from)
}

/// Renames a file. Replaces a file that has the new name, as a whole.
pub(crate) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    patiently(|| fs::rename(from, to))
}

/// Removes a file. On some file systems, a file keeps its name until the last program has closed it. So this
/// function renames the file first: the renewer must see that its journal is gone.
pub(crate) fn remove_file(path: impl AsRef<Path>) -> io::Result<()> {
    let path = path.as_ref();
    let mut aside = path.as_os_str().to_owned();
    aside.push(format!(".{}.removed", id()));
    match patiently(|| fs::rename(path, &aside)) {
        Ok(()) => patiently(|| fs::remove_file(&aside)),
        Err(error) if error.kind() == ErrorKind::NotFound => Err(error),
        Err(_) => fs::remove_file(path),
    }
}

/// Repeats `act` while another program has the file open, for half a second. Windows neither replaces nor
/// removes a file while a program reads it, unless that program allows it. Clients read a token's file in
/// less than a millisecond.
fn patiently(act: impl Fn() -> io::Result<()>) -> io::Result<()> {
    /// The Windows error `ERROR_SHARING_VIOLATION`.
    const IN_USE: i32 = 32;
    for _ in 0..25 {
        match act() {
            Err(error)
                if error.kind() == ErrorKind::PermissionDenied || error.raw_os_error() == Some(IN_USE) =>
            {
                sleep(Duration::from_millis(20));
            }
            done => return done,
        }
    }
    act()
}

/// The numbers that identify a file. No other file has the same numbers at the same time.
#[derive(PartialEq)]
pub(crate) struct Identity(u64, u64);

impl Identity {
    pub(crate) fn of(file: &File) -> io::Result<Self> {
        information(file).map(|file| Self(file.volume_serial_number(), file.file_index()))
    }

    /// The identity of the file at this path. Follows no link.
    pub(crate) fn at(path: &Path) -> io::Result<Self> {
        open_attributes(path).and_then(|file| Self::of(&file))
    }
}

/// The number of names that the file at this path has.
pub(crate) fn names_of(path: &Path) -> io::Result<u64> {
    names_of_open(&open_attributes(path)?)
}

/// Opens the file at this path, although another program may not share its content. Follows no link.
fn open_attributes(path: &Path) -> io::Result<File> {
    without_following().access_mode(ATTRIBUTES).open(path)
}

/// The number of names that an open file has.
pub(crate) fn names_of_open(file: &File) -> io::Result<u64> {
    information(file).map(|file| file.number_of_links())
}

/// Does nothing. A file of [`create_private`] admits its owner alone, and the owner decides about further
/// users.
pub(crate) fn let_in_the_same(_: &File, _: &Metadata) -> io::Result<()> {
    Ok(())
}

/// Reads from `offset`.
pub(crate) fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    file.seek_read(buffer, offset)
}

/// Writes at `offset`.
pub(crate) fn write_at(file: &File, mut bytes: &[u8], mut offset: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        let written = file.seek_write(bytes, offset)?;
        if written == 0 {
            return Err(ErrorKind::WriteZero.into());
        }
        bytes = &bytes[written..];
        offset += written as u64;
    }
    Ok(())
}

/// Does nothing. Windows writes a dump of a crashed program only if an administrator asked for it. Windows
/// has no counterpart of Linux's `PR_SET_DUMPABLE`, which closes the memory to other processes of the same
/// user.
pub(crate) fn close_memory() {}

/// Makes the console obey escape sequences. Returns whether it does: the consoles before Windows 10 cannot.
pub fn enable_escapes() -> bool {
    [Console::stdout(), Console::stderr()]
        .into_iter()
        .flatten()
        .any(|mut console| console.set_virtual_terminal_processing(true).is_ok())
}

/// Returns `true`: Windows keeps only the id of a parent, which another process may have after the parent's
/// end. GitHub's runner ends all processes of a step that it kills, including this one (`ProcessInvoker.cs`,
/// `KillProcessTree`).
pub(crate) fn follow(_: u32) -> bool {
    true
}

/// Prepares a command whose process outlives this one. The process inherits only its standard streams.
///
/// A new process gets every handle that processes may inherit, and the runner waits until the last holder of
/// the job's log has closed it. The standard streams of this process are such handles. So this function
/// replaces them with copies that no process inherits.
pub(crate) fn detach(command: &mut Command) -> io::Result<()> {
    command.creation_flags(NO_WINDOW);
    FileDescriptor::redirect_stdio(&stdin(), StdioDescriptor::Stdin)
        .and_then(|_| FileDescriptor::redirect_stdio(&stdout(), StdioDescriptor::Stdout))
        .and_then(|_| FileDescriptor::redirect_stdio(&stderr(), StdioDescriptor::Stderr))
        .map(drop)
        .map_err(|error| io::Error::other(error.to_string()))
}

/// The signals that end a job. The console sends them to all of its processes.
pub(crate) struct Signals {
    c: CtrlC,
    /// Ctrl-Break. GitHub's runner sends it 7.5 s after Ctrl-C.
    r#break: CtrlBreak,
    close: CtrlClose,
    shutdown: CtrlShutdown,
}

impl Signals {
    /// Starts to listen. From now on, neither Ctrl-C nor Ctrl-Break ends the process. After the end of the
    /// console or of the system, Windows ends the process within seconds.
    pub(crate) fn listen() -> io::Result<Self> {
        Ok(Self {
            c: ctrl_c()?,
            r#break: ctrl_break()?,
            close: ctrl_close()?,
            shutdown: ctrl_shutdown()?,
        })
    }

    /// Waits for the next signal.
    pub(crate) async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.c.recv() => Signal::Int,
            _ = self.r#break.recv() => Signal::Quit,
            _ = self.close.recv() => Signal::Hup,
            _ = self.shutdown.recv() => Signal::Term,
        }
    }
}

impl Signal {
    /// The name by which people know the signal.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Int => "Ctrl-C",
            Self::Term => "shutdown",
            Self::Hup => "the console was closed",
            Self::Quit => "Ctrl-Break",
        }
    }
}
