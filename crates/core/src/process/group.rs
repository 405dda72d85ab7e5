//! A program in a process group of its own, which does not outlive this process.

use std::{
    cell::Cell,
    io::Write as _,
    os::unix::process::CommandExt as _,
    process::{Child, Command, Stdio},
};

use rustix::process::{Pid, Signal, kill_process_group};

/// Waits for a line. If the pipe ends without one, the process at its other end was killed, and the group of `$1` has to end.
///
/// A parent-death signal would do that for the program alone, and not for what it has started. It also takes `unsafe` code between
/// fork and exec.
const WATCH: &str = r#"read -r _ || kill -9 "-$1""#;

/// A program that runs, with all that it has started. If this is dropped before [`Group::has_ended`], or if this process is killed, all
/// of them are killed.
pub(crate) struct Group {
    leader: Cell<Option<Pid>>,
    /// `None` if the machine has no shell. Then the group outlives this process if that is killed.
    watcher: Option<Child>,
}

impl Group {
    /// The group that the process `leader` leads.
    pub(crate) fn of(leader: Option<u32>) -> Self {
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
                // Whoever kills the group of this process must not kill the watcher first.
                .process_group(0)
                .spawn()
                .ok()
        });
        Self {
            leader: Cell::new(leader),
            watcher,
        }
    }

    /// The program has ended by itself. What it left behind may stay.
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
