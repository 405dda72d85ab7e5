//! The journal of a token that is renewed: each token before it is handed over, whether it was, and what went
//! wrong.
//!
//! A file of mode 0600 beside the token's, removed with it; a line of JSON for each entry. Who masks the
//! job's log learns of tokens from it, and the end of the job of how renewing went. Without it nothing is
//! renewed.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use jobpass_mask::SecretSource;
use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::{error::Error, json, process::files, text::harmless, token::Token};

/// How much of a journal is read at once, in pieces of 1 MiB; a hundred tokens are 0.1 MiB.
const PIECES: usize = 16;

/// One line.
pub enum Entry {
    /// There is a token, which will be handed over next.
    Announced {
        /// The token.
        token: Token,
    },
    /// The token that was announced last has taken the place of the one before.
    Renewed {
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
#[serde(rename_all = "kebab-case")]
enum Line {
    Announced { token: String },
    Renewed { expires: Option<jiff::Timestamp> },
    Failed { at: jiff::Timestamp, why: String },
}

/// What who renews writes to.
pub(crate) struct Journal {
    file: File,
    path: PathBuf,
}

impl Journal {
    /// The journal that was made when the token was handed over.
    ///
    /// # Errors
    /// If it is not there any more.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let flags = (OFlags::NONBLOCK | OFlags::NOFOLLOW).bits().cast_signed();
        let file = OpenOptions::new().append(true).custom_flags(flags).open(path)?;
        Ok(Self {
            file,
            path: path.into(),
        })
    }

    /// Whether it is where whoever reads it finds it. The end of the job removes it.
    pub(crate) fn is_there(&self) -> bool {
        let which = |file: fs::Metadata| (file.dev(), file.ino());
        let (this, there) = (self.file.metadata(), self.path.symlink_metadata());
        matches!((this.map(which), there.map(which)), (Ok(this), Ok(there)) if this == there)
    }

    /// Adds an entry.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(crate) fn write(&self, entry: &Entry) -> io::Result<()> {
        let line = line(entry).map_err(|error| io::Error::other(error.to_string()))?;
        (&self.file).write_all(Zeroizing::new(line).as_bytes())
    }
}

/// An entry as a line, whatever is before it: what could not be written to its end would spoil the next.
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

/// What who masks, or ends the job, reads. It stays open: what was printed is masked after the journal is
/// removed, too.
#[derive(Clone)]
pub struct Reader {
    file: Option<Arc<File>>,
    /// So many bytes of it have been read.
    read: u64,
}

impl Reader {
    /// Begins with the first entry. A journal that is not there has none.
    pub fn new(path: &Path) -> Self {
        Self {
            file: open(path).ok().map(Arc::new),
            read: 0,
        }
    }

    /// What has been added since this was last asked. Lines that are none are passed over: other processes of
    /// the job may have written them.
    pub fn news(&mut self) -> Vec<Entry> {
        let mut news = Vec::new();
        for lines in (0..PIECES).map_while(|_| self.lines()) {
            let lines = lines.split(|&byte| byte == b'\n');
            let lines = lines.filter_map(|line| serde_json::from_slice::<Line>(line).ok());
            news.extend(lines.map(Entry::from));
        }
        news
    }

    /// Whole lines, as far as there are new ones.
    fn lines(&mut self) -> Option<Zeroizing<Vec<u8>>> {
        let file = self.file.as_ref()?;
        let length = file.metadata().ok()?.len();
        if length < self.read {
            self.read = 0;
        }
        let wanted = (length - self.read).min(files::LONGEST) as usize;
        let mut text = Zeroizing::new(vec![0; wanted]);
        let read = file.read_at(&mut text, self.read).ok()?;
        text.truncate(read);
        // The last one may not be whole yet; one that is so long is none.
        let whole = text.iter().rposition(|&byte| byte == b'\n').map(|end| end + 1);
        if read < files::LONGEST as usize || whole.is_some() {
            text.truncate(whole.unwrap_or_default());
        }
        self.read += text.len() as u64;
        (!text.is_empty()).then_some(text)
    }
}

impl SecretSource for Reader {
    /// The tokens that have been announced: the renewer does so before it hands one over.
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

/// The journal itself, not what a link in its place leads to.
fn open(path: &Path) -> io::Result<File> {
    match path.symlink_metadata()?.is_file() {
        true => files::open(path),
        false => Err(io::ErrorKind::NotFound.into()),
    }
}

#[cfg(test)]
mod tests {
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

    /// Among lines of other processes, and although the end of the job removes the journal before the log has
    /// been read.
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
