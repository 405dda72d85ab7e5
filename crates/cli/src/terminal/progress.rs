//! What a person sees while a verb waits: a bar on a terminal, in a log a line now and then.

use std::{
    io::{Write as _, stderr},
    pin::pin,
    time::{Duration, Instant},
};

use tokio::time::sleep;

use crate::terminal::{output, screen::Screen};

/// Between two lines in a log.
const NOW_AND_THEN: Duration = Duration::from_secs(60);
/// What a person at a terminal does not wait for without asking why; and what is worth a line in a log.
const NOTICEABLE: Duration = Duration::from_secs(1);
const LONG: Duration = Duration::from_secs(10);
/// How often a bar is worth drawing anew.
pub(crate) const TICK: Duration = Duration::from_millis(500);

/// On standard error: the result is on standard output.
pub(crate) struct Progress {
    screen: Screen,
    last: Option<Instant>,
}

impl Progress {
    pub(crate) fn new() -> Self {
        Self {
            screen: output::log_screen(),
            last: None,
        }
    }

    /// Does `work`, which takes `longest` at most and mostly far less: only somebody who would begin to wonder sees anything.
    pub(crate) async fn during<T>(
        mut self,
        text: &str,
        longest: Duration,
        work: impl Future<Output = T>,
    ) -> T {
        let started = Instant::now();
        let mut work = pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return done,
                () = sleep(TICK) => {}
            }
            let took = started.elapsed();
            if took >= if self.screen.smart { NOTICEABLE } else { LONG } {
                self.show(took.as_secs_f64() / longest.as_secs_f64(), text);
            }
        }
    }

    /// So much (0 to 1) of the wait is over.
    pub(crate) fn show(&mut self, part: f64, text: &str) {
        if self.screen.smart {
            let _ = write!(stderr(), "\r\x1b[2K{}", self.screen.bar(part, text));
            self.last = Some(Instant::now());
        } else if self.last.is_none_or(|last| last.elapsed() >= NOW_AND_THEN) {
            output::note(text);
            self.last = Some(Instant::now());
        }
    }

    /// The wait is over; the next one begins anew.
    pub(crate) fn clear(&mut self) {
        if self.last.take().is_some() && self.screen.smart {
            let _ = stderr().write_all(b"\r\x1b[2K");
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}
