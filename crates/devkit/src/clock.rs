//! The cluster's clock. It shows real time, and tests can move it.

use std::sync::Mutex;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jiff::Timestamp;

#[derive(Default)]
pub(crate) struct Clock {
    ahead: Mutex<Duration>,
}

impl Clock {
    pub(crate) fn advance(&self, by: Duration) {
        *self
            .ahead
            .lock()
            .expect("nothing panics while it holds the clock") += by;
    }

    /// The time since 1970.
    pub(crate) fn now(&self) -> Duration {
        let real = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .expect("this machine's clock is set");
        real + *self
            .ahead
            .lock()
            .expect("nothing panics while it holds the clock")
    }

    pub(crate) fn unix_seconds(&self) -> i64 {
        self.now().as_secs() as i64
    }
}

/// Formats a time as the Kubernetes API writes it: whole seconds, UTC.
pub(crate) fn rfc3339(unix_seconds: i64) -> String {
    Timestamp::from_second(unix_seconds)
        .map_or_else(|_| "0001-01-01T00:00:00Z".to_owned(), |time| time.to_string())
}

/// Formats a time for HTTP's `Date` header.
pub(crate) fn http_date(unix_seconds: i64) -> String {
    let time = Timestamp::from_second(unix_seconds).unwrap_or_default();
    time.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

pub(crate) fn parse_http_date(text: &str) -> Option<i64> {
    let time = jiff::fmt::rfc2822::parse(text).ok()?;
    Some(time.timestamp().as_second())
}
