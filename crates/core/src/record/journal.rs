//! The journal of a renewed token. It records each new token before its hand-over, each hand-over, and each
//! failure.
//!
//! The journal is a file of mode 0600 next to the token's file, with one line of JSON for each entry. Log
//! filters read the tokens from it, and the end of the job reads the results of the renewals. The end of the
//! job removes the journal, which stops the renewer or the proxy. The journal of a proxy holds no token.

use std::{
    fs::File,
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use jobpass_mask::SecretSource;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::{
    error::Error,
    json,
    process::{
        files,
        system::{Identity, create_private, read_at, without_following},
    },
    text::harmless,
    token::Token,
};

/// The greatest number of pieces of 1 MiB that one call reads. A hundred tokens take 0.1 MiB.
const PIECES: usize = 16;

/// An entry of the journal.
pub enum Entry {
    /// A new token, before its hand-over.
    Announced {
        /// The token.
        token: Token,
    },
    /// The last announced token has replaced the token before it.
    Renewed {
        /// The expiry of the new token.
        expires: Option<jiff::Timestamp>,
    },
    /// The first failure to renew the token. The journal leaves out further failures in a row.
    Failed {
        /// The time of the failure.
        at: jiff::Timestamp,
        /// The reason. Harmless text.
        why: String,
    },
}

/// An entry as the file contains it.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Line {
    Announced { token: String },
    Renewed { expires: Option<jiff::Timestamp> },
    Failed { at: jiff::Timestamp, why: String },
}

/// The renewer's end of the journal: append-only.
pub(crate) struct Journal {
    file: File,
    path: PathBuf,
}

impl Journal {
    /// Opens the journal that the hand-over created.
    ///
    /// # Errors
    /// If the journal no longer exists.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let file = without_following().append(true).open(path)?;
        Ok(Self {
            file,
            path: path.into(),
        })
    }

    /// Creates the journal of a proxy, without a token, and locks it.
    ///
    /// # Errors
    /// If the file exists, or if jobpass cannot create it.
    pub(crate) fn create(path: &Path) -> Result<Self, Error> {
        let created = create_private(path);
        let locked = created.and_then(|file| Ok(file.try_lock().map(|()| file)?));
        match locked {
            Ok(file) => Ok(Self {
                file,
                path: path.into(),
            }),
            Err(error) => Err(files::cannot_write(path, &error)),
        }
    }

    /// Releases the lock of [`Journal::create`].
    pub(crate) fn unlock(&self) {
        let _ = self.file.unlock();
    }

    /// Whether the journal still exists under its name. The end of the job removes it.
    pub(crate) fn is_there(&self) -> bool {
        let (this, there) = (Identity::of(&self.file), Identity::at(&self.path));
        matches!((this, there), (Ok(this), Ok(there)) if this == there)
    }

    /// Adds an entry.
    ///
    /// # Errors
    /// If the write fails.
    pub(crate) fn write(&self, entry: &Entry) -> io::Result<()> {
        let line = line(entry).map_err(|error| io::Error::other(error.to_string()))?;
        (&self.file).write_all(Zeroizing::new(line).as_bytes())
    }
}

/// An entry as a line of its own. The text begins with a line break: an unfinished entry before it would
/// otherwise damage this entry.
///
/// # Errors
/// As [`json::text`].
pub(crate) fn line(entry: &Entry) -> Result<String, Error> {
    let line = match entry {
        Entry::Announced { token } => Line::Announced {
            token: token.expose().to_owned(),
        },
        Entry::Renewed { expires } => Line::Renewed { expires: *expires },
        Entry::Failed { at, why } => Line::Failed {
            at: *at,
            why: why.clone(),
        },
    };
    Ok(format!("\n{}\n", json::text(&line)?))
}

/// The reading end of the journal, for log filters and for the end of the job. The file stays open. So a
/// filter masks text that the job printed before the end of the job removed the journal.
#[derive(Clone)]
pub struct Reader {
    file: Option<Arc<File>>,
    /// The number of bytes that this reader has read.
    read: u64,
}

impl Reader {
    /// Starts at the first entry. A missing journal has no entries.
    pub fn new(path: &Path) -> Self {
        Self {
            file: open(path).ok().map(Arc::new),
            read: 0,
        }
    }

    /// Whether another process holds the lock of the journal. `None` if [`Reader::new`] found no journal.
    pub(crate) fn is_locked(&self) -> Option<bool> {
        Some(self.file.as_ref()?.try_lock_shared().is_err())
    }

    /// The entries since the last call. Ignores other lines: other processes of the job may have written
    /// them.
    pub fn news(&mut self) -> Vec<Entry> {
        let mut news = Vec::new();
        for lines in (0..PIECES).map_while(|_| self.lines()) {
            let lines = lines.split(|&byte| byte == b'\n');
            let lines = lines.filter_map(|line| serde_json::from_slice::<Line>(line).ok());
            news.extend(lines.map(Entry::from));
        }
        news
    }

    /// The new lines that are complete.
    fn lines(&mut self) -> Option<Zeroizing<Vec<u8>>> {
        let file = self.file.as_ref()?;
        let length = file.metadata().ok()?.len();
        if length < self.read {
            self.read = 0;
        }
        let wanted = (length - self.read).min(files::LONGEST) as usize;
        let mut text = Zeroizing::new(vec![0; wanted]);
        let read = read_at(file, &mut text, self.read).ok()?;
        text.truncate(read);
        // The last line may be incomplete. An entry is never this long.
        let whole = text.iter().rposition(|&byte| byte == b'\n').map(|end| end + 1);
        if read < files::LONGEST as usize || whole.is_some() {
            text.truncate(whole.unwrap_or_default());
        }
        self.read += text.len() as u64;
        (!text.is_empty()).then_some(text)
    }
}

impl SecretSource for Reader {
    /// Reports the announced tokens. The renewer announces a token before it hands the token over.
    fn new_secrets(&mut self, learn: &mut dyn FnMut(&str)) {
        for entry in self.news() {
            if let Entry::Announced { token } = entry {
                learn(token.expose());
            }
        }
    }
}

impl From<Line> for Entry {
    fn from(line: Line) -> Self {
        match line {
            Line::Renewed { expires } => Self::Renewed { expires },
            Line::Announced { token } => match Token::parse(&token, "token") {
                Ok(token) => Self::Announced { token },
                Err(error) => Self::Failed {
                    at: jiff::Timestamp::now(),
                    why: error.message().to_owned(),
                },
            },
            Line::Failed { at, why } => Self::Failed {
                at,
                why: harmless(&why),
            },
        }
    }
}

/// Opens the journal itself, never the target of a link with its name.
fn open(path: &Path) -> io::Result<File> {
    match path.symlink_metadata()?.is_file() {
        true => files::open(path),
        false => Err(io::ErrorKind::NotFound.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use jobpass_mask::{MARK, Masker};

    use super::*;

    const TOKEN: &str = "eyJhbGciOiJub25lIn0.eyJleHAiOjF9.c2lnbmF0dXJlLXNpZ25hdHVyZQ";

    fn masked(masker: &mut Masker, text: &str) -> String {
        let mut out = Vec::new();
        let taken = masker.push(text.as_bytes(), &mut out);
        taken
            .and_then(|()| masker.finish(&mut out))
            .expect("memory takes it");
        String::from_utf8(out).expect("text stays text")
    }

    /// Other processes have written lines around the token's line. The end of the job has removed the journal
    /// before the filter reads the log.
    #[test]
    fn a_token_is_masked_once_it_is_announced() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("journal");
        fs::write(&path, "").expect("written");
        let mut masker = Masker::new([]).with_sources([Reader::new(&path)]);
        let early = format!("a {TOKEN} b");
        assert_eq!(masked(&mut masker, &early), early);

        let token = Token::parse(TOKEN, "token").expect("a token");
        let junk = [b"no line of ours \xff".as_slice(), &[b'x'; 2 << 20]].concat();
        let announced = line(&Entry::Announced { token });
        let journal = [
            &*junk,
            announced.expect("it is text").as_bytes(),
            b"{\"announced\":",
        ]
        .concat();
        fs::write(&path, journal).expect("written");
        fs::remove_file(&path).expect("there");
        assert_eq!(masked(&mut masker, &early), format!("a {MARK} b"));
    }
}
