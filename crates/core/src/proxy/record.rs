//! The record of a job's requests: a file with one line of JSON for each request.
//!
//! A line holds no body, no header, and no value from the query. The exception is the name of an object in a
//! field selector.

use std::{
    fs::File,
    io::{self, Write as _},
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    claims::account::Account,
    error::Error,
    process::{files::cannot_write, system::create_private_log},
    rbac::Request,
};

/// The greatest size of a record, in bytes: about 100,000 requests.
pub(crate) const LONGEST: usize = 16 << 20;
/// The greatest length of a line, in bytes. A request with a longer line ends the record.
const LONGEST_LINE: usize = 4 << 10;

/// A line of a record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Line {
    /// A request.
    Request(Box<Recorded>),
    /// The last line of an incomplete record.
    Cut {
        /// Always `true`.
        cut: bool,
    },
}

/// A request and its result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Recorded {
    /// The time at which the proxy got the request.
    pub time: Timestamp,
    /// The ServiceAccount of the job's token, as `NAMESPACE/NAME`.
    pub account: String,
    /// The request.
    #[serde(flatten)]
    pub request: Request,
    /// The status that the client got, from the API server or from the proxy itself. `None` if the client or
    /// the proxy closed the connection before the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The time until the end of the answer, in milliseconds.
    pub milliseconds: u64,
}

/// The writing end of a record.
pub(super) struct Record {
    account: String,
    writer: Mutex<Writer>,
}

struct Writer {
    file: File,
    /// The number of bytes that the record can still take.
    left: usize,
}

/// A request whose answer has not ended yet. Dropping this value writes the line.
pub(super) struct Pending {
    record: Arc<Record>,
    line: Option<Recorded>,
    begun: Instant,
}

impl Record {
    /// Creates the file for the requests of a job with a token of `account`, as [`create_private_log`] does.
    ///
    /// # Errors
    /// If the file exists, or if jobpass cannot create it.
    pub(super) fn create(path: &Path, account: &Account) -> Result<Arc<Self>, Error> {
        let file = create_private_log(path).map_err(|error| cannot_write(path, &error))?;
        Ok(Arc::new(Self {
            account: account.to_string(),
            writer: Mutex::new(Writer { file, left: LONGEST }),
        }))
    }

    pub(super) fn begin(self: &Arc<Self>, request: Request) -> Pending {
        Pending {
            record: Arc::clone(self),
            line: Some(Recorded {
                time: Timestamp::now(),
                account: self.account.clone(),
                request,
                status: None,
                milliseconds: 0,
            }),
            begun: Instant::now(),
        }
    }
}

impl Writer {
    fn write(&mut self, line: &Line) -> io::Result<()> {
        let mut text = serde_json::to_string(line)?;
        text.push('\n');
        if self.left == 0 {
            return Ok(());
        }
        if text.len() > self.left.min(LONGEST_LINE) {
            self.left = 0;
            text = serde_json::to_string(&Line::Cut { cut: true })? + "\n";
        }
        self.left = self.left.saturating_sub(text.len());
        self.file.write_all(text.as_bytes())
    }
}

impl Pending {
    pub(super) fn answered(&mut self, status: u16) {
        if let Some(line) = &mut self.line {
            line.status = Some(status);
        }
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        let Some(mut line) = self.line.take() else { return };
        line.milliseconds = self.begun.elapsed().as_millis().try_into().unwrap_or(u64::MAX);
        let mut writer = self.record.writer.lock().unwrap_or_else(PoisonError::into_inner);
        // A full disk must not fail the job's request.
        let _ = writer.write(&Line::Request(Box::new(line)));
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use http::Method;

    use super::*;

    fn lines(path: &Path) -> Vec<Line> {
        let text = std::fs::read_to_string(path).expect("a record");
        text.lines()
            .map(|line| serde_json::from_str(line).expect("a line"))
            .collect()
    }

    fn account() -> Account {
        Account {
            namespace: "ci".into(),
            name: "scanner".into(),
        }
    }

    fn request(path: &str, query: &str) -> Request {
        Request::read(&Method::GET, path, query).expect("a request")
    }

    #[test]
    fn a_line_says_what_was_asked_and_no_value_of_the_query() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("record");
        let record = Record::create(&path, &account()).expect("created");
        let query = "labelSelector=hidden%3D1&continue=secret&watch=1";
        let mut pending = record.begin(request("/api/v1/namespaces/ci/pods", query));
        pending.answered(200);
        drop(pending);
        drop(record.begin(request("/metrics", "a=hidden")));
        let text = std::fs::read_to_string(&path).expect("a record");
        assert!(!text.contains("hidden") && !text.contains("secret"), "{text}");
        assert!(text.contains(r#""verb":"watch","resource":"pods","namespace":"ci","status":200,"#));
        let lines = lines(&path);
        let [Line::Request(first), Line::Request(second)] = &lines[..] else {
            panic!("{lines:?}");
        };
        assert_eq!((&*first.account, first.status), ("ci/scanner", Some(200)));
        assert_eq!((&*second.request.path, second.status), ("/metrics", None));
        let mode = std::fs::metadata(&path).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(
            Record::create(&path, &account()).is_err(),
            "jobpass overwrites nothing"
        );
    }

    #[test]
    fn a_record_has_an_end_and_says_so() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("record");
        let record = Record::create(&path, &account()).expect("created");
        record.writer.lock().expect("free").left = 600;
        for _ in 0..20 {
            drop(record.begin(request("/api/v1/namespaces/ci/pods", "")));
        }
        let lines = lines(&path);
        assert!((2..=6).contains(&lines.len()), "{lines:?}");
        let cuts = lines.iter().filter(|line| matches!(line, Line::Cut { .. }));
        assert_eq!((cuts.count(), lines.last()), (1, Some(&Line::Cut { cut: true })));
    }
}
