//! The named pipe between a job's shell and the filter. It exists until the filter has written all text.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
    sync::mpsc,
    thread,
    time::Duration,
};

use jobpass_mask::Masker;
use rustix::{fs::OFlags, io::Errno};

use super::FILTER;

/// The time limit for the shell to open the pipe, counted from the start of the filter.
const BEGINNING: Duration = Duration::from_secs(10);
/// The pause between two checks of whether the filter has written all text.
const LOOK: Duration = Duration::from_millis(2);

/// Masks the output of a job, up to the mark that its shell writes at the end.
pub(super) fn mask(masker: Masker, pipe: &Path, mark: &str, output: &mut File) -> io::Result<()> {
    let masked = open(pipe).and_then(|log| {
        // The shell waits until no process reads the pipe. By then the journal must be gone.
        let reading = log.try_clone()?;
        let masked = jobpass_mask::copy_to_mark(masker, log, mark, output);
        remove(pipe);
        drop(reading);
        masked
    });
    remove(pipe);
    masked
}

/// Frees a shell that waits for a filter which did not start. The shell stops when it writes to the pipe.
pub(super) fn refuse(pipe: &Path) {
    let _ = open(pipe);
    remove(pipe);
}

/// Removes the filter's journal and the pipe. Ignores failures, because the job's temporary folder may no
/// longer exist.
fn remove(pipe: &Path) {
    let _ = fs::remove_dir_all(pipe.with_extension(FILTER));
    let _ = fs::remove_file(pipe);
}

/// Ends the masking, and waits until the filter has written all text. The script may have redirected its
/// standard output, so this function opens the pipe by its name.
pub(super) fn end(pipe: &Path, mark: &str) -> io::Result<()> {
    let Some(mut writer) = writer(pipe)? else {
        return Ok(());
    };
    // The pipe may be full while the filter catches up. Without O_NONBLOCK, the write waits for room.
    rustix::fs::fcntl_setfl(&writer, OFlags::empty())?;
    writer.write_all(jobpass_mask::end_mark(mark).as_bytes())?;
    drop(writer);
    while self::writer(pipe)?.is_some() {
        thread::sleep(LOOK);
    }
    Ok(())
}

/// Opens the reading end, and waits until the shell opens the writing end. Gives up after [`BEGINNING`],
/// because the shell may have died.
fn open(pipe: &Path) -> io::Result<File> {
    let (sender, receiver) = mpsc::channel();
    let path = pipe.to_owned();
    thread::spawn(move || sender.send(File::open(path)));
    let opened = receiver.recv_timeout(BEGINNING);
    opened.unwrap_or_else(|_| {
        Err(io::Error::new(
            ErrorKind::TimedOut,
            "the job's shell did not open the pipe to the log filter within 10 s",
        ))
    })
}

/// Opens the writing end. `None` if no process reads the pipe, or if it no longer exists.
fn writer(pipe: &Path) -> io::Result<Option<File>> {
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    match OpenOptions::new().write(true).custom_flags(flags).open(pipe) {
        Ok(writer) => Ok(Some(writer)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) if error.raw_os_error() == Some(Errno::NXIO.raw_os_error()) => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;
    use crate::named_pipe;

    fn pipe() -> (std::path::PathBuf, tempfile::TempDir) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("pipe");
        named_pipe::make(&path).expect("a pipe");
        (path, folder)
    }

    #[test]
    fn the_end_waits_only_for_a_filter_that_reads() {
        let (path, _folder) = pipe();
        end(&path, "mark").expect("ended");
        fs::remove_file(&path).expect("removed");
        end(&path, "mark").expect("ended");
    }

    #[test]
    fn the_whole_output_is_shown_before_the_end() {
        let (path, folder) = pipe();
        let shown = folder.path().join("shown");
        let mut output = File::create(&shown).expect("a file");
        let filter = thread::spawn({
            let path = path.clone();
            move || mask(Masker::new(["s3cret-0123456789"]), &path, "mark", &mut output)
        });
        let mut shell = OpenOptions::new().write(true).open(&path).expect("a reader");
        shell.write_all(b"the s3cret-0123456789 is 1\n").expect("written");
        end(&path, "mark").expect("ended");
        let text = fs::read_to_string(shown).expect("text");
        assert!(
            text.starts_with("the ") && text.ends_with(" is 1\n") && !text.contains("s3cret"),
            "{text}"
        );
        filter.join().expect("no panic").expect("masked");
        assert!(!path.exists());
    }

    #[test]
    fn a_shell_without_a_filter_stops_when_it_writes() {
        let (path, _folder) = pipe();
        let refusing = thread::spawn({
            let path = path.clone();
            move || refuse(&path)
        });
        let mut shell = OpenOptions::new().write(true).open(&path).expect("it goes on");
        refusing.join().expect("no panic");
        // A program that another test starts has a copy of the reading end until it runs. The pipe has room for
        // all of these bytes.
        let written = (0..10_000).find_map(|_| {
            thread::yield_now();
            shell.write_all(b"text").err()
        });
        assert_eq!(written.map(|error| error.kind()), Some(ErrorKind::BrokenPipe));
        assert!(File::open(&path).map(|mut file| file.read(&mut [0])).is_err());
    }
}
