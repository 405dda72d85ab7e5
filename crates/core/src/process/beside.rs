//! A second process of this program that runs beside the job, for example to renew or guard the job's token.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    process::{ChildStdout, Command, ExitStatus, Stdio},
    sync::mpsc::channel,
    thread,
    time::Duration,
};

use super::system;

/// The message with which a process says that it is ready.
const READY: &[u8] = b"\n";
/// The time limit for the process to become ready.
const STARTING: Duration = Duration::from_secs(5);
/// The greatest number of bytes of the process's output in an error.
const LONGEST_REASON: u64 = 4096;

/// The greatest length of the line that a process sends when it is ready, in bytes.
const LONGEST_LINE: u64 = 64 << 10;

/// The next step after an error of [`start`]. The reason in that error may be the process's own error, with
/// a step of its own.
pub const NEXT_STEP: &str = "if the reason names no step, check the machine's load, its free memory and its \
    limit for processes. Then run the job again";

/// Starts a new process of this program with these arguments, and with `input` on its standard input. Waits
/// until the new process calls [`ready`]. The new process inherits the environment, but no open files of this
/// process. So a runner that reads the job's log to its end does not wait for the new process.
///
/// # Errors
/// If the process does not start, if it ends or writes to its standard output before it calls [`ready`], or
/// if it is not ready within 5 s. The error contains the output of the process, but no more than 4 KiB of it.
pub fn start(arguments: &[&str], input: &str) -> io::Result<()> {
    spawn(Command::new(std::env::current_exe()?).args(arguments), input).map(drop)
}

/// Like [`start`]. Returns the line that the process sends when it is ready, cut after 64 KiB. The line is
/// empty if the process sends none.
///
/// # Errors
/// As [`start`]. Also if the read of the line fails, or if the line is not UTF-8.
pub(crate) fn start_and_hear(arguments: &[&str], input: &str) -> io::Result<String> {
    let output = spawn(Command::new(std::env::current_exe()?).args(arguments), input)?;
    let mut line = String::new();
    let output = output.map(|output| BufReader::new(output.take(LONGEST_LINE)));
    output.map_or(Ok(0), |mut output| output.read_line(&mut line))?;
    Ok(line)
}

fn spawn(command: &mut Command, input: &str) -> io::Result<Option<ChildStdout>> {
    system::detach(command)?;
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        // If the child does not read its input, it ends and says why.
        let _ = stdin.write_all(input.as_bytes());
    }
    let (Some(mut output), Some(error)) = (child.stdout.take(), child.stderr.take()) else {
        return Ok(None);
    };
    // This waits, because a signal to this process's group could end the new process before it is ready.
    let (first, answer) = channel();
    let reader = thread::spawn(move || {
        let mut said = Vec::new();
        let read = output.by_ref().take(1).read_to_end(&mut said);
        let _ = first.send(said == READY);
        (read.map(|_| said), output)
    });
    let answered = answer.recv_timeout(STARTING);
    if answered == Ok(true) {
        return Ok(reader.join().ok().map(|(_, output)| output));
    }
    child.kill()?;
    let status = child.wait()?;
    let Ok((said, output)) = reader.join() else {
        return Err(io::Error::other("the thread that reads its output panicked"));
    };
    let said = words(said?, output, error)?;
    Err(io::Error::other(reason(said.trim(), status, answered.is_ok())))
}

/// The output of a process that did not become ready, or not in time.
fn words(mut said: Vec<u8>, output: impl Read, error: impl Read) -> io::Result<String> {
    // A process that became ready too late may have sent a secret after `READY`. The text goes into a log, so
    // it holds nothing of that output.
    if said == READY {
        error.take(LONGEST_REASON).read_to_end(&mut said)?;
    } else {
        output.chain(error).take(LONGEST_REASON).read_to_end(&mut said)?;
    }
    Ok(String::from_utf8_lossy(&said).into_owned())
}

/// The reason why the process did not become ready. If the process gave no answer, the reason leaves out its
/// status, because [`start`] killed it.
fn reason(said: &str, status: ExitStatus, answered: bool) -> String {
    let end = match answered {
        true => status.to_string(),
        false => format!("the process was not ready within {} s", STARTING.as_secs()),
    };
    match said {
        "" => end,
        said => format!("{said} ({end})"),
    }
}

/// Tells the process that called [`start`], at the other end of `output`, that this process is ready.
pub fn ready(mut output: impl Write) {
    let _ = output.write_all(READY).and_then(|()| output.flush());
}

/// Like [`ready`], for the caller of [`start_and_hear`], which also gets this line.
pub(crate) fn ready_and_say(mut output: impl Write, line: &str) {
    let _ = output
        .write_all(&[READY, line.as_bytes(), b"\n"].concat())
        .and_then(|()| output.flush());
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;

    use rstest::rstest;

    use super::*;

    /// The result of a shell that runs this line with `state` on its standard input.
    fn started(line: &str) -> Result<(), String> {
        spawn(Command::new("sh").args(["-c", line]), "state")
            .map(drop)
            .map_err(|error| error.to_string())
    }

    #[rstest]
    #[case::ready("test \"$(cat)\" = state && echo", Ok(()))]
    #[case::ready_before_it_reads("echo; cat > /dev/null", Ok(()))]
    #[case::a_failure(
        "cat > /dev/null; echo no state was given >&2; exit 7",
        Err("no state was given (exit status: 7)")
    )]
    #[case::without_a_word("cat > /dev/null", Err("exit status: 0"))]
    #[case::without_reading("exec 0<&-; exit 3", Err("exit status: 3"))]
    fn only_a_process_that_says_so_is_ready(#[case] line: &str, #[case] expected: Result<(), &str>) {
        assert_eq!(
            started(line).as_ref().map_err(|why| &**why),
            expected.as_ref().map_err(|why| *why)
        );
    }

    #[test]
    fn a_program_that_says_something_else_is_not_ready() {
        let why = started("printf usage; exec sleep 60").expect_err("it is not ready");
        assert!(why.starts_with("usage ("), "{why}");
    }

    /// A process that runs a proxy sends the proxy's bearer when it is ready.
    #[rstest]
    #[case::too_late("\n", "\nwarning")]
    #[case::not_ready("u", "usagewarning")]
    fn the_secret_of_a_process_that_is_late_is_not_shown(#[case] first: &str, #[case] shown: &str) {
        let rest = if first == "u" { "sage" } else { "secret" };
        let words = words(first.into(), rest.as_bytes(), "warning".as_bytes());
        assert_eq!(words.expect("read"), shown);
    }

    /// jobpass itself kills a process that gives no answer. The status of that process would make a person
    /// look for an out-of-memory killer.
    #[rstest]
    #[case(true, "", "signal: 9 (SIGKILL)")]
    #[case(false, "", "the process was not ready within 5 s")]
    #[case(
        false,
        "waiting for the disk",
        "waiting for the disk (the process was not ready within 5 s)"
    )]
    fn a_process_that_hangs_is_not_said_to_be_killed(
        #[case] answered: bool,
        #[case] said: &str,
        #[case] why: &str,
    ) {
        assert_eq!(reason(said, ExitStatus::from_raw(9), answered), why);
    }
}
