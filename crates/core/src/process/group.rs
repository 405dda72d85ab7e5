//! Runs a program in a process group of its own. If this process ends before the program, the group ends.

use std::{
    cell::Cell,
    io::Write as _,
    os::unix::process::CommandExt as _,
    process::{Child, Command, Stdio},
};

use rustix::process::{Pid, Signal, kill_process_group};

/// A script that waits for a line from this process. If the pipe ends without a line, somebody killed this
/// process, and the script kills the group of `$1`.
///
/// A parent-death signal would end only the program, and not its children. It also needs `unsafe` code
/// between fork and exec.
const WATCH: &str = r#"read -r _ || kill -9 "-$1""#;

/// A running program with all its children. They get SIGKILL if this value is dropped before
/// [`Group::has_ended`], or if somebody kills this process.
pub(crate) struct Group {
    leader: Cell<Option<Pid>>,
    /// The process that kills the group if somebody kills this process. `None` if it did not start, for
    /// example without `/bin/sh`. The group then outlives a killed jobpass.
    watcher: Option<Child>,
}

impl Group {
    /// Prepares the command of a program that leads a group.
    pub(crate) fn lead(command: &mut tokio::process::Command) {
        command.process_group(0);
    }

    /// The group that `leader` leads.
    pub(crate) fn of(leader: &tokio::process::Child) -> Self {
        Self::led_by(leader.id())
    }

    fn led_by(leader: Option<u32>) -> Self {
        let leader = leader
            .and_then(|pid| i32::try_from(pid).ok())
            .and_then(Pid::from_raw);
        let watcher = leader.and_then(|leader| {
            Command::new("/bin/sh")
                .args(["-c", WATCH, "sh", &leader.as_raw_nonzero().to_string()])
                .env_clear()
                .stdin(Stdio::piped())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                // If a signal kills the group of this process, the watcher must survive.
                .process_group(0)
                .spawn()
                .ok()
        });
        Self {
            leader: Cell::new(leader),
            watcher,
        }
    }

    /// Records that the program has ended. Its children may still run.
    pub(crate) fn has_ended(&self) {
        self.leader.set(None);
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(leader) = self.leader.get() {
            let _ = kill_process_group(leader, Signal::KILL);
        }
        if let Some(mut watcher) = self.watcher.take() {
            if let Some(mut pipe) = watcher.stdin.take() {
                let _ = pipe.write_all(b"\n");
            }
            let _ = watcher.wait();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader, Read as _};

    use rstest::rstest;

    use super::*;

    /// A shell that has started a child and leads a group. Both end when the shell's input ends.
    fn shell() -> (Child, BufReader<std::process::ChildStdout>) {
        let mut shell = Command::new("sh")
            .args(["-c", "exec 3<&0; cat <&3 & echo started; wait"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()
            .expect("a shell");
        let mut output = BufReader::new(shell.stdout.take().expect("a pipe"));
        let mut line = String::new();
        output.read_line(&mut line).expect("a line");
        assert_eq!(line, "started\n");
        (shell, output)
    }

    #[test]
    fn a_program_that_is_given_up_ends_with_all_that_it_has_started() {
        let (mut shell, mut output) = shell();
        drop(Group::led_by(Some(shell.id())));
        output
            .read_to_string(&mut String::new())
            .expect("both have ended");
        assert!(!shell.wait().expect("it has ended").success());
    }

    /// After the program has ended, another program may have the same process id.
    #[rstest]
    #[case::ended(true)]
    #[case::never_began(false)]
    fn a_group_without_a_program_kills_nothing(#[case] began: bool) {
        let (mut shell, _output) = shell();
        let group = Group::led_by(began.then(|| shell.id()));
        group.has_ended();
        drop(group);
        assert!(shell.wait().expect("it has ended").success());
    }
}
