//! Keeps secrets inside the process.

use std::{
    cell::Cell,
    io::Write as _,
    panic::{AssertUnwindSafe, catch_unwind},
};

use super::system;
use crate::error::{Error, Kind};

/// Forbids core dumps on Linux and macOS, and ptrace by other processes of the same user on Linux. On every
/// system, makes a panic print its location without its message.
///
/// Call this first, before the program reads a secret. A refusal by the kernel is not an error: a sandbox may
/// forbid these system calls, and a job must not fail because of that.
pub fn harden() {
    system::close_memory();
    // The default hook prints the panic's message, which may quote a secret.
    std::panic::set_hook(Box::new(|panic| {
        if IS_EXPECTED.get() {
            return;
        }
        let at = panic
            .location()
            .map_or_else(|| "an unknown place".into(), ToString::to_string);
        let _ = writeln!(
            std::io::stderr(),
            "jobpass: a defect: panicked at {at}; please report it (the message is withheld: it might quote a secret)"
        );
    }));
}

thread_local! {
    /// Whether [`catch`] catches a panic of this thread.
    static IS_EXPECTED: Cell<bool> = const { Cell::new(false) };
}

/// Runs a parser that panics on some wrong inputs. Returns `None` after a panic. Prints nothing about the
/// panic, because the fault is in the input, not in this program.
pub(crate) fn catch<T>(parse: impl FnOnce() -> T) -> Option<T> {
    IS_EXPECTED.set(true);
    let parsed = catch_unwind(AssertUnwindSafe(parse));
    IS_EXPECTED.set(false);
    parsed.ok()
}

/// Makes Linux send SIGTERM to this process when its parent, `parent`, ends. If SIGKILL ends the parent, it
/// cannot forward the cancellation of the job. This process would then mint a token that nobody uses.
///
/// # Errors
/// If `parent` has already ended. On Windows, there is no error.
pub fn follow(parent: u32) -> Result<(), Error> {
    if !system::follow(parent) {
        return Err(Error::new(
            Kind::Terminated,
            "the process that started this one has ended",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parser_that_panics_gives_nothing_and_the_next_panic_is_a_defect_again() {
        assert_eq!(catch(|| "parsed"), Some("parsed"));
        assert_eq!(catch(|| -> () { panic!("as a test") }), None);
        assert!(!IS_EXPECTED.get());
    }

    #[test]
    fn a_process_whose_parent_is_gone_does_not_begin() {
        let nobody = std::process::id();
        assert_eq!(follow(nobody).expect_err("refused").kind(), Kind::Terminated);
    }
}
