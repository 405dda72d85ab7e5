//! The output of a job's processes. A test can read it while the job writes it.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The unmasked output.
#[derive(Default)]
pub(super) struct Raw {
    bytes: Mutex<Vec<u8>>,
    grown: Condvar,
}

impl Raw {
    pub(super) fn push(&self, bytes: &[u8]) {
        self.bytes().extend_from_slice(bytes);
        self.grown.notify_all();
    }

    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes()).into_owned()
    }

    /// Blocks until `what` returns a value. Calls `what` at once, and again after new output.
    ///
    /// # Panics
    ///
    /// If `what` returns no value within `timeout`.
    pub(super) fn wait_for<T>(&self, timeout: Duration, what: impl Fn(&str) -> Option<T>) -> T {
        let deadline = Instant::now() + timeout;
        let mut bytes = self.bytes();
        loop {
            let text = String::from_utf8_lossy(&bytes);
            if let Some(found) = what(&text) {
                return found;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let text = text.into_owned();
                drop(bytes);
                panic!(
                    "the expected output did not appear within {} s; the log is:\n{text}",
                    timeout.as_secs_f64()
                );
            }
            bytes = self
                .grown
                .wait_timeout(bytes, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    fn bytes(&self) -> MutexGuard<'_, Vec<u8>> {
        self.bytes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
