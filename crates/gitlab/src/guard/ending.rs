//! The result of a guard's work. The guard records it for other processes of the job, which show it in the
//! job's log. A process that revokes in place of a guard also records its result.

use std::{
    fs::{self, OpenOptions},
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use jobpass_core::{
    Error, Kind, json, life::revoke::Revoked, process::files, record::receipt::Receipt, text::harmless,
};
use serde::{Deserialize, Serialize};

use crate::log;

/// The revocation of a token, or the failure to revoke it or to remove its files.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Ending {
    receipt: Receipt,
    #[serde(flatten)]
    outcome: Outcome,
    /// Whether a process has shown the result in the log.
    shown: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Outcome {
    Revoked { notes: Vec<String> },
    Failed { what: String, help: Option<String> },
}

impl Ending {
    pub(super) fn new(receipt: Receipt, outcome: Result<Revoked, Error>) -> Self {
        let outcome = match outcome {
            Ok(revoked) => Outcome::Revoked { notes: revoked.notes },
            Err(error) => Outcome::Failed {
                what: error.message().to_owned(),
                help: error.next_step().map(str::to_owned),
            },
        };
        Self {
            receipt,
            outcome,
            shown: false,
        }
    }

    pub(super) fn is_revoked(&self) -> bool {
        matches!(self.outcome, Outcome::Revoked { .. })
    }

    pub(super) fn is_shown(&self) -> bool {
        self.shown
    }

    /// Records the result for later processes. If the write fails, they go on without it.
    pub(super) fn write(&self, path: &Path) {
        let Ok(json) = json::text(self) else { return };
        let _ = fs::remove_file(path);
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path);
        let _ = file.and_then(|mut file| file.write_all(json.as_bytes()));
    }

    /// Reads a record. `None` if jobpass cannot read the file, or if its content is not a record.
    pub(super) fn read(path: &Path) -> Option<Self> {
        serde_json::from_str(&files::read(path).ok()?).ok()
    }

    /// Shows the result in the log.
    ///
    /// # Errors
    /// If the token is not revoked, or if jobpass could not remove one of its files. The caller decides
    /// whether this failure fails the job.
    pub(crate) fn show(&mut self) -> Result<(), Error> {
        match &self.outcome {
            Outcome::Revoked { .. } if self.shown => {
                log::say(&format!("jobpass: {}", self.receipt.revoked_before_in_words()));
                Ok(())
            }
            Outcome::Revoked { notes } => {
                // The write fails if the log's filter has ended. A later process then shows the result.
                self.shown = show(&self.receipt, true, notes);
                Ok(())
            }
            Outcome::Failed { what, help } => {
                self.shown = true;
                let error = Error::new(Kind::Revoke, harmless(what));
                Err(match help {
                    Some(help) => error.help(help),
                    None => error,
                })
            }
        }
    }
}

/// Shows the revocation of a token in the log. Returns whether the write succeeded. `existed` is `true` if
/// jobpass knows that a job had the token. After somebody killed a job, jobpass may not know.
pub(crate) fn show(receipt: &Receipt, existed: bool, notes: &[String]) -> bool {
    let shown = log::say(&format!("jobpass: {}", receipt.ended_in_words(existed)));
    for note in notes {
        log::warning(&Error::new(Kind::Revoke, harmless(note)));
    }
    shown
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use jobpass_core::record::receipt::Proof;
    use rstest::rstest;

    use super::*;

    fn receipt() -> Receipt {
        Receipt::new("scanner", "ci", "jobpass-1f0c6e7a1f0c6e7a1f0c")
    }

    fn revoked() -> Result<Revoked, Error> {
        Ok(Revoked {
            proof: Proof::AnchorGone,
            left_alone: false,
            notes: vec!["the token was not renewed".into()],
        })
    }

    fn failed(help: Option<&str>) -> Result<Revoked, Error> {
        let error = Error::new(Kind::Revoke, "no route");
        Err(help.into_iter().fold(error, Error::help))
    }

    /// Other processes of the job read the record, so it must keep the failure and its next step.
    #[rstest]
    #[case::revoked(revoked(), None)]
    #[case::failed(failed(None), Some(("no route", None)))]
    #[case::with_a_next_step(failed(Some("try again")), Some(("no route", Some("try again"))))]
    fn a_result_is_read_as_it_was_recorded(
        #[case] outcome: Result<Revoked, Error>,
        #[case] failure: Option<(&str, Option<&str>)>,
    ) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("over");
        Ending::new(receipt(), outcome).write(&path);
        let mode = path.metadata().expect("it is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let mut ending = Ending::read(&path).expect("a record");
        assert_eq!(
            (ending.is_revoked(), ending.is_shown()),
            (failure.is_none(), false)
        );
        let shown = ending.show();
        let shown = shown
            .as_ref()
            .map_err(|error| (error.message(), error.next_step()));
        assert_eq!(shown.err(), failure);
        // A second process must not show the result again.
        ending.write(&path);
        assert!(Ending::read(&path).is_some_and(|ending| ending.is_shown()));
    }

    #[rstest]
    #[case::absent(None)]
    #[case::empty(Some(""))]
    #[case::half(Some(r#"{"receipt":{"service-account":"scanner","#))]
    #[case::without_an_outcome(Some(
        r#"{"receipt":{"service-account":"scanner","namespace":"ci","anchor":"a"},"shown":false}"#
    ))]
    fn anything_else_is_not_a_record(#[case] content: Option<&str>) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("over");
        if let Some(content) = content {
            fs::write(&path, content).expect("written");
        }
        assert!(Ending::read(&path).is_none());
    }

    /// A script can write the record, and the log must not obey the script.
    #[test]
    fn a_recorded_failure_cannot_command_the_log() {
        let error = Error::new(Kind::Revoke, "no route\n\u{1b}[2J");
        let shown = Ending::new(receipt(), Err(error)).show().expect_err("a failure");
        assert_eq!(shown.message(), "no route [2J");
    }
}
