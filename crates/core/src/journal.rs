//! The journal of a token that is renewed: each new token before it is handed over, and what went wrong.
//!
//! A file of mode 0600 beside the token's, removed with it; a line of JSON for each entry. Who masks the job's log learns of
//! new tokens from it, and the end of the job of how renewing went. Whoever writes it holds a lock on it (fcntl(2)), so that the
//! end of the job finds that process, and no other.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::{
    fs::{FlockOperation, OFlags, fcntl_lock},
    process::{Flock, FlockType, Pid, Signal, fcntl_getlk, kill_process},
};
use serde::{Deserialize, Serialize};

use crate::{files, text::harmless, token::Token};

/// How long a process that renews may take to obey SIGTERM, with nothing to do but to end.
const OBEYING: Duration = Duration::from_millis(500);

/// One line.
pub enum Entry {
    /// There is a new token.
    Renewed {
        /// The token.
        token: Token,
        /// When it expires.
        expires: Option<jiff::Timestamp>,
    },
    /// A token could not be renewed, from this moment on.
    Failed {
        /// When.
        at: jiff::Timestamp,
        /// Why; harmless text.
        why: String,
    },
}

/// An entry as it is written.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
enum Line {
    Renewed {
        token: String,
        expires: Option<jiff::Timestamp>,
    },
    Failed {
        at: jiff::Timestamp,
        why: String,
    },
}

/// What who renews writes to.
pub(crate) struct Journal(File);

impl Journal {
    /// The journal that was made when the token was handed over.
    ///
    /// # Errors
    /// If it is not there any more, or somebody else writes it.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let flags = (OFlags::NONBLOCK | OFlags::NOFOLLOW).bits().cast_signed();
        let file = OpenOptions::new().append(true).custom_flags(flags).open(path)?;
        fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive)?;
        let journal = Self(file);
        match journal.is_there() {
            true => Ok(journal),
            false => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// Whether the end of the job has not removed it.
    pub(crate) fn is_there(&self) -> bool {
        self.0.metadata().is_ok_and(|file| file.nlink() > 0)
    }

    /// Adds an entry.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(crate) fn write(&mut self, entry: &Entry) -> io::Result<()> {
        let line = match entry {
            Entry::Renewed { token, expires } => Line::Renewed {
                token: token.expose().to_owned(),
                expires: *expires,
            },
            Entry::Failed { at, why } => Line::Failed {
                at: *at,
                why: why.clone(),
            },
        };
        let line = serde_json::to_string(&line)? + "\n";
        self.0.write_all(line.as_bytes())
    }
}

/// What who masks, or ends the job, reads.
#[derive(Clone)]
pub struct Reader {
    path: PathBuf,
    /// So many bytes of it have been read.
    read: u64,
}

impl Reader {
    /// Begins with the first entry. A journal that is not there (yet) has none.
    pub fn new(path: PathBuf) -> Self {
        Self { path, read: 0 }
    }

    /// What has been added since this was last asked. Lines that are none are passed over: other processes of the job may
    /// have written them.
    pub fn news(&mut self) -> Vec<Entry> {
        self.lines()
            .unwrap_or_default()
            .lines()
            .filter_map(|line| Some(serde_json::from_str::<Line>(line).ok()?.into()))
            .collect()
    }

    fn lines(&mut self) -> io::Result<String> {
        if fs::metadata(&self.path)?.len() <= self.read {
            return Ok(String::new());
        }
        let mut file = files::open(&self.path)?;
        file.seek(SeekFrom::Start(self.read))?;
        let mut text = String::new();
        file.take(files::LONGEST).read_to_string(&mut text)?;
        // The last one may not be whole yet.
        text.truncate(text.rfind('\n').map_or(0, |end| end + 1));
        self.read += text.len() as u64;
        Ok(text)
    }
}

impl From<Line> for Entry {
    fn from(line: Line) -> Self {
        match line {
            Line::Renewed { token, expires } => match Token::parse(&token, "token") {
                Ok(token) => Self::Renewed { token, expires },
                Err(error) => Self::Failed {
                    at: jiff::Timestamp::now(),
                    why: error.what().to_owned(),
                },
            },
            Line::Failed { at, why } => Self::Failed {
                at,
                why: harmless(&why),
            },
        }
    }
}

/// Ends the process that writes a journal. Gives whether another one did.
pub(crate) async fn stop_writer(path: &Path) -> bool {
    let mut found = false;
    let Ok(file) = files::open(path) else { return found };
    for signal in [Signal::TERM, Signal::KILL] {
        let Some(pid) = writer(&file) else { break };
        found = true;
        let _ = kill_process(pid, signal);
        let ended = async {
            while writer(&file) == Some(pid) {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        let _ = tokio::time::timeout(OBEYING, ended).await;
    }
    found
}

/// Whether another process writes a journal.
pub(crate) fn has_writer(path: &Path) -> bool {
    files::open(path).is_ok_and(|file| writer(&file).is_some())
}

/// Who holds the lock.
fn writer(file: &File) -> Option<Pid> {
    let asked = Flock::from(FlockType::WriteLock);
    fcntl_getlk(file, &asked).ok()??.pid
}
