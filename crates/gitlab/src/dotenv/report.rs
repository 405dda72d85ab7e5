//! The file of the dotenv report. If the report breaks a rule, GitLab drops the whole report, or fails the
//! job after its script (`parse_dotenv_artifact_service.rb`). So jobpass checks as many of the rules as it
//! can before it mints a token.

use std::{
    fs::{self, OpenOptions, Permissions},
    io::{ErrorKind, Read as _, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use age::x25519::Recipient;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use clap::ArgMatches;
use jobpass_core::{
    Error, Kind,
    cluster::Connection,
    process::{environment::Environment, files},
    record::{receipt::Receipt, state::State},
    text::{self, harmless},
    token::Token,
};
use rustix::fs::OFlags;

use super::{
    ANCHOR, ANCHOR_UID, API_CA, API_SERVER, API_SERVER_NAME, CREDENTIAL_ID, EXPIRES_AT, MASKED_PREFIX, OURS,
    is_key, variable,
};
use crate::{job::value, log, sealed};

/// The size in bytes below which GitLab accepts a report by default (`dotenv_size` of the plan limits).
const SIZE_LIMIT: usize = 5 * 1024;
/// The default limit for the variables of a report on self-managed GitLab. An administrator can change it
/// (`dotenv_variables` of the plan limits), and a job cannot see the limit.
const VARIABLES_LIMIT: usize = 20;
/// The limit on the free tier of gitlab.com. The other tiers have higher ones.
const VARIABLES_LIMIT_OF_GITLAB_COM: usize = 50;
/// The number of variables that jobpass reserves for a token: all of its own, except the three for the API
/// server. Some of them have no value before the token exists.
const LEAST: usize = 5;

/// A report that jobpass will write.
#[derive(Clone)]
pub(crate) struct Dotenv {
    path: PathBuf,
    mode: Mode,
    variable: String,
    /// The number of variables that this GitLab accepts by default.
    variables_limit: usize,
    /// The size of the report in bytes, before jobpass writes to it. `None` if the report did not exist.
    before: Option<u64>,
    /// Whether the report may hold lines of jobpass.
    touched: Arc<AtomicBool>,
}

/// The form of the token in the report.
#[derive(Clone)]
enum Mode {
    Plain,
    Masked,
    Sealed(Recipient),
}

impl Dotenv {
    /// Plans the requested report.
    ///
    /// # Errors
    /// If an option is wrong, if GitLab would not upload the report, or if a later job might not get the
    /// token from it. Also if jobpass cannot read the existing report.
    pub(crate) fn plan(matches: &ArgMatches, environment: &Environment) -> Result<Option<Self>, Error> {
        let mode = match value(matches, "dotenv-mode") {
            None | Some("masked") => Mode::Masked,
            Some("plain") => Mode::Plain,
            Some("sealed") => Mode::Sealed(sealed::recipient(matches)?),
            Some(other) => {
                return Err(Error::input(
                    "dotenv-mode",
                    format!("is `{}`", text::wrong(other)),
                    "use `masked`, `sealed` or `plain`",
                ));
            }
        };
        if value(matches, "recipient").is_some() && !matches!(mode, Mode::Sealed(_)) {
            return Err(Error::input(
                "recipient",
                "is given, but `dotenv-mode` is not `sealed`",
                "add `dotenv-mode: sealed`, or leave out `recipient`",
            ));
        }
        let variable = variable(matches)?.to_owned();
        let Some(path) = value(matches, "dotenv") else {
            return Ok(None);
        };
        // A project variable always wins over a dotenv variable.
        if environment.raw(&variable).is_some() {
            return Err(Error::input(
                "variable",
                format!(
                    "is `{variable}`, a variable that this job already has: later jobs might not get the \
                     token in it"
                ),
                "choose another name, or remove this variable from the project, group or pipeline",
            ));
        }
        // The job that revokes gets the anchor's name from the report.
        if let Some(name) = OURS.into_iter().find(|name| environment.raw(name).is_some()) {
            return Err(Error::input(
                "dotenv",
                format!(
                    "is given, but this job already has the variable {name}: later jobs might get that \
                     value instead of the new one"
                ),
                "remove this variable from the project, group or pipeline. If another job of the pipeline \
                 hands over a token, give this job `dependencies: []`",
            ));
        }
        let path = files::absolute("dotenv", Path::new(path))?;
        let mut dotenv = Self {
            path,
            mode,
            variable,
            variables_limit: match environment.get("CI_SERVER_HOST") {
                Some("gitlab.com") => VARIABLES_LIMIT_OF_GITLAB_COM,
                _ => VARIABLES_LIMIT,
            },
            before: None,
            touched: Arc::default(),
        };
        dotenv.must_be_in_project(environment)?;
        let existing = dotenv.read()?;
        dotenv.before = existing.as_ref().map(|text| text.len() as u64);
        Ok(Some(dotenv))
    }

    /// Checks all rules for the report that jobpass can check before the token exists.
    pub(crate) fn check(&self, state: &State) -> Result<(), Error> {
        let existing = self.read()?.unwrap_or_default();
        self.addition(&existing, &self.value("")?, &state.receipt, None)
            .map(|_| ())
    }

    /// Adds the lines of the token to the report, or no line. If there is no room for the lines about the API
    /// server, leaves them out and logs a warning.
    ///
    /// # Errors
    /// If GitLab would refuse the report, if runners would not mask the whole token, or if jobpass cannot
    /// read the report, encrypt the token or write the lines.
    pub(crate) fn write(
        &self,
        token: &Token,
        receipt: &Receipt,
        connection: &Connection,
    ) -> Result<(), Error> {
        let maskable = |b: u8| b.is_ascii_alphanumeric() || b"._=-".contains(&b);
        if matches!(self.mode, Mode::Masked) && !token.expose().bytes().all(maskable) {
            return Err(Error::new(
                Kind::Deliver,
                "runners would mask only a part of this token, because it has characters that no JWT has",
            )
            .help("use `dotenv-mode: sealed`, or mint in each job with the template `job.yml`"));
        }
        let existing = self.read().map_err(deliver)?.unwrap_or_default();
        let value = self.value(token.expose())?;
        let addition = match self.addition(&existing, &value, receipt, Some(connection)) {
            Ok(addition) => addition,
            Err(_) => {
                let addition = self.addition(&existing, &value, receipt, None).map_err(deliver)?;
                log::warning(&self.without_server());
                addition
            }
        };
        self.touched.store(true, Ordering::Relaxed);
        let written = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .custom_flags(no_follow())
            .open(&self.path)
            .and_then(|mut file| {
                // Another command may have created the file, readable for all users.
                file.set_permissions(Permissions::from_mode(0o600))?;
                file.write_all(addition.as_bytes())
            });
        written.map_err(|error| {
            self.undo();
            let why = harmless(&error.to_string());
            Error::new(Kind::Deliver, format!("cannot write `{}`: {why}", self.shown()))
                .help("check the folder, its permissions and free space")
        })
    }

    /// Removes the lines of jobpass, if the report may hold some.
    pub(crate) fn undo(&self) {
        if !self.touched.load(Ordering::Relaxed) {
            return;
        }
        match self.before {
            Some(size) => {
                let file = OpenOptions::new()
                    .write(true)
                    .custom_flags(no_follow())
                    .open(&self.path);
                let _ = file.and_then(|file| file.set_len(size));
            }
            None => {
                let _ = fs::remove_file(&self.path);
            }
        }
    }

    /// The place and the form of the handed-over token, for the log.
    pub(crate) fn description(&self) -> String {
        let (variable, path) = (&self.variable, self.shown());
        let how = match &self.mode {
            Mode::Plain => "not masked".to_owned(),
            Mode::Masked => format!("its value prefixed with `{MASKED_PREFIX}`, which makes runners mask it"),
            Mode::Sealed(recipient) => format!("sealed to {recipient}"),
        };
        format!("variable {variable} of later jobs, through the report {path}, {how}")
    }

    /// The warning about the mode `plain`. `None` in another mode.
    pub(crate) fn warning(&self) -> Option<Error> {
        matches!(self.mode, Mode::Plain).then(|| {
            let variable = &self.variable;
            let what = format!(
                "`dotenv-mode: plain`: runners do not mask {variable} in the logs of the jobs that get it"
            );
            Error::new(Kind::Deliver, what).help(format!(
                "if such a job prints {variable} without jobpass's filter, every reader of its log can use \
                 the token until jobpass revokes it. Use `dotenv-mode: masked`: jobs then read the token \
                 with `${{{variable}#{MASKED_PREFIX}}}` or `jobpass-gitlab open`. Or let the jobs extend the \
                 template's `:use` job, which masks its log"
            ))
        })
    }

    fn without_server(&self) -> Error {
        let what = format!(
            "{} has no room for the address of the API server and its certificate authority: later jobs get \
             the token, but no kubeconfig",
            self.shown()
        );
        Error::new(Kind::Deliver, what).help(
            "give the certificate authority of this cluster alone, not a bundle of many, or write less to \
             the report. Otherwise, write a kubeconfig in the later jobs. The `tokenFile` of its user is the \
             file that `jobpass-gitlab open` writes",
        )
    }

    /// Refuses a report outside of the project's folder, because GitLab uploads no artifact from elsewhere.
    fn must_be_in_project(&self, environment: &Environment) -> Result<(), Error> {
        let folder = self.path.parent().and_then(|folder| folder.canonicalize().ok());
        let Some(folder) = folder else {
            return Err(self.refused(", whose folder does not exist".into(), "create the folder first"));
        };
        let project = environment
            .get("CI_PROJECT_DIR")
            .and_then(|project| fs::canonicalize(project).ok());
        match project {
            Some(project) if !folder.starts_with(&project) => Err(self.refused(
                ", outside of the project's folder".into(),
                "GitLab accepts only reports inside that folder: give a path such as `jobpass.env`",
            )),
            _ => Ok(()),
        }
    }

    /// The current content of the report. Other commands of the job may have written to it.
    fn read(&self) -> Result<Option<String>, Error> {
        let not_a_file = || {
            self.refused(
                ", which is not a regular file".into(),
                "choose another name, or remove it first",
            )
        };
        match self.path.symlink_metadata() {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Ok(metadata) if !metadata.is_file() => return Err(not_a_file()),
            _ => {}
        }
        let mut bytes = Vec::new();
        OpenOptions::new()
            .read(true)
            .custom_flags(no_follow())
            .open(&self.path)
            .and_then(|file| file.take(SIZE_LIMIT as u64 + 1).read_to_end(&mut bytes))
            .map_err(|error| {
                let why = harmless(&error.to_string());
                self.refused(
                    format!(", which cannot be read: {why}"),
                    "check its permissions, or choose another name",
                )
            })?;
        if bytes.len() >= SIZE_LIMIT {
            return Err(self.too_big(bytes.len()));
        }
        String::from_utf8(bytes).map(Some).map_err(|_| {
            self.refused(
                ", which is not text".into(),
                "choose another name, or remove it first",
            )
        })
    }

    /// The lines to add. Checks that GitLab accepts them together with the existing lines.
    fn addition(
        &self,
        existing: &str,
        token: &str,
        receipt: &Receipt,
        connection: Option<&Connection>,
    ) -> Result<String, Error> {
        let mut keys = Vec::new();
        for (number, line) in existing.lines().enumerate() {
            keys.push(self.key(number + 1, line)?);
        }
        let taken = OURS
            .into_iter()
            .chain([&*self.variable])
            .find(|key| keys.contains(key));
        if let Some(key) = taken {
            return Err(self.refused(
                format!(", which sets {key} already"),
                "a report can hand over only one token: mint each token in a job of its own. If an earlier \
                 job left the file, remove it first",
            ));
        }
        let anchor = format!("{}/{}", receipt.namespace, receipt.anchor);
        let expires_at = receipt
            .expires
            .map(|time| time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string());
        let authority = connection.and_then(|connection| connection.certificate_authority.as_ref());
        let authority = authority.map(|pem| STANDARD.encode(pem));
        let values = [
            (&*self.variable, Some(token)),
            (ANCHOR, Some(&*anchor)),
            (ANCHOR_UID, receipt.anchor_uid.as_deref()),
            (EXPIRES_AT, expires_at.as_deref()),
            (CREDENTIAL_ID, receipt.credential_id.as_deref()),
            (API_SERVER, connection.map(|connection| &*connection.server)),
            (
                API_SERVER_NAME,
                connection.and_then(|connection| connection.tls_server_name.as_deref()),
            ),
            (API_CA, authority.as_deref()),
        ];
        // Before the token exists, some of these variables have no value yet.
        let own = values
            .iter()
            .filter(|(_, value)| value.is_some())
            .count()
            .max(LEAST);
        let (variables, limit) = (keys.len() + own, self.variables_limit);
        // GitLab drops a report that is above its limit, and does so only after the job's script. Then no job
        // gets the anchor's name, and the token lives until it expires. So this is an error, and not a
        // warning.
        if variables > limit {
            return Err(self.refused(
                format!(", which would have {variables} variables"),
                format!(
                    "GitLab accepts {limit} by default, and jobpass needs {own} of them: write fewer \
                     variables to the report, or write them to the report of another job. Above its limit, \
                     GitLab would drop the whole report, and no job could revoke the token"
                ),
            ));
        }
        let mut lines = String::new();
        if !existing.is_empty() && !existing.ends_with('\n') {
            lines.push('\n');
        }
        for (key, value) in values {
            let Some(value) = value else { continue };
            if value.contains(|c: char| c.is_control()) || value.trim() != value {
                return Err(Error::new(
                    Kind::Claims,
                    format!("the API server returned a value that GitLab does not accept for {key}"),
                )
                .help(
                    "ask the administrator of the API server which proxy changes its answers: Kubernetes \
                     itself returns no such value",
                ));
            }
            lines += &format!("{key}={value}\n");
        }
        let size = existing.len() + lines.len();
        if size >= SIZE_LIMIT {
            return Err(self.too_big(size));
        }
        Ok(lines)
    }

    /// The key of a line that another command wrote. The error does not show the value, which may be secret.
    fn key<'a>(&self, number: usize, line: &'a str) -> Result<&'a str, Error> {
        let key = line.split_once('=').map(|(key, _)| key.trim());
        key.filter(|key| is_key(key)).ok_or_else(|| {
            let what = match line.trim() {
                "" => "is blank",
                line if line.starts_with('#') => "is a comment",
                _ => "is not `KEY=value` with a key of letters, digits and `_`",
            };
            self.refused(
                format!(", whose line {number} {what}"),
                "GitLab refuses such a report: correct the command that writes the line",
            )
        })
    }

    /// The value of the token's variable.
    fn value(&self, token: &str) -> Result<String, Error> {
        match &self.mode {
            Mode::Plain => Ok(token.to_owned()),
            Mode::Masked => Ok(format!("{MASKED_PREFIX}{token}")),
            Mode::Sealed(recipient) => sealed::seal(token, recipient),
        }
    }

    fn too_big(&self, size: usize) -> Error {
        self.refused(
            format!(", which would have {size} bytes or more"),
            format!(
                "GitLab accepts reports of less than {SIZE_LIMIT} bytes by default: write less to the \
                 report, or ask for fewer audiences, because the token contains them"
            ),
        )
    }

    fn refused(&self, problem: String, allowed: impl Into<String>) -> Error {
        Error::input("dotenv", format!("is `{}`{problem}", self.shown()), allowed)
    }

    fn shown(&self) -> String {
        text::path(&self.path)
    }
}

/// Turns the error about an input into a failure to hand over the token. The token exists by now, and jobpass
/// revokes it.
fn deliver(error: Error) -> Error {
    let help = error.to_string();
    let help = help.split_once("\n\n").map(|(_, help)| help.to_owned());
    let error = Error::new(Kind::Deliver, error.message());
    match help {
        Some(help) => error.help(help),
        None => error,
    }
}

/// The flags for opening a file: they follow no symlink, and do not wait at a named pipe.
fn no_follow() -> i32 {
    (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed()
}

#[cfg(test)]
mod tests {
    use clap::Command;
    use jobpass_core::inputs::options::{Inputs, Opt};
    use rstest::rstest;

    use super::{super::flags, *};
    use crate::job::tests::matches;

    const MINTED: &str = "e30.eyJzdWIiOiJhIn0.c2ln";

    fn given(arguments: &[&str]) -> ArgMatches {
        matches(Command::new("verb").args(flags()), arguments)
    }

    /// Creates a project's folder, and plans a report in it.
    fn plan(
        arguments: &[&str],
        variables: &[(&str, &str)],
    ) -> (Result<Option<Dotenv>, Error>, tempfile::TempDir) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("jobpass.env").display().to_string();
        let arguments = arguments
            .iter()
            .map(|word| if *word == "REPORT" { &*path } else { word });
        let environment = Environment::default().with("CI_PROJECT_DIR", folder.path().to_str());
        let environment = variables.iter().fold(environment, |environment, (name, value)| {
            environment.with(name, Some(value))
        });
        let plan = Dotenv::plan(&given(&arguments.collect::<Vec<_>>()), &environment);
        (plan, folder)
    }

    fn report() -> (Dotenv, tempfile::TempDir) {
        let (plan, folder) = plan(&["--dotenv", "REPORT"], &[]);
        (plan.expect("a plan").expect("a report"), folder)
    }

    /// GitLab complains about a wrong report only after the job, if at all.
    #[rstest]
    #[case::not_asked_for(&[], &[], Ok(false))]
    #[case::asked_for(&["--dotenv", "REPORT"], &[], Ok(true))]
    #[case::another_word(&["--dotenv-mode", "open"], &[], Err("input `dotenv-mode` is `open`"))]
    #[case::sealed_to_nobody(&["--dotenv", "REPORT", "--dotenv-mode", "sealed"], &[], Err("input `recipient` is missing"))]
    #[case::not_sealed(&["--dotenv", "REPORT", "--recipient", "age1"], &[], Err("input `recipient` is given"))]
    #[case::set_already(&["--dotenv", "REPORT"], &[("JOBPASS_TOKEN", "")], Err("input `variable` is `JOBPASS_TOKEN`, a variable that this job already has"))]
    #[case::of_another_job(&["--dotenv", "REPORT"], &[(ANCHOR, "ci/a")], Err("this job already has the variable JOBPASS_ANCHOR"))]
    #[case::outside(&["--dotenv", "/tmp/jobpass.env"], &[], Err("outside of the project's folder"))]
    #[case::in_no_folder(&["--dotenv", "/nowhere/jobpass.env"], &[], Err("whose folder does not exist"))]
    fn a_report_that_nobody_would_get_is_refused(
        #[case] arguments: &[&str],
        #[case] variables: &[(&str, &str)],
        #[case] expected: Result<bool, &str>,
    ) {
        match (plan(arguments, variables).0, expected) {
            (Ok(plan), Ok(expected)) => assert_eq!(plan.is_some(), expected),
            (Err(error), Err(why)) => assert!(error.message().contains(why), "{error}"),
            (plan, expected) => panic!("{:?} instead of {expected:?}", plan.map(|_| ())),
        }
    }

    fn receipt() -> Receipt {
        Receipt {
            anchor_uid: Some("u-1".into()),
            credential_id: Some("JTI".into()),
            expires: Some("2026-11-26T08:00:00.5Z".parse().expect("a time")),
            ..Receipt::new("scanner", "ci", "jobpass-a")
        }
    }

    #[test]
    fn the_lines_follow_what_other_commands_wrote() {
        let (report, _folder) = report();
        let lines = report
            .addition("A=1", "glpat-x", &receipt(), None)
            .expect("lines");
        assert_eq!(
            lines,
            "\nJOBPASS_TOKEN=glpat-x\nJOBPASS_ANCHOR=ci/jobpass-a\nJOBPASS_ANCHOR_UID=u-1\n\
             JOBPASS_EXPIRES_AT=2026-11-26T08:00:00Z\nJOBPASS_CREDENTIAL_ID=JTI\n"
        );
    }

    /// gitlab.com accepts more variables than the default of self-managed GitLab.
    #[rstest]
    #[case::self_managed(None, 15)]
    #[case::another_host(Some("gitlab.example.com"), 15)]
    #[case::gitlab_com(Some("gitlab.com"), 45)]
    fn a_report_has_as_many_variables_as_its_gitlab_accepts(
        #[case] host: Option<&str>,
        #[case] others: usize,
    ) {
        let folder = tempfile::tempdir().expect("a folder");
        let folder_name = folder.path().to_str().expect("text");
        let environment = Environment::from([("CI_PROJECT_DIR", folder_name)]).with("CI_SERVER_HOST", host);
        let path = format!("{folder_name}/jobpass.env");
        let report = Dotenv::plan(&given(&["--dotenv", &path]), &environment);
        let report = report.expect("a plan").expect("a report");
        let accepts = |others| {
            report
                .addition(&variables(others), "glpat-x", &receipt(), None)
                .is_ok()
        };
        assert!(accepts(others) && !accepts(others + 1));
    }

    fn variables(number: usize) -> String {
        (0..number).map(|number| format!("A{number}=1\n")).collect()
    }

    /// GitLab drops the whole report if it breaks one of GitLab's rules. The last case breaks a rule of
    /// jobpass.
    #[rstest]
    #[case::empty("", None)]
    #[case::as_many_as_gitlab_accepts(&variables(15), None)]
    #[case::too_many(&variables(16), Some("which would have 21 variables"))]
    #[case::too_big(&format!("A={}", "x".repeat(SIZE_LIMIT - 100)), Some("bytes or more"))]
    #[case::blank("A=1\n\nB=2\n", Some("whose line 2 is blank"))]
    #[case::a_comment("# s3cret\n", Some("whose line 1 is a comment"))]
    #[case::no_value("s3cret\n", Some("whose line 1 is not `KEY=value`"))]
    #[case::a_key_with_a_hyphen("s3cret-a=1\n", Some("whose line 1 is not `KEY=value`"))]
    #[case::another_token("JOBPASS_ANCHOR=ci/a\n", Some("which sets JOBPASS_ANCHOR already"))]
    fn gitlab_accepts_the_whole_report_or_nothing(#[case] existing: &str, #[case] expected: Option<&str>) {
        let (report, _folder) = report();
        let error = report.addition(existing, "glpat-x", &receipt(), None).err();
        assert_eq!(error.is_some(), expected.is_some(), "{error:?}");
        let error = error.map(|error| error.to_string()).unwrap_or_default();
        assert!(
            error.contains(expected.unwrap_or_default()) && !error.contains("s3cret"),
            "{error}"
        );
    }

    /// The report needs room for values that jobpass knows only after minting. A check after minting would
    /// come too late.
    #[rstest]
    #[case(15, true)]
    #[case(16, false)]
    fn there_is_room_for_values_that_are_not_known_yet(#[case] others: usize, #[case] fits: bool) {
        let (report, _folder) = report();
        let unminted = Receipt::new("scanner", "ci", "jobpass-a");
        assert_eq!(
            report
                .addition(&variables(others), "glpat-", &unminted, None)
                .is_ok(),
            fits
        );
    }

    #[test]
    fn an_answer_of_the_api_server_sets_no_variable_of_its_own() {
        let (report, _folder) = report();
        let hostile = Receipt {
            credential_id: Some("a\nPATH=/tmp".into()),
            ..receipt()
        };
        let error = report
            .addition("", "glpat-x", &hostile, None)
            .expect_err("refused");
        assert_eq!(error.kind(), Kind::Claims);
    }

    fn connection(authority: &str) -> Connection {
        let server = [(Opt::Server, "https://k8s.example.com")];
        let mut connection =
            Connection::of_server(&Inputs::from(server), &Environment::default()).expect("a server");
        connection.certificate_authority = Some(authority.to_owned());
        connection
    }

    fn minted() -> Token {
        Token::parse(MINTED, "token").expect("a token")
    }

    /// Without the API server's URL and certificate authority, a later job can still use the token.
    #[rstest]
    #[case::a_short_one("PEM", true)]
    #[case::a_bundle(&"x".repeat(SIZE_LIMIT), false)]
    fn a_certificate_authority_that_is_too_long_is_left_out(#[case] authority: &str, #[case] is_in: bool) {
        let (report, _folder) = report();
        report
            .write(&minted(), &receipt(), &connection(authority))
            .expect("written");
        let text = fs::read_to_string(&report.path).expect("text");
        assert!(
            text.starts_with(&format!("JOBPASS_TOKEN=glpat-{MINTED}\n")),
            "{text}"
        );
        assert_eq!((text.contains(API_SERVER), text.contains(API_CA)), (is_in, is_in));
        assert_eq!(
            report.path.metadata().expect("it is there").permissions().mode() & 0o777,
            0o600
        );
    }

    #[rstest]
    #[case::not_there_before(None)]
    #[case::with_other_variables(Some("A=1\n"))]
    fn a_report_is_again_what_it_was(#[case] before: Option<&str>) {
        let (report, folder) = report();
        let path = report.path.clone();
        if let Some(before) = before {
            fs::write(&path, before).expect("written");
        }
        let environment = Environment::default().with("CI_PROJECT_DIR", folder.path().to_str());
        let arguments = ["--dotenv", path.to_str().expect("text")];
        let report = Dotenv::plan(&given(&arguments), &environment)
            .expect("a plan")
            .expect("a report");
        report.undo();
        assert_eq!(path.exists(), before.is_some(), "nothing was written yet");
        report
            .write(&minted(), &receipt(), &connection("PEM"))
            .expect("written");
        report.undo();
        assert_eq!(fs::read_to_string(&path).ok().as_deref(), before);
    }

    /// After the prefix, runners mask only letters, digits and `._=-`. The log would show the rest of the
    /// token.
    #[test]
    fn a_token_that_runners_would_mask_in_part_is_not_written() {
        let (report, _folder) = report();
        let token = Token::parse("e30.a+b/c.c2ln", "token").expect("a token");
        let error = report
            .write(&token, &receipt(), &connection("PEM"))
            .expect_err("refused");
        assert_eq!(error.kind(), Kind::Deliver);
        assert!(!report.path.exists());
    }

    #[test]
    fn a_report_is_not_written_through_a_link() {
        let (report, folder) = report();
        let elsewhere = folder.path().join("elsewhere");
        fs::write(&elsewhere, "").expect("written");
        std::os::unix::fs::symlink(&elsewhere, &report.path).expect("linked");
        let error = report
            .write(&minted(), &receipt(), &connection("PEM"))
            .expect_err("refused");
        assert!(error.message().contains("not a regular file"), "{error}");
        assert_eq!(fs::read_to_string(elsewhere).expect("text"), "");
    }

    #[rstest]
    #[case("masked", "prefixed with `glpat-`", false)]
    #[case("plain", "not masked", true)]
    fn the_log_says_that_plain_is_not_masked(#[case] mode: &str, #[case] how: &str, #[case] warns: bool) {
        let (plan, _folder) = plan(&["--dotenv", "REPORT", "--dotenv-mode", mode], &[]);
        let report = plan.expect("a plan").expect("a report");
        assert!(report.description().contains(how), "{}", report.description());
        assert_eq!(report.warning().is_some(), warns);
    }
}
