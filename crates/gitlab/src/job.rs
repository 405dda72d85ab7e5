//! A GitLab job: its variables, and the folder for the files that the end of the job needs.

use std::{
    fs::{self, OpenOptions},
    os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    time::Duration,
};

use clap::ArgMatches;
use jobpass_core::{
    Error, Kind,
    anchor::Origin,
    inputs::options::{Inputs, Opt},
    process::environment::Environment,
    record::state::State,
    text::{self, harmless},
};
use rustix::process::geteuid;

use crate::mask::FILTER;

/// The age above which a file of a job counts as left over, because the job has most likely ended by then.
const LEFT_OVER: Duration = Duration::from_secs(24 * 60 * 60);

/// The job in which this program runs.
pub(crate) struct Job {
    pub(crate) environment: Environment,
    /// The job's id, which is a part of file names.
    id: String,
    /// The runner's temporary folder of the project. The folder is outside of the project, so that no file in
    /// it can become an artifact.
    folder: PathBuf,
}

/// A recorded state. The name of its file contains the namespace and the name of the anchor, which are enough
/// to revoke if the content is damaged.
pub(crate) struct Recorded {
    pub(crate) path: PathBuf,
    /// `NAMESPACE/NAME`.
    pub(crate) anchor: String,
    /// Whether the state's file is a regular file of this user, to which no other user can write. Any other
    /// file could name a wrong server for the minter's credential.
    pub(crate) is_ours: bool,
}

impl Job {
    /// Reads the job from its variables.
    ///
    /// # Errors
    /// If the variables are not those of a GitLab job.
    pub(crate) fn new(environment: Environment) -> Result<Self, Error> {
        let id = variable(&environment, "CI_JOB_ID")?.to_owned();
        if !id.bytes().all(|b| b.is_ascii_alphanumeric()) {
            let what = format!(
                "the variable CI_JOB_ID is `{}`, which is not the id of a job",
                harmless(&id)
            );
            return Err(Error::new(Kind::Input, what).help(
                "GitLab sets this variable, and something else overrides it: the pipeline, one of its \
                 scripts, a variable of the project or of a group, or `environment` in the runner's \
                 configuration. Remove that setting",
            ));
        }
        let folder = match environment.utf8("RUNNER_TEMP_PROJECT_DIR")? {
            Some(folder) => folder.into(),
            None => format!("{}.tmp", variable(&environment, "CI_PROJECT_DIR")?).into(),
        };
        Ok(Self {
            environment,
            id,
            folder,
        })
    }

    /// The temporary folder. Creates it if it does not exist.
    pub(crate) fn folder(&self) -> Result<&Path, Error> {
        let made = fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.folder);
        made.map_err(|error| {
            let (folder, why) = (text::path(&self.folder), harmless(&error.to_string()));
            let what = format!("cannot create the job's temporary folder `{folder}`: {why}");
            Error::new(Kind::Deliver, what).help(
                "check the permissions and the free space of the folder above it, and that no file has this \
                 name",
            )
        })?;
        Ok(&self.folder)
    }

    /// The path of the temporary folder, for messages.
    pub(crate) fn folder_name(&self) -> String {
        self.folder.to_string_lossy().into_owned()
    }

    /// Replaces `true` in `token-file` and `kubeconfig-file` by names that contain the job's id, because a
    /// script knows that id, but not the anchor's name.
    pub(crate) fn with_file_names(&self, mut inputs: Inputs) -> Inputs {
        for (option, suffix) in [(Opt::TokenFile, "token"), (Opt::KubeconfigFile, "kubeconfig")] {
            if inputs.get(option) == Some("true") {
                inputs = inputs.with(option, format!("jobpass-{}.{suffix}", self.id));
            }
        }
        inputs
    }

    /// The file for the state of a token.
    pub(crate) fn state_file(&self, state: &State) -> PathBuf {
        self.file_of(state, "json")
    }

    /// A file that belongs to one token.
    pub(crate) fn file_of(&self, state: &State, extension: &str) -> PathBuf {
        let (namespace, anchor) = (&state.receipt.namespace, &state.receipt.anchor);
        self.folder
            .join(format!("jobpass-{}.{namespace}.{anchor}.{extension}", self.id))
    }

    /// A file of the job that does not belong to one token.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.join(format!("jobpass-{}.{name}", self.id))
    }

    /// The files of this job whose names end in `.` and `extension`: named pipes, and regular files of this
    /// user that no other user can write to.
    pub(crate) fn files(&self, extension: &str) -> Vec<PathBuf> {
        let files = self.names().into_iter();
        let files = files.filter(|(name, _)| name.rsplit('.').next() == Some(extension));
        let files = files.filter(|(_, path)| {
            let is_pipe = |path: &Path| {
                path.symlink_metadata()
                    .is_ok_and(|file| file.file_type().is_fifo())
            };
            is_pipe(path) || is_ours(path)
        });
        files.map(|(_, path)| path).collect()
    }

    /// The states that this job recorded. Removes unfinished state files, which a killed process left. No
    /// token belongs to them, because jobpass sends its first request to the cluster only after it has
    /// recorded a complete state.
    pub(crate) fn recorded(&self) -> Vec<Recorded> {
        let mut recorded = Vec::new();
        for (name, path) in self.names() {
            if let Some((namespace, anchor)) =
                name.strip_suffix(".json").and_then(|rest| rest.split_once('.'))
            {
                recorded.push(Recorded {
                    anchor: format!("{namespace}/{anchor}"),
                    is_ours: is_ours(&path),
                    path,
                });
            } else if name.ends_with(".partial") {
                let _ = fs::remove_file(path);
            }
        }
        recorded
    }

    /// The files of this job, in order: the rest of each name after `jobpass-ID.`, and the path.
    fn names(&self) -> Vec<(String, PathBuf)> {
        names(&self.folder, &format!("jobpass-{}.", self.id))
    }

    /// Marks that this job has begun to mint. Ignores a failure, because jobpass then cannot write the state
    /// either, and `mint` fails. Also removes old files that jobs left: their marks, the results of their
    /// guards, and the journals of their log filters. A killed filter leaves its journal, which may hold
    /// tokens.
    pub(crate) fn begin(&self) {
        let _ = self.folder();
        // If this job takes more than a day and mints again, its own filter still needs its journal.
        let own = format!("{}.", self.id);
        for (name, path) in names(&self.folder, "jobpass-") {
            let is_mark = [".begun", ".over"].iter().any(|end| name.ends_with(end));
            if is_mark && is_ours(&path) && is_old(&path) {
                let _ = fs::remove_file(path);
            } else if name.ends_with(&format!(".{FILTER}")) && !name.starts_with(&own) && is_old(&path) {
                // This does not follow a link, and only the owner can remove the files of a private folder.
                let _ = fs::remove_dir_all(path);
            }
        }
        let file = self.file("begun");
        let _ = fs::remove_file(&file);
        let _ = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(file);
    }

    /// Whether this job has begun to mint. Removes the mark of [`Job::begin`].
    pub(crate) fn had_begun(&self) -> bool {
        fs::remove_file(self.file("begun")).is_ok()
    }

    pub(crate) fn origin(&self) -> Origin {
        let get = |name| self.environment.get(name).map(str::to_owned);
        Origin {
            platform: "gitlab",
            repository: get("CI_PROJECT_PATH"),
            run_id: get("CI_PIPELINE_ID"),
            job: get("CI_JOB_ID"),
            check_run_id: None,
            url: get("CI_JOB_URL"),
            requested_by: get("GITLAB_USER_LOGIN"),
        }
    }
}

/// The files in a folder whose names begin with `prefix`, in order: the rest of each name, and the path.
fn names(folder: &Path, prefix: &str) -> Vec<(String, PathBuf)> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| {
        let name = entry.file_name();
        Some((name.to_str()?.strip_prefix(prefix)?.to_owned(), entry.path()))
    });
    let mut names = names.collect::<Vec<_>>();
    names.sort();
    names
}

/// Whether a file is so old that its job has most likely ended.
fn is_old(path: &Path) -> bool {
    let written = path.symlink_metadata().and_then(|file| file.modified());
    let age = written.ok().and_then(|written| written.elapsed().ok());
    age.is_some_and(|age| age > LEFT_OVER)
}

fn is_ours(path: &Path) -> bool {
    path.symlink_metadata()
        .is_ok_and(|file| file.is_file() && file.uid() == geteuid().as_raw() && file.mode() & 0o022 == 0)
}

fn variable<'a>(environment: &'a Environment, name: &str) -> Result<&'a str, Error> {
    environment.utf8(name)?.ok_or_else(|| {
        Error::new(Kind::Input, format!("the variable {name} is not set"))
            .help("use jobpass-gitlab only in a GitLab CI job. Elsewhere, use `jobpass`")
    })
}

/// The value of an option that only `jobpass-gitlab` has. An empty value counts as absent, because templates
/// pass absent inputs as empty strings.
pub(crate) fn value<'a>(matches: &'a ArgMatches, name: &str) -> Option<&'a str> {
    let value = matches.get_one::<String>(name)?.trim();
    (!value.is_empty()).then_some(value)
}

#[cfg(test)]
pub(crate) mod tests {
    use std::{fs::Permissions, os::unix::fs::PermissionsExt as _, time::SystemTime};

    use clap::Command;
    use rstest::rstest;

    use super::*;

    const ANCHOR: &str = "jobpass-1f0c6e7a1f0c6e7a1f0c";

    /// Job 42, whose temporary folder is in `folder`.
    pub(crate) fn job(folder: &Path, variables: &[(&str, &str)]) -> Job {
        let project = folder.join("project");
        let environment = Environment::from([("CI_JOB_ID", "42"), ("CI_PIPELINE_ID", "7")])
            .with("CI_PROJECT_DIR", project.to_str());
        let environment = variables.iter().fold(environment, |environment, (name, value)| {
            environment.with(name, Some(value))
        });
        let job = Job::new(environment).expect("a job");
        job.folder().expect("a folder");
        job
    }

    /// Parses the arguments of a verb. The variables of this machine have no effect.
    pub(crate) fn matches(command: Command, arguments: &[&str]) -> ArgMatches {
        let command = command.mut_args(|flag| flag.env(None::<&str>));
        command.get_matches_from(["verb"].iter().chain(arguments))
    }

    #[rstest]
    #[case::of_gitlab("42", Some("/builds/a"), None, Ok("/builds/a.tmp"))]
    #[case::of_a_newer_runner("42", Some("/builds/a"), Some("/builds/a.tmp1"), Ok("/builds/a.tmp1"))]
    #[case::a_path(
        "../42",
        Some("/builds/a"),
        None,
        Err("CI_JOB_ID is `../42`, which is not the id of a job")
    )]
    #[case::elsewhere("42", None, None, Err("CI_PROJECT_DIR is not set"))]
    fn the_temporary_folder_is_beside_the_project(
        #[case] id: &str,
        #[case] project: Option<&str>,
        #[case] given: Option<&str>,
        #[case] expected: Result<&str, &str>,
    ) {
        let environment = Environment::from([("CI_JOB_ID", id)])
            .with("CI_PROJECT_DIR", project)
            .with("RUNNER_TEMP_PROJECT_DIR", given);
        match (Job::new(environment), expected) {
            (Ok(job), Ok(folder)) => assert_eq!(job.folder_name(), folder),
            (Err(error), Err(why)) => assert!(error.message().contains(why), "{error}"),
            (job, expected) => panic!("{:?} instead of {expected:?}", job.map(|job| job.folder)),
        }
    }

    /// A runner that kills all processes of a job also kills the log filter.
    #[test]
    fn journals_that_killed_filters_left_are_removed() {
        let folder = tempfile::tempdir().expect("a folder");
        let job = job(folder.path(), &[]);
        let [old, own, new] = ["41.a.filter", "42.a.filter", "41.b.filter"].map(|name| {
            let path = job.folder.join(format!("jobpass-{name}"));
            fs::create_dir(&path).expect("created");
            fs::write(path.join("journal"), "a token").expect("written");
            path
        });
        let time = SystemTime::now() - 2 * LEFT_OVER;
        for old in [&old, &own] {
            fs::File::open(old)
                .and_then(|file| file.set_modified(time))
                .expect("set");
        }
        job.begin();
        assert!(!old.exists() && own.exists() && new.exists());
    }

    #[test]
    fn true_is_a_file_of_this_job() {
        let folder = tempfile::tempdir().expect("a folder");
        let inputs = Inputs::from([(Opt::TokenFile, "true"), (Opt::KubeconfigFile, "my.kubeconfig")]);
        let inputs = job(folder.path(), &[]).with_file_names(inputs);
        assert_eq!(inputs.get(Opt::TokenFile), Some("jobpass-42.token"));
        assert_eq!(inputs.get(Opt::KubeconfigFile), Some("my.kubeconfig"));
    }

    /// Another user could write a server of their own into the state, and jobpass would send the minter's
    /// credential to that server.
    #[rstest]
    #[case::ours(0o600, true)]
    #[case::for_others_to_read(0o644, true)]
    #[case::for_a_group_to_write(0o620, false)]
    #[case::for_all_to_write(0o602, false)]
    fn a_state_that_others_can_write_is_not_ours(#[case] mode: u32, #[case] is_ours: bool) {
        let folder = tempfile::tempdir().expect("a folder");
        let job = job(folder.path(), &[]);
        let path = job.file(&format!("ci.{ANCHOR}.json"));
        fs::write(&path, "{}").expect("written");
        fs::set_permissions(&path, Permissions::from_mode(mode)).expect("set");
        let recorded = job.recorded();
        assert_eq!(recorded.len(), 1);
        assert_eq!(
            (&*recorded[0].anchor, recorded[0].is_ours),
            (&*format!("ci/{ANCHOR}"), is_ours)
        );
    }

    #[test]
    fn a_link_to_a_state_is_not_ours() {
        let folder = tempfile::tempdir().expect("a folder");
        let job = job(folder.path(), &[]);
        let path = job.file(&format!("ci.{ANCHOR}.json"));
        fs::write(folder.path().join("elsewhere"), "{}").expect("written");
        std::os::unix::fs::symlink(folder.path().join("elsewhere"), path).expect("linked");
        assert!(!job.recorded()[0].is_ours);
    }

    /// The jobs of a runner may share the temporary folder of a project.
    #[test]
    fn a_job_finds_its_own_files_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let job = job(folder.path(), &[]);
        let state = format!("ci.{ANCHOR}.json");
        let half = job.file("ci.state.partial");
        let of_another = job.folder.join(format!("jobpass-421.{state}"));
        for path in [&job.file(&state), &job.file("a.opened"), &half, &of_another] {
            fs::write(path, "{}").expect("written");
        }
        assert_eq!(job.recorded().len(), 1);
        assert_eq!(job.files("opened"), [job.file("a.opened")]);
        // jobpass sends no request before it has recorded a complete state.
        assert!(!half.exists() && of_another.exists());
    }

    #[test]
    fn a_job_had_begun_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let job = job(folder.path(), &[]);
        assert!(!job.had_begun());
        job.begin();
        assert!(job.had_begun() && !job.had_begun());
    }

    #[rstest]
    #[case(&[], None)]
    #[case(&["--variable", " "], None)]
    #[case(&["--variable", " A "], Some("A"))]
    fn an_option_of_spaces_is_absent(#[case] arguments: &[&str], #[case] expected: Option<&str>) {
        let command = Command::new("verb").arg(crate::dotenv::variable_flag());
        assert_eq!(value(&matches(command, arguments), "variable"), expected);
    }
}
