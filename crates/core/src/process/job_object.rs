//! Runs a program in a job object of its own. If this process ends before the program, Windows ends all
//! processes in the job object.

use tokio::process::{Child, Command};
use win32job::{ExtendedLimitInfo, Job};

/// Keeps the console's Ctrl-C from the program, so that this process decides when the program ends
/// (`CREATE_NEW_PROCESS_GROUP`).
const OWN_GROUP: u32 = 0x0000_0200;

/// A running program with all its children. Windows ends all of them if this value is dropped before
/// [`Group::has_ended`], or if this process ends.
pub(crate) struct Group(Option<Job>);

impl Group {
    /// Prepares the command of a program that leads a group.
    pub(crate) fn lead(command: &mut Command) {
        command.creation_flags(OWN_GROUP).kill_on_drop(true);
    }

    /// The group that `leader` leads. Without a job object, the children of the program outlive it, and the
    /// program outlives a killed jobpass.
    pub(crate) fn of(leader: &Child) -> Self {
        let mut limits = ExtendedLimitInfo::new();
        limits.limit_kill_on_job_close();
        let job = Job::create_with_limit_info(&limits).ok();
        Self(job.filter(|job| {
            let leader = leader.raw_handle();
            leader.is_some_and(|leader| job.assign_process(leader as isize).is_ok())
        }))
    }

    /// Records that the program has ended. Its children may still run.
    pub(crate) fn has_ended(&self) {
        if let Some(job) = &self.0 {
            let _ = job.set_extended_limit_info(&ExtendedLimitInfo::new());
        }
    }
}
