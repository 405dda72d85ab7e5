//! The shell that runs a job's script.

use std::{
    os::{fd::OwnedFd, unix::process::parent_id},
    thread,
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, poll},
    io::retry_on_intr,
    process::{Pid, test_kill_process},
};
use tokio::task::JoinHandle;

use crate::process::{self, Ancestor};

const SHELLS: [&str; 7] = ["sh", "bash", "dash", "ash", "busybox", "ksh", "zsh"];
/// The time between two looks at a process, if the kernel cannot report its end.
const LOOK: Duration = Duration::from_millis(250);

/// The greatest number of processes above the script's shell in a container: the shell that forked it, and an
/// init process. Outside of a container, the runner is above them as well.
const OF_CONTAINER: usize = 2;

/// The shell that runs the job's script.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Script {
    pub(super) pid: u32,
    /// The id of the process that forked the script's shell, or of that shell itself if no shell forked it.
    /// `$$` has this value in the script.
    pub(crate) id: u32,
    /// Whether the script's shell, or a fork of it, called this program. `false` if another script in between
    /// called it.
    pub(crate) calls: bool,
    /// Whether the script may run in a container. All processes of the container then end soon after the
    /// script's shell.
    pub(crate) may_end_container: bool,
}

impl Script {
    /// Finds the shell among the processes above this one.
    ///
    /// A runner's shell forks a child for the script, as in `: | eval '...'`. The child has the same
    /// arguments as the shell. Other programs and shells may stand between the child and this program:
    /// `timeout 60 sh mint.sh`. Without such a child, this function finds the nearest shell, or else the
    /// parent of this program.
    pub(crate) fn find() -> Self {
        Self::among(&process::ancestors().collect::<Vec<_>>()).unwrap_or_else(|| Self {
            pid: parent_id(),
            id: parent_id(),
            calls: true,
            may_end_container: true,
        })
    }

    /// Finds the script's shell among these processes, the innermost first. `None` if no process is a shell.
    /// The shells above `gitlab-runner` do not count, because they belong to the person or service that
    /// started it.
    fn among(all: &[Ancestor]) -> Option<Self> {
        let runner = all
            .iter()
            .position(|ancestor| ancestor.program() == "gitlab-runner");
        let ancestors = &all[..runner.unwrap_or(all.len())];
        let nearest = ancestors.iter().position(is_shell)?;
        let (script, shell) = forked(ancestors).map_or((nearest, nearest), |child| (child, child + 1));
        let same = |ancestor: &Ancestor| ancestor.arguments == ancestors[script].arguments;
        Some(Self {
            pid: ancestors[script].pid,
            id: ancestors[shell].pid,
            calls: ancestors[nearest..=script].iter().all(same),
            may_end_container: all.len() - script - 1 <= OF_CONTAINER,
        })
    }
}

fn is_shell(ancestor: &Ancestor) -> bool {
    SHELLS.contains(&ancestor.program().trim_start_matches('-'))
}

/// The index of the child that the runner's shell forked. The child has the same arguments as that shell.
///
/// A job's own script may fork such children as well. A runner gives its shell a process group of its own, so
/// this function prefers the nearest child whose parent leads the child's group.
fn forked(ancestors: &[Ancestor]) -> Option<usize> {
    let same = |one: &Ancestor, other: &Ancestor| is_shell(one) && one.arguments == other.arguments;
    let mut end = 0;
    let runs = ancestors.chunk_by(same).filter_map(|run| {
        end += run.len();
        (run.len() > 1).then(|| end - 2)
    });
    let forked = runs.collect::<Vec<_>>();
    let leads = |child: &&usize| {
        let (child, parent) = (&ancestors[**child], &ancestors[**child + 1]);
        parent.group == parent.pid && child.group == parent.group
    };
    forked.iter().find(leads).or(forked.first()).copied()
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

    /// Waits for the end of the process. Call this function only once.
    pub(super) async fn ended(&mut self) {
        let _ = (&mut self.0).await;
    }
}

/// A descriptor of the process (Linux 5.3 and later). Unlike an id, it never refers to a later process.
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

    /// Each case lists the processes from the innermost outwards: the id, the process group unless it is the
    /// script's, and the arguments. Process 9 leads the script's group.
    #[rstest]
    #[case::in_the_script(&["8 bash -l", "9 bash -l"], Some((8, true)))]
    #[case::in_a_substitution(&["7 bash -l", "8 bash -l", "9 bash -l"], Some((8, true)))]
    #[case::in_a_script_of_its_own(&["7 sh mint.sh", "8 bash -l", "9 bash -l"], Some((8, false)))]
    #[case::in_a_substitution_of_a_script_of_its_own(&["6 sh mint.sh", "7 sh mint.sh", "8 bash -l", "9 bash -l"], Some((8, false)))]
    #[case::below_another_program(&["7:7 timeout 60", "8 bash -l", "9 bash -l"], Some((8, true)))]
    #[case::below_several(&["5:5 sh mint.sh", "6:6 timeout 60", "7 make", "8 sh", "9 sh", "1:1 runner"], Some((8, false)))]
    #[case::of_busybox(&["8 busybox sh", "9 busybox sh"], Some((8, true)))]
    #[case::led_by_a_process_that_cannot_be_seen(&["8:0 sh", "1:0 sh"], Some((8, true)))]
    #[case::below_a_person_s_shells(&["8 bash", "9 bash", "4:4 runner", "3:3 bash", "2:2 bash"], Some((8, true)))]
    #[case::not_forked_below_a_person_s_shells(&["8 sh script.sh", "4:4 gitlab-runner run", "2:3 bash", "3:3 bash"], Some((8, true)))]
    #[case::not_forked(&["8 sh script.sh", "9 sh -c x"], Some((8, true)))]
    #[case::not_forked_below_another_program(&["7:7 timeout 60", "8 sh", "1:1 steps"], Some((8, true)))]
    #[case::no_shell(&["8 node", "9 node"], None)]
    #[case::none(&[], None)]
    fn the_shell_that_runs_the_script(#[case] above: &[&str], #[case] expected: Option<(u32, bool)>) {
        let found = Script::among(&ancestors(above)).map(|script| (script.pid, script.calls));
        assert_eq!(found, expected);
    }

    #[rstest]
    #[case::a_container(&["8 bash", "1:1 bash"], true)]
    #[case::a_container_with_an_init(&["8 bash", "7:7 bash", "1:1 tini"], true)]
    #[case::a_runner_s_machine(&["8 bash", "9 bash", "4:4 gitlab-runner", "1:1 systemd"], false)]
    #[case::a_runner_s_machine_below_another_program(&["7:7 timeout", "8 bash", "9 bash", "4:4 gitlab-runner", "1:1 init"], false)]
    fn a_shell_whose_end_may_end_the_container(#[case] above: &[&str], #[case] may: bool) {
        let script = Script::among(&ancestors(above)).expect("a shell");
        assert_eq!(script.may_end_container, may);
    }

    fn ancestors(above: &[&str]) -> Vec<Ancestor> {
        let above = above.iter().map(|text| {
            let (numbers, arguments) = text.split_once(' ').expect("arguments");
            let (pid, group) = numbers.split_once(':').unwrap_or((numbers, "9"));
            Ancestor {
                pid: pid.parse().expect("a number"),
                group: group.parse().expect("a number"),
                arguments: arguments.replace(' ', "\0"),
            }
        });
        above.collect()
    }

    #[rstest]
    #[case("-bash", true)]
    #[case("/bin/busybox", true)]
    #[case("node", false)]
    #[case("", false)]
    fn shells(#[case] program: &str, #[case] is: bool) {
        assert_eq!(is_shell(&ancestors(&[&format!("8 {program}")])[0]), is);
    }
}
