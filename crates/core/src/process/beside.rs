//! A second process of this program that runs beside the job, and renews or guards its token.

use std::{
    io::{self, Read as _, Write},
    process::{Command, Stdio},
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::retry_on_intr,
};

/// The message with which that process says that it is ready.
const READY: &[u8] = b"\n";
/// The longest time until that process is ready.
const STARTING: Duration = Duration::from_secs(5);
/// The number of bytes of its output that are shown if it does not become ready.
const LONGEST_REASON: u64 = 4096;

/// Starts this program with these arguments, and with `input` on its standard input, and waits until it is
/// [`ready`]. It inherits the environment, and no descriptor: neither a job's log nor a runner waits for its
/// end.
///
/// # Errors
/// If the process cannot be started, or ends at once. The error then holds its output.
pub fn start(arguments: &[&str], input: &str) -> io::Result<()> {
    // A shell may have given descriptors to this process, of the job's log perhaps. They must not stay open
    // that long.
    close_fds::set_fds_cloexec_threadsafe(3, &[]);
    let mut child = Command::new(std::env::current_exe()?)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        // A child that does not read its input ends, and says why.
        let _ = stdin.write_all(input.as_bytes());
    }
    let (Some(mut output), Some(error)) = (child.stdout.take(), child.stderr.take()) else {
        return Ok(());
    };
    // Until it is ready, it could end with the process that started this one.
    let patience = Timespec::try_from(STARTING).ok();
    let mut said = Vec::new();
    let answered = retry_on_intr(|| poll(&mut [PollFd::new(&output, PollFlags::IN)], patience.as_ref()));
    if answered? > 0 {
        output.by_ref().take(1).read_to_end(&mut said)?;
    }
    if said == READY {
        return Ok(());
    }
    child.kill()?;
    let status = child.wait()?;
    output.chain(error).take(LONGEST_REASON).read_to_end(&mut said)?;
    let why = String::from_utf8_lossy(&said);
    Err(io::Error::other(format!("{} ({status})", why.trim())))
}

/// Tells [`start`] on the other end of `output` that nothing keeps this process from its work.
pub fn ready(mut output: impl Write) {
    let _ = output.write_all(READY).and_then(|()| output.flush());
}
