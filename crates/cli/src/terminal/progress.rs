//! The progress of a wait: a bar on a terminal, and a line from time to time in a log.

use std::{
    io::{Write as _, stderr},
    pin::pin,
    time::{Duration, Instant},
};

use tokio::time::sleep;

use crate::terminal::{output, screen::Screen};

/// The time between two lines in a log.
const LOG_INTERVAL: Duration = Duration::from_secs(60);
/// The wait after which a person at a terminal sees a bar.
const TERMINAL_DELAY: Duration = Duration::from_secs(1);
/// The wait after which a log gets a line.
const LOG_DELAY: Duration = Duration::from_secs(10);
/// The time between two drawings of a bar.
pub(crate) const TICK: Duration = Duration::from_millis(500);

/// The progress of a wait, as a bar or in lines. It goes to standard error, because standard output belongs
/// to the result.
pub(crate) struct Progress {
    screen: Screen,
    last_shown: Option<Instant>,
}

impl Progress {
    /// Progress on the screen of the log.
    pub(crate) fn new() -> Self {
        Self {
            screen: output::log_screen(),
            last_shown: None,
        }
    }

    /// Runs `work`, which takes at most `longest`. Shows `text` if the wait is long enough for a person to
    /// notice.
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
            let delay = match self.screen.escapes {
                true => TERMINAL_DELAY,
                false => LOG_DELAY,
            };
            if took >= delay {
                self.show(took.as_secs_f64() / longest.as_secs_f64(), text);
            }
        }
    }

    /// Shows the progress: `part` (0 to 1) is the fraction of the wait that is over.
    pub(crate) fn show(&mut self, part: f64, text: &str) {
        if self.screen.escapes {
            let _ = write!(stderr(), "\r\x1b[2K{}", self.screen.bar(part, text));
            self.last_shown = Some(Instant::now());
        } else if is_due(self.last_shown.map(|last| last.elapsed())) {
            output::note(text);
            self.last_shown = Some(Instant::now());
        }
    }

    /// Erases the bar. The next wait starts with a new bar.
    pub(crate) fn clear(&mut self) {
        if self.last_shown.take().is_some() && self.screen.escapes {
            let _ = stderr().write_all(b"\r\x1b[2K");
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}

/// Whether the log gets another line. `since_last` is the time since the last one.
fn is_due(since_last: Option<Duration>) -> bool {
    since_last.is_none_or(|since| since >= LOG_INTERVAL)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_has_a_line_a_minute() {
        assert!(is_due(None));
        assert!(!is_due(Some(Duration::from_secs(59))));
        assert!(is_due(Some(Duration::from_secs(60))));
    }
}
