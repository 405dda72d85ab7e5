//! Windows.
//!
//! Access lists take the place of modes. A file inherits the list of its folder, and on many machines this lets
//! every user read it: `C:\actions-runner` lets in all users, and so does `D:\a` of GitHub's runners. So a file
//! with a secret gets a list of its own, by `icacls`, which belongs to Windows.

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

/// Opens a link itself, and not its target (`FILE_FLAG_OPEN_REPARSE_POINT`).
const THE_LINK_ITSELF: u32 = 0x0020_0000;
/// A console that no window shows (`CREATE_NO_WINDOW`). It gets no Ctrl-C of another console.
const NO_WINDOW: u32 = 0x0800_0000;
/// All rights for the owner of the file, whose name this does not need to know (`OWNER RIGHTS`). The list names
/// nobody else, and the folder adds nobody.
const FOR_THE_OWNER: [&str; 3] = ["/inheritance:r", "/grant:r", "*S-1-3-4:F"];
/// The same for a folder, and for all that is created in it.
const FOR_THE_OWNER_OF_A_FOLDER: [&str; 3] = ["/inheritance:r", "/grant:r", "*S-1-3-4:(OI)(CI)F"];

/// The name under which a variable is kept: Windows does not distinguish `Path` and `PATH`.
pub(crate) fn variable(name: &str) -> Cow<'_, str> {
    Cow::Owned(name.to_uppercase())
}

/// The folders in which client-go looks for `.kube\config` (`util/homedir`).
pub(crate) fn homes(environment: &Environment) -> Result<Vec<PathBuf>, crate::Error> {
    lookup::homes_on_windows(environment)
}

/// Whether a program is named by a path, and not only by its name.
pub fn is_path(program: &OsStr) -> bool {
    let separates = |byte| b"/\\:".contains(byte);
    program.as_encoded_bytes().iter().any(separates)
}

/// The files that a path to a program may mean.
pub(crate) fn programs(path: PathBuf, environment: &Environment) -> Vec<PathBuf> {
    lookup::programs_on_windows(path, environment.get("PATHEXT"))
}

/// Whether the file may be a program. [`programs`] has tried the endings of programs already.
pub(crate) fn is_executable(path: &Path) -> bool {
    path.is_file()
}

/// The options for a file that may be no regular file. Windows opens pipes and devices without waiting.
pub(crate) fn without_waiting() -> OpenOptions {
    OpenOptions::new()
}

/// The options for a file that may be a link: this opens the link itself, which is no regular file.
pub(crate) fn without_following() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.custom_flags(THE_LINK_ITSELF);
    options
}

/// Creates a file that only this user can read. No other process can open it before it is closed, and so not
/// before its access list is right.
pub(crate) fn create_private(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .share_mode(0)
        .open(path)?;
    // A file system without access lists is not refused. `why_open_to_others` says so.
    let _ = icacls(path, FOR_THE_OWNER);
    Ok(file)
}

/// Opens a file for appending. Only this user can read a file that this creates, or that belongs to this
/// user.
pub(crate) fn append_private(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().append(true).create(true).open(path)?;
    // Whoever wrote to it first has limited the access.
    if file.metadata()?.len() == 0 {
        let _ = icacls(path, FOR_THE_OWNER);
    }
    Ok(file)
}

/// Creates a folder that only this user can read.
pub fn create_private_folder(path: &Path) -> io::Result<()> {
    fs::create_dir(path)?;
    let _ = icacls(path, FOR_THE_OWNER_OF_A_FOLDER);
    Ok(())
}

/// Creates a folder that only this user can read, and the folders above it.
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

/// Why other users can open a file of [`create_private`]. Some file systems keep no access lists.
pub(crate) fn why_open_to_others(path: &Path) -> Option<String> {
    let refused = icacls(path, FOR_THE_OWNER).err()?;
    Some(format!("Windows did not limit the access to it ({refused})"))
}

/// Lets `icacls` change the access list of a file. Windows finds the program in its own folder first.
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

/// Whether the file is this user's. A file of [`create_private`] can be replaced only by its owner, and by those
/// who may delete any file of its folder.
pub(crate) fn is_own(_: &Metadata) -> bool {
    true
}

/// Whether every user may rename files in the folder. A folder of [`create_private_folder`] can be renamed only
/// by its owner.
pub fn anybody_may_rename_in(_: &Path) -> bool {
    false
}

/// Gives a file its name, unless another file has it. A second name fails if there is one.
pub(crate) fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    fs::hard_link(from, to)?;
    remove_file(from)
}

/// Replaces a file as a whole.
pub(crate) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    patiently(|| fs::rename(from, to))
}

/// Removes a file. On some file systems, a file keeps its name until the last program has closed it. So this gives
/// it another name first: the renewer must see that its journal is gone.
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

/// Windows neither replaces nor removes a file while a program reads it, unless the program allows that. Clients
/// read a token's file in less than a millisecond.
fn patiently(act: impl Fn() -> io::Result<()>) -> io::Result<()> {
    /// ERROR_SHARING_VIOLATION
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

/// A number of a file that no other file has at the same time.
#[derive(PartialEq)]
pub(crate) struct Identity(u64, u64);

impl Identity {
    pub(crate) fn of(file: &File) -> io::Result<Self> {
        information(file).map(|file| Self(file.volume_serial_number(), file.file_index()))
    }

    /// The file at this path. This follows no link.
    pub(crate) fn at(path: &Path) -> io::Result<Self> {
        without_following()
            .read(true)
            .open(path)
            .and_then(|file| Self::of(&file))
    }
}

/// The number of names that the file at this path has.
pub(crate) fn names_of(path: &Path) -> io::Result<u64> {
    let file = without_following().read(true).open(path)?;
    information(&file).map(|file| file.number_of_links())
}

/// A file of [`create_private`] lets in its owner alone. Whom the other file lets in, this leaves to its owner.
pub(crate) fn let_in_the_same(_: &File, _: &Metadata) -> io::Result<()> {
    Ok(())
}

/// Reads from this offset.
pub(crate) fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    file.seek_read(buffer, offset)
}

/// Writes at this offset.
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

/// Windows writes a dump of a program that crashed only if an administrator asked for it, and has no way to
/// close the memory to other processes of the same user.
pub(crate) fn close_memory() {}

/// Makes the console obey escape sequences. Returns whether it does: the consoles of Windows before 10 cannot.
pub fn enable_escapes() -> bool {
    [Console::stdout(), Console::stderr()]
        .into_iter()
        .flatten()
        .any(|mut console| console.set_virtual_terminal_processing(true).is_ok())
}

/// Returns whether the process that started this one still runs. Windows does not say so. GitHub's runner ends
/// all processes of a step that it kills, and so this one (`ProcessInvoker.cs`, `KillProcessTree`).
pub(crate) fn follow(_: u32) -> bool {
    true
}

/// Prepares a command whose process outlives this one. Only its standard streams reach it.
///
/// A new process gets every handle that may be inherited, and the runner waits until the last holder of the
/// job's log has closed it. The caller of this process has made the handles of its standard streams so. So this
/// replaces them by copies that are not inherited.
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
    /// GitHub's runner sends it 7.5 s after Ctrl-C.
    r#break: CtrlBreak,
    close: CtrlClose,
    shutdown: CtrlShutdown,
}

impl Signals {
    /// Starts to listen. From now on, none of the signals ends the process.
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
