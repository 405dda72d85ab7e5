//! The journal of a log filter.
//!
//! A filter masks the output of a job or of a command. Meanwhile, the script may get more tokens, for example
//! with `mint` or `rotate`. So the filter creates a journal, and names it in the variable
//! [`JOBPASS_MASK_JOURNAL`](FilterJournal::VARIABLE). Each jobpass process of the script announces a token in
//! the journal before it hands the token over. The filter reads the journal before it shows more text. A
//! filter inside another filter uses the same journal, so that both learn all tokens.
//!
//! The journal has mode 0600, and only this user can change its folder. jobpass refuses any other journal.

use std::{
    fs::{self, File},
    io::{self, ErrorKind, Write as _},
    path::{Path, PathBuf},
};

use zeroize::Zeroizing;

use crate::{
    error::{Error, Kind},
    process::{
        environment::Environment,
        files::{cannot_write, open_own},
        system::{create_private, is_readable_to_others, why_not_own},
    },
    record::journal::{self, Entry, Reader},
    text::{self, harmless},
    token::Token,
};

/// The journal of the filter that masks the output of this process.
#[derive(Clone)]
pub struct FilterJournal {
    path: PathBuf,
}

impl FilterJournal {
    /// The variable that names the journal.
    pub const VARIABLE: &str = "JOBPASS_MASK_JOURNAL";
    /// The name of the journal in its folder.
    pub const NAME: &str = "jobpass-mask.journal";

    /// The journal that the environment names. `None` if no filter masks the output of this process.
    ///
    /// # Errors
    /// If another user could read or change the journal, or change its folder. Also if the journal is gone,
    /// is not a regular file or has a second name, if jobpass cannot open it, or if its path is not UTF-8.
    pub fn of(environment: &Environment) -> Result<Option<Self>, Error> {
        let Some(path) = environment.utf8(Self::VARIABLE)? else {
            return Ok(None);
        };
        let path = PathBuf::from(path);
        open(&path).map_err(|error| refused(&path, &error))?;
        Ok(Some(Self { path }))
    }

    /// Creates an empty journal in `folder`. The caller makes sure that only this user can change the folder.
    ///
    /// # Errors
    /// If jobpass cannot create the file.
    pub fn create(folder: &Path) -> Result<Self, Error> {
        let path = folder.join(Self::NAME);
        match create_private(&path) {
            Ok(_) => Ok(Self { path }),
            Err(error) => Err(cannot_write(&path, &error)),
        }
    }

    /// The path of the journal.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Tells the filter about a token. The caller must do this before it writes the token anywhere else.
    ///
    /// # Errors
    /// If the journal is gone or no longer safe, if jobpass cannot open it, if the write fails, or if the
    /// token is too short or too long for a log filter.
    pub fn announce(&self, token: &Token) -> Result<(), Error> {
        write(&self.path, token).map_err(|error| refused(&self.path, &error))
    }

    /// Like [`FilterJournal::announce`], for a renewer, which may outlive the filter. Does nothing if
    /// `environment` names no journal, or if the journal is gone: then no filter is left.
    ///
    /// # Errors
    /// As [`FilterJournal::announce`], except for a journal that is gone. Also if the path of the journal is
    /// not UTF-8.
    pub(crate) fn announce_renewed(environment: &Environment, token: &Token) -> Result<(), Error> {
        let Some(path) = environment.utf8(Self::VARIABLE)?.map(Path::new) else {
            return Ok(());
        };
        match write(path, token) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            written => written.map_err(|error| refused(path, &error)),
        }
    }

    /// The reading end of the journal, for the filter.
    pub fn reader(&self) -> Reader {
        Reader::of_filter(&self.path)
    }
}

/// Opens a journal. Fails if another user may read it, write to it, or change its folder.
fn open(path: &Path) -> io::Result<File> {
    let denied = |why: String| io::Error::new(ErrorKind::PermissionDenied, why);
    let folder = path.parent().unwrap_or(Path::new("/"));
    if let Some(why) = why_not_own(&fs::metadata(folder)?) {
        return Err(denied(format!("its folder is not safe, because {why}")));
    }
    let file = open_own(path, true)?;
    match is_readable_to_others(&file.metadata()?) {
        true => Err(denied("other users may read it".to_owned())),
        false => Ok(file),
    }
}

fn write(path: &Path, token: &Token) -> io::Result<()> {
    let length = token.expose().len();
    if !journal::TOKEN.contains(&length) {
        let why = format!("Kubernetes issues no token of {length} characters");
        return Err(io::Error::new(ErrorKind::InvalidData, why));
    }
    let line = journal::line(&Entry::Announced { token: token.clone() });
    let line = Zeroizing::new(line.map_err(|error| io::Error::other(error.to_string()))?);
    open(path)?.write_all(line.as_bytes())
}

fn refused(path: &Path, error: &io::Error) -> Error {
    let shown = text::path(path);
    let (why, help) = match error.kind() {
        ErrorKind::NotFound => (
            "it does not exist".to_owned(),
            "if no filter of jobpass masks this log, unset the variable. Otherwise, find the command that \
             removed the file, and remove that command",
        ),
        // `open` and `open_own` return these kinds of errors for a journal that is not safe.
        ErrorKind::PermissionDenied | ErrorKind::InvalidInput => (
            harmless(&error.to_string()),
            "only jobpass may change that file and its folder: find the command that changed them (`chmod`, \
             `chown`, `ln`), or that set the variable, and remove that command",
        ),
        ErrorKind::InvalidData => (
            harmless(&error.to_string()),
            "the filter could not mask this token. Mint it in another job, without the filter, and keep it \
             out of the log",
        ),
        _ => (
            harmless(&error.to_string()),
            "check the free space of the folder, and the machine's limit for open files",
        ),
    };
    let cause = match error.kind() {
        // The token is too short or too long for a filter. The journal is sound.
        ErrorKind::InvalidData => why,
        _ => format!(
            "jobpass cannot use the journal `{shown}`, which {} names: {why}",
            FilterJournal::VARIABLE
        ),
    };
    let what = format!("cannot tell the log filter about the token, because {cause}");
    Error::new(Kind::Deliver, what).help(help)
}

#[cfg(test)]
mod tests {
    use std::{
        fs::{Permissions, hard_link, rename, set_permissions, write},
        os::unix::fs::{PermissionsExt as _, symlink},
    };

    use jobpass_mask::SecretSource as _;
    use rstest::rstest;

    use super::*;
    use crate::process::files::create_private_folder;

    const TOKEN: &str = "an-opaque-bearer-of-a-proxy-with-43-letters";

    fn token() -> Token {
        Token::parse(TOKEN, "token").expect("a token")
    }

    fn learned(reader: &mut Reader) -> Vec<String> {
        let mut learned = Vec::new();
        reader.new_secrets(&mut |secret| learned.push(secret.to_owned()));
        learned
    }

    /// A journal in a private folder, and the folder above. Dropping the folder above removes both.
    fn journal() -> (FilterJournal, tempfile::TempDir) {
        let above = tempfile::tempdir().expect("a folder");
        let folder = above.path().join("filter");
        create_private_folder(&folder).expect("made");
        (FilterJournal::create(&folder).expect("created"), above)
    }

    fn named(journal: &FilterJournal) -> Result<Option<FilterJournal>, Error> {
        let path = journal.path().to_str();
        FilterJournal::of(&Environment::default().with(FilterJournal::VARIABLE, path))
    }

    #[test]
    fn every_filter_learns_what_is_announced() {
        let (journal, _above) = journal();
        let (mut first, mut second) = (journal.reader(), journal.reader());
        assert_eq!(learned(&mut first), [""; 0]);
        let named = named(&journal).expect("it is safe").expect("it is named");
        named.announce(&token()).expect("announced");
        assert_eq!(learned(&mut first), [TOKEN]);
        assert_eq!(learned(&mut first), [""; 0], "it is no longer new");
        named.announce(&token()).expect("announced");
        assert_eq!(learned(&mut second), [TOKEN, TOKEN]);
        assert!(
            FilterJournal::of(&Environment::default())
                .expect("none")
                .is_none()
        );
    }

    /// Another user could have written these journals, or could read the tokens in them. In the last case,
    /// the journal is gone.
    #[rstest]
    #[case::for_others_to_write(|path: &Path| set(path, 0o602), "other users may write to it (mode 602)")]
    #[case::for_a_group_to_write(|path: &Path| set(path, 0o620), "other users may write to it (mode 620)")]
    #[case::for_others_to_read(|path: &Path| set(path, 0o604), "other users may read it")]
    #[case::in_a_folder_of_all(|path: &Path| set(path.parent().expect("a folder"), 0o777),
        "its folder is not safe, because other users may write to it (mode 777)")]
    #[case::a_link(|path: &Path| {
        rename(path, path.with_extension("1")).expect("renamed");
        symlink(path.with_extension("1"), path).expect("linked");
    }, "it is not a regular file")]
    #[case::a_second_name(|path: &Path| hard_link(path, path.with_extension("1")).expect("linked"),
        "it has a second name (a hard link)")]
    #[case::gone(|path: &Path| fs::remove_file(path).expect("removed"), "it does not exist")]
    fn a_journal_of_others_is_refused(#[case] change: fn(&Path), #[case] why: &str) {
        let (journal, _above) = journal();
        change(journal.path());
        let refused = [named(&journal).map(drop), journal.announce(&token())];
        for error in refused.map(|refused| refused.expect_err("refused").to_string()) {
            assert!(error.contains(why), "{error}");
            assert!(error.contains("JOBPASS_MASK_JOURNAL names"), "{error}");
            assert!(!error.contains(TOKEN), "{error}");
        }
    }

    /// A command such as `chmod` is the cause only if the file or its folder is not safe.
    #[rstest]
    #[case::not_safe(ErrorKind::PermissionDenied, "`chmod`")]
    #[case::not_a_file(ErrorKind::InvalidInput, "`chmod`")]
    #[case::gone(ErrorKind::NotFound, "unset the variable")]
    #[case::no_token(ErrorKind::InvalidData, "could not mask this token")]
    #[case::a_full_disk(ErrorKind::StorageFull, "check the free space")]
    fn the_next_step_fits_the_cause(#[case] kind: ErrorKind, #[case] step: &str) {
        let error = refused(Path::new("/a"), &io::Error::from(kind));
        let help = error.next_step().expect("a next step");
        assert!(help.contains(step), "{help}");
        assert_eq!(help.contains("chmod"), step.contains("chmod"), "{help}");
    }

    fn set(path: &Path, mode: u32) {
        set_permissions(path, Permissions::from_mode(mode)).expect("set");
    }

    /// An entry of another user could hide any word of the log.
    #[test]
    fn entries_of_a_journal_that_others_could_write_do_not_count() {
        let (journal, _above) = journal();
        let mut reader = journal.reader();
        set(journal.path(), 0o622);
        write(
            journal.path(),
            format!("{{\"announced\":{{\"token\":\"{TOKEN}\"}}}}\n"),
        )
        .expect("written");
        assert_eq!(learned(&mut reader), [""; 0]);
        set(journal.path(), 0o600);
        assert_eq!(learned(&mut reader), [""; 0], "that entry never counts");
        journal.announce(&token()).expect("announced");
        assert_eq!(learned(&mut reader), [TOKEN]);
    }

    /// The filtered command itself can write to the journal. An entry that is too short or too long for a
    /// token hides no word.
    #[test]
    fn an_entry_that_is_not_as_long_as_a_token_does_not_count() {
        let (journal, _above) = journal();
        let lines = [
            "all-checks-have-failed".to_owned(),
            "x".repeat(17 << 10),
            TOKEN.to_owned(),
        ]
        .map(|token| format!("{{\"announced\":{{\"token\":\"{token}\"}}}}\n"));
        write(journal.path(), lines.concat()).expect("written");
        assert_eq!(learned(&mut journal.reader()), [TOKEN]);
    }

    #[test]
    fn a_renewer_goes_on_after_the_filter_has_ended() {
        let (journal, _above) = journal();
        let environment = Environment::default().with(FilterJournal::VARIABLE, journal.path().to_str());
        fs::remove_file(journal.path()).expect("removed");
        FilterJournal::announce_renewed(&environment, &token()).expect("nobody is left to tell");
        assert!(!journal.path().exists());
        write(journal.path(), "").expect("written");
        set(journal.path(), 0o666);
        FilterJournal::announce_renewed(&environment, &token()).expect_err("refused");
    }
}
