//! Keeps secrets inside the process.

use std::io::Write as _;

use crate::error::{Error, Kind};

/// No core dumps, no ptrace by other processes of the same user, and panics that print where but not what.
///
/// Call it first, before a secret is read. Best effort where the kernel says no: a sandbox may forbid either call, and
/// a job must not fail for that.
pub fn harden() {
    let none = rustix::process::Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    let _ = rustix::process::setrlimit(rustix::process::Resource::Core, none);
    // Also closes /proc/PID/environ and /proc/PID/mem to other processes of the same user (prctl(2)).
    #[cfg(target_os = "linux")]
    let _ = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);

    // The default hook prints the panic's message, which may quote a secret.
    std::panic::set_hook(Box::new(|panic| {
        let at = panic
            .location()
            .map_or_else(|| "an unknown place".into(), ToString::to_string);
        let _ = writeln!(
            std::io::stderr(),
            "jobpass: a defect: panicked at {at}; please report it (the message is withheld: it might quote a secret)"
        );
    }));
}

/// Ends with SIGTERM when the process `parent`, which started this one, ends: killed outright, it could not pass that on,
/// and this one would go on minting for nobody.
///
/// # Errors
/// If it has ended already.
pub fn follow(parent: u32) -> Result<(), Error> {
    #[cfg(target_os = "linux")]
    let _ = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::TERM));
    if std::os::unix::process::parent_id() != parent {
        return Err(Error::new(
            Kind::Terminated,
            "the process that started this one has ended",
        ));
    }
    Ok(())
}
