//! The journal of a renewed token. It records each new token before its hand-over, each hand-over, and the
//! first of several failures in a row.
//!
//! The journal is a file of mode 0600 next to the token's file, with one line of JSON for each entry. Log
//! filters read the tokens from it, and the end of the job reads the results of the renewals. The end of the
//! job removes the journal, which stops the renewer or the proxy. The journal of a proxy contains no token,
//! and is next to the kubeconfig.

use std::{
    collections::VecDeque,
    fs::File,
    io::{self, Write as _},
    ops::RangeInclusive,
    path::{Path, PathBuf},
    sync::Arc,
};

use jiff::SignedDuration;
use jobpass_mask::SecretSource;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::{
    claims::Claims,
    error::{Error, Kind},
    json,
    process::{
        files,
        system::{Identity, create_private_log, read_at, without_following},
    },
    record::state::State,
    text::{self, harmless},
    token::Token,
};

/// The greatest number of pieces of 1 MiB that one call of a [`Reader`] reads. A hundred tokens take 0.1 MiB.
const PIECES: usize = 16;
/// The lengths of the tokens that a filter learns, in bytes. The bearer of a proxy has 43 characters, and the
/// token of a ServiceAccount about a thousand. A short entry could hide an ordinary word of the log.
pub(crate) const TOKEN: RangeInclusive<usize> = 32..=16 << 10;
/// The number of latest tokens that a filter learns even if they seem to have expired: the clock of this
/// machine may be wrong.
const LATEST: usize = 16;
/// The time for which a filter still learns an expired token. kube-apiserver accepts a token until a minute
/// after its expiry, by its own clock.
const LEEWAY: SignedDuration = SignedDuration::from_mins(5);

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
    /// If the journal no longer exists, or if jobpass cannot open it.
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
    /// If the file exists, if jobpass cannot create or lock it, or if the end of the job has removed it.
    pub(crate) fn create(path: &Path) -> Result<Self, Error> {
        let created = create_private_log(path);
        let locked = created.and_then(|file| Ok(file.try_lock().map(|()| file)?));
        let journal = locked.map(|file| Self {
            file,
            path: path.into(),
        });
        let journal = journal.map_err(|error| files::cannot_write(path, &error))?;
        // The end of the job may have removed the journal before this process locked it. Then the end of the
        // job saw no lock, and treats the proxy as closed.
        match journal.is_there() {
            true => Ok(journal),
            false => Err(files::cannot_write(path, &io::ErrorKind::NotFound.into())),
        }
    }

    /// The path, safe to show.
    pub(crate) fn path(&self) -> String {
        text::path(&self.path)
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

/// The reading end of the journal, for log filters and for the end of the job. The file stays open, so a
/// filter can read it even after the end of the job has removed it.
#[derive(Clone)]
pub struct Reader {
    file: Option<Arc<File>>,
    /// The number of bytes that this reader has read.
    read: u64,
    secrets: Secrets,
}

/// The tokens that a log filter learns from a journal.
#[derive(Clone)]
enum Secrets {
    /// All tokens of the journal, as long as only this user can write to it.
    OfOwner,
    /// The tokens that are bound to the anchor with this uid.
    OfAnchor(String),
}

impl Reader {
    /// Starts at the first entry, for the end of the job. A journal that jobpass cannot open has no entries.
    pub(crate) fn new(path: &Path) -> Self {
        Self {
            file: open(path).ok().map(Arc::new),
            read: 0,
            secrets: Secrets::OfOwner,
        }
    }

    /// Reads the journal of a [log filter](super::filter), for that filter.
    pub(crate) fn of_filter(path: &Path) -> Self {
        Self::new(path)
    }

    /// The journal of a renewed token, for a log filter. `None` if the state names no journal or no uid of an
    /// anchor, or if the end of the job has removed the journal.
    ///
    /// The journal is in the folder of the token's file. In some containers, every user may write to that
    /// folder. So the filter learns only tokens that are bound to the anchor of the state.
    ///
    /// # Errors
    /// If another user may have written the journal, or if jobpass cannot open it.
    pub fn of_renewals(state: &State) -> Result<Option<Self>, Error> {
        let (Some(path), Some(uid)) = (&state.files.journal, &state.receipt.anchor_uid) else {
            return Ok(None);
        };
        let file = match files::open_own(path, false) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => {
                // `open_own` returns the first two kinds of errors for a journal that is not safe.
                let (cannot, step) = match error.kind() {
                    io::ErrorKind::PermissionDenied | io::ErrorKind::InvalidInput => (
                        "trust",
                        "only jobpass may change that file: find the command that changed it (`chmod`, `chown`, \
                         `ln`), and remove that command, or choose a `token-file` in a folder that no other \
                         user can change",
                    ),
                    _ => (
                        "open",
                        "check the file's folder, and the machine's limit for open files",
                    ),
                };
                let (path, why) = (text::path(path), harmless(&error.to_string()));
                let what =
                    format!("cannot {cannot} the journal of the renewed token, `{path}`, because {why}");
                return Err(Error::new(Kind::Deliver, what).help(step));
            }
        };
        Ok(Some(Self {
            file: Some(Arc::new(file)),
            read: 0,
            secrets: Secrets::OfAnchor(uid.clone()),
        }))
    }

    /// Whether another process holds the lock of the journal. `None` if [`Reader::new`] could not open the
    /// journal.
    pub(crate) fn is_locked(&self) -> Option<bool> {
        Some(self.file.as_ref()?.try_lock_shared().is_err())
    }

    /// Whether only this user can have written the journal.
    fn is_own(&self) -> bool {
        let file = self.file.as_ref();
        file.is_some_and(|file| matches!(files::why_not_only_ours(file), Ok(None)))
    }

    /// The entries since the last call. Ignores lines that are not entries: other processes of the job may
    /// have written them.
    pub fn news(&mut self) -> Vec<Entry> {
        (0..PIECES).map_while(|_| self.piece()).flatten().collect()
    }

    /// The entries in the next piece of the journal. `None` at its end.
    fn piece(&mut self) -> Option<Vec<Entry>> {
        let lines = self.lines()?;
        let lines = lines.split(|&byte| byte == b'\n');
        let lines = lines.filter_map(|line| serde_json::from_slice::<Line>(line).ok());
        Some(lines.map(Entry::from).collect())
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
        // The last line may be incomplete. A line that fills the buffer is not an entry, so this skips it.
        let whole = text.iter().rposition(|&byte| byte == b'\n').map(|end| end + 1);
        if read < files::LONGEST as usize || whole.is_some() {
            text.truncate(whole.unwrap_or_default());
        }
        self.read += text.len() as u64;
        (!text.is_empty()).then_some(text)
    }
}

impl SecretSource for Reader {
    /// Reports the announced tokens. jobpass announces a token before it hands the token over. Reports the 16
    /// latest tokens even if they have expired. Of the earlier tokens, leaves out those that expired more
    /// than 5 minutes ago: a job of a week may renew its token a thousand times.
    fn new_secrets(&mut self, learn: &mut dyn FnMut(&str)) {
        let is_own = self.is_own();
        let secrets = self.secrets.clone();
        let counts = |token: &Token| {
            let is_ours = match &secrets {
                Secrets::OfOwner => is_own,
                Secrets::OfAnchor(uid) => is_bound_to(token, uid),
            };
            is_ours && TOKEN.contains(&token.expose().len())
        };
        let expired = jiff::Timestamp::now() - LEEWAY;
        let mut latest = VecDeque::new();
        for entry in (0..PIECES).map_while(|_| self.piece()).flatten() {
            match entry {
                Entry::Announced { token } if counts(&token) => latest.push_back(token),
                _ => continue,
            }
            if latest.len() > LATEST
                && let Some(token) = latest.pop_front()
                && expiry(&token).is_none_or(|expiry| expiry > expired)
            {
                learn(token.expose());
            }
        }
        latest.iter().for_each(|token| learn(token.expose()));
    }
}

fn is_bound_to(token: &Token, uid: &str) -> bool {
    let claims = Claims::decode(token).ok();
    let anchor = claims.and_then(|claims| claims.kubernetes?.secret?.uid);
    anchor.as_deref() == Some(uid)
}

fn expiry(token: &Token) -> Option<jiff::Timestamp> {
    jiff::Timestamp::from_second(Claims::decode(token).ok()?.exp?).ok()
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

/// Opens the journal. A link in its place counts as a missing journal.
fn open(path: &Path) -> io::Result<File> {
    match path.symlink_metadata()?.is_file() {
        true => files::open(path),
        false => Err(io::ErrorKind::NotFound.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        os::unix::fs::{PermissionsExt as _, symlink},
    };

    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
    use jobpass_mask::{MARK, Masker};
    use rstest::rstest;

    use super::*;
    use crate::{process::system::create_private, record::state::tests::least};

    const UID: &str = "4a1d5b0e-5d0f-4c39-9d0a-2b8f6f1c1c11";

    /// A token that is bound to the anchor with this uid.
    fn token(uid: &str, expiry: i64) -> String {
        let claims =
            format!(r#"{{"exp":{expiry},"kubernetes.io":{{"secret":{{"name":"a","uid":"{uid}"}}}}}}"#);
        let claims = URL_SAFE_NO_PAD.encode(claims);
        format!("eyJhbGciOiJub25lIn0.{claims}.c2lnbmF0dXJlLXNpZ25hdHVyZS0{expiry}")
    }

    fn announced(token: &str) -> String {
        let token = Token::parse(token, "token").expect("a token");
        line(&Entry::Announced { token }).expect("it is text")
    }

    /// A state with this journal.
    fn state(journal: &Path) -> State {
        let mut state = least();
        state.files.journal = Some(journal.into());
        state.receipt.anchor_uid = Some(UID.into());
        state
    }

    /// Writes a file of mode 0600.
    fn put(path: &Path, text: &str) {
        let mut file = create_private(path).expect("created");
        file.write_all(text.as_bytes()).expect("written");
    }

    fn learned(reader: &mut Reader) -> Vec<String> {
        let mut learned = Vec::new();
        reader.new_secrets(&mut |secret| learned.push(secret.to_owned()));
        learned
    }

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
        put(&path, "");
        let reader = Reader::of_renewals(&state(&path)).expect("it is safe");
        let mut masker = Masker::new([]).with_sources(reader);
        let token = token(UID, 2_000_000_000);
        let early = format!("a {token} b");
        assert_eq!(masked(&mut masker, &early), early);

        let junk = [b"no line of ours \xff".as_slice(), &[b'x'; 2 << 20]].concat();
        let journal = [&*junk, announced(&token).as_bytes(), b"{\"announced\":"].concat();
        fs::write(&path, journal).expect("written");
        fs::remove_file(&path).expect("there");
        assert_eq!(masked(&mut masker, &early), format!("a {MARK} b"));
    }

    /// The journal is in the folder of the token's file. In some containers, every user may write to that
    /// folder.
    #[rstest]
    #[case::ours(|_: &Path| (), None)]
    #[case::gone(|path: &Path| fs::remove_file(path).expect("removed"), None)]
    #[case::for_others_to_write(|path: &Path| fs::set_permissions(path, fs::Permissions::from_mode(0o606)).expect("set"),
        Some("other users may write to it (mode 606)"))]
    #[case::a_link(|path: &Path| {
        fs::rename(path, path.with_extension("1")).expect("renamed");
        symlink(path.with_extension("1"), path).expect("linked");
    }, Some("it is not a regular file"))]
    #[case::a_second_name(|path: &Path| fs::hard_link(path, path.with_extension("1")).expect("linked"),
        Some("it has a second name (a hard link)"))]
    fn a_filter_does_not_begin_with_a_journal_of_others(
        #[case] change: fn(&Path),
        #[case] why: Option<&str>,
    ) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("journal");
        put(&path, &announced(&token(UID, 1)));
        change(&path);
        match (Reader::of_renewals(&state(&path)), why) {
            (Ok(_), None) => {}
            (Err(error), Some(why)) => {
                assert!(
                    error
                        .message()
                        .starts_with("cannot trust the journal of the renewed token, `")
                );
                assert!(error.message().ends_with(why), "{error}");
            }
            (opened, why) => panic!("{:?} instead of {why:?}", opened.map(|reader| reader.is_some())),
        }
    }

    /// If the folder of the journal is a file, advice about `chmod` and `chown` would mislead.
    #[test]
    fn a_journal_that_cannot_be_opened_is_not_called_unsafe() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let opened = Reader::of_renewals(&state(&file.path().join("journal")));
        let error = opened.map(drop).expect_err("no folder").to_string();
        assert!(
            error.starts_with("cannot open the journal of the renewed token"),
            "{error}"
        );
        assert!(!error.contains("chmod"), "{error}");
    }

    /// A made-up entry could hide words of the log.
    #[test]
    fn only_tokens_of_the_anchor_count() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("journal");
        let ours = token(UID, 1);
        let others = [
            token("another", 1),
            "all-checks-have-failed".into(),
            "x".repeat(1 << 19),
        ];
        let lines = others.iter().chain([&ours]).map(|token| announced(token));
        put(&path, &lines.collect::<String>());
        let mut reader = Reader::of_renewals(&state(&path)).expect("safe").expect("there");
        assert_eq!(learned(&mut reader), [ours]);
    }

    /// A job of three weeks may have this many tokens. The clock of this machine may be wrong, so the filter
    /// learns the last tokens even if they seem to have expired.
    #[test]
    fn of_the_expired_tokens_only_the_latest_are_learned() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("journal");
        let now = jiff::Timestamp::now().as_second();
        let all = (0..3000).map(|number| token(UID, now - 600 * (3000 - number)));
        put(&path, &all.map(|token| announced(&token)).collect::<String>());
        let mut reader = Reader::of_renewals(&state(&path)).expect("safe").expect("there");
        assert_eq!(learned(&mut reader).len(), LATEST);
        assert_eq!(learned(&mut reader), [""; 0]);
    }
}
