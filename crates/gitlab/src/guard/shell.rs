//! The shell that runs a job's script.

use std::{os::fd::OwnedFd, thread, time::Duration};

use rustix::{
    event::{PollFd, PollFlags, poll},
    io::retry_on_intr,
    process::{Pid, test_kill_process},
};
use tokio::task::JoinHandle;

use crate::process::{self, Ancestor};

const SHELLS: [&str; 7] = ["sh", "bash", "dash", "ash", "busybox", "ksh", "zsh"];
/// The time between two looks at a process whose end the kernel does not report.
const LOOK: Duration = Duration::from_millis(250);

/// The process id of the shell that runs the job's script.
///
/// A runner runs the script in a child that its shell forks, as in `: | eval '...'`: that child has the same arguments as the
/// shell. A script that calls this program from another script has more shells in between. Elsewhere, it is the parent.
pub(super) fn of_script() -> u32 {
    let shells = process::ancestors().take_while(|ancestor| is_shell(ancestor.program()));
    let shells = shells.collect::<Vec<_>>();
    forked(&shells).unwrap_or_else(std::os::unix::process::parent_id)
}

fn is_shell(program: &str) -> bool {
    SHELLS.contains(&program.trim_start_matches('-'))
}

/// The outermost of the first processes, from the inside, that were forked from a shell with the same arguments.
fn forked(shells: &[Ancestor]) -> Option<u32> {
    let same = |pair: &[Ancestor]| matches!(pair, [child, parent] if child.arguments == parent.arguments);
    let first = shells.windows(2).position(same)?;
    let pairs = shells[first..].windows(2).take_while(|pair| same(pair));
    pairs.last().map(|pair| pair[0].pid)
}

/// Waits for the end of a process, on a thread of its own.
pub(super) struct Watch(JoinHandle<()>);

impl Watch {
    pub(super) fn new(pid: u32) -> Self {
        let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
        let process = pid.map(|pid| (pid, descriptor(pid)));
        Self(tokio::task::spawn_blocking(move || match process {
            Some((_, Some(descriptor))) => {
                let mut ended = [PollFd::new(&descriptor, PollFlags::IN)];
                let _ = retry_on_intr(|| poll(&mut ended, None));
            }
            Some((pid, None)) => {
                while test_kill_process(pid).is_ok() {
                    thread::sleep(LOOK);
                }
            }
            None => {}
        }))
    }

    /// Resolves when the process has ended, once.
    pub(super) async fn ended(&mut self) {
        let _ = (&mut self.0).await;
    }
}

/// Belongs to this process, and to no later one of the same number. Linux 5.3 and later.
#[cfg(target_os = "linux")]
fn descriptor(pid: Pid) -> Option<OwnedFd> {
    rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).ok()
}

#[cfg(not(target_os = "linux"))]
fn descriptor(_: Pid) -> Option<OwnedFd> {
    None
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::in_the_script(&["bash -l", "bash -l"], Some(1))]
    #[case::in_a_substitution(&["bash -l", "bash -l", "bash -l"], Some(2))]
    #[case::in_a_script_of_its_own(&["sh mint.sh", "bash -l", "bash -l"], Some(2))]
    #[case::in_a_substitution_of_a_script_of_its_own(&["sh mint.sh", "sh mint.sh", "bash -l", "bash -l"], Some(1))]
    #[case::of_busybox(&["busybox sh", "busybox sh"], Some(1))]
    #[case::not_forked(&["sh script.sh", "sh -c x"], None)]
    #[case::no_shell_above(&["bash"], None)]
    #[case::none(&[], None)]
    fn the_shell_that_runs_the_script(#[case] above: &[&str], #[case] expected: Option<u32>) {
        let above = (1..).zip(above).map(|(pid, arguments)| Ancestor {
            pid,
            arguments: arguments.replace(' ', "\0"),
        });
        assert_eq!(forked(&above.collect::<Vec<_>>()), expected);
    }

    #[rstest]
    #[case("-bash", true)]
    #[case("busybox", true)]
    #[case("node", false)]
    #[case("", false)]
    fn shells(#[case] program: &str, #[case] is: bool) {
        assert_eq!(is_shell(program), is);
    }
}
