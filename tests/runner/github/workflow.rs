//! Workflows, and the manifests of JavaScript actions. The harness refuses a workflow that uses a feature
//! that it lacks.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Deserializer};
use serde_yaml::Value;

pub(super) type Texts = BTreeMap<String, Text>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Workflow {
    #[serde(default)]
    pub(super) name: Text,
    #[serde(rename = "on", default)]
    _on: Value,
    permissions: Option<Permissions>,
    #[serde(default)]
    pub(super) env: Texts,
    jobs: BTreeMap<String, Job>,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Job {
    #[serde(default)]
    _name: Value,
    #[serde(rename = "runs-on", default)]
    _runs_on: Value,
    permissions: Option<Permissions>,
    #[serde(default)]
    pub(super) environment: Text,
    #[serde(default)]
    pub(super) env: Texts,
    #[serde(default)]
    pub(super) outputs: Texts,
    pub(super) steps: Vec<Step>,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Step {
    pub(super) id: Option<String>,
    name: Option<String>,
    #[serde(rename = "if", default)]
    pub(super) condition: Text,
    pub(super) uses: Option<String>,
    #[serde(default)]
    pub(super) with: Texts,
    pub(super) run: Option<String>,
    pub(super) shell: Option<String>,
    #[serde(default)]
    pub(super) env: Texts,
    #[serde(default)]
    pub(super) continue_on_error: bool,
    timeout_minutes: Option<f64>,
}

#[derive(Clone, Deserialize)]
#[serde(untagged)]
enum Permissions {
    All(String),
    Each(BTreeMap<String, String>),
}

/// A YAML scalar as text. Null is the empty text.
#[derive(Clone, Default)]
pub(super) struct Text(pub(super) String);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::Null => Ok(Text::default()),
            Value::String(text) => Ok(Text(text)),
            Value::Bool(bool) => Ok(Text(bool.to_string())),
            Value::Number(number) => Ok(Text(number.to_string())),
            _ => Err(serde::de::Error::custom(
                "a text, a number or a boolean is wanted",
            )),
        }
    }
}

impl Workflow {
    pub(super) fn parse(yaml: &str) -> Self {
        serde_yaml::from_str(yaml)
            .unwrap_or_else(|error| panic!("the harness cannot run this workflow: {error}"))
    }

    /// The only job of the workflow, with its name.
    pub(super) fn job(&self) -> (&str, &Job) {
        let mut jobs = self.jobs.iter();
        match (jobs.next(), jobs.next()) {
            (Some((name, job)), None) => (name, job),
            _ => panic!("the harness runs only workflows with exactly one job"),
        }
    }

    /// Whether the job has `id-token: write`. The permissions of a job replace those of the workflow.
    pub(super) fn may_ask_for_id_token(&self) -> bool {
        let permissions = self.job().1.permissions.as_ref().or(self.permissions.as_ref());
        match permissions {
            Some(Permissions::All(all)) => all == "write-all",
            Some(Permissions::Each(each)) => each.get("id-token").is_some_and(|access| access == "write"),
            None => false,
        }
    }
}

impl Step {
    /// The step's name in the log.
    pub(super) fn name(&self) -> String {
        let first_line = |run: &str| run.lines().next().unwrap_or_default().to_owned();
        let what = || {
            let uses = self.uses.clone();
            format!(
                "Run {}",
                uses.or(self.run.as_deref().map(first_line)).unwrap_or_default()
            )
        };
        self.name.clone().unwrap_or_else(what)
    }

    pub(super) fn timeout(&self) -> Option<Duration> {
        self.timeout_minutes
            .map(|minutes| Duration::from_secs_f64(minutes * 60.0))
    }
}

/// A JavaScript action, from its `action.yml`.
#[derive(Clone)]
pub(super) struct Action {
    folder: PathBuf,
    manifest: Manifest,
}

#[derive(Clone, Deserialize)]
struct Manifest {
    #[serde(default)]
    inputs: BTreeMap<String, Input>,
    runs: Runs,
}

#[derive(Clone, Deserialize)]
struct Input {
    default: Option<Text>,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Runs {
    using: String,
    main: PathBuf,
    post: Option<PathBuf>,
    post_if: Option<String>,
}

impl Action {
    pub(super) fn load(folder: &Path) -> Self {
        let text = std::fs::read_to_string(folder.join("action.yml")).expect("the action has an action.yml");
        let manifest: Manifest = serde_yaml::from_str(&text)
            .unwrap_or_else(|error| panic!("the harness cannot run this action: {error}"));
        let using = &manifest.runs.using;
        assert!(using.starts_with("node"), "the harness runs no `{using}` actions");
        Self {
            folder: folder.to_owned(),
            manifest,
        }
    }

    pub(super) fn main(&self) -> PathBuf {
        self.folder.join(&self.manifest.runs.main)
    }

    /// The script for the end of the job, and the condition under which it runs (`ActionManifestManager.cs`).
    pub(super) fn post(&self) -> Option<(PathBuf, &str)> {
        let runs = &self.manifest.runs;
        let script = self.folder.join(runs.post.as_ref()?);
        Some((script, runs.post_if.as_deref().unwrap_or("always()")))
    }

    /// The default of each input.
    pub(super) fn defaults(&self) -> impl Iterator<Item = (&str, &str)> {
        self.manifest.inputs.iter().map(|(name, input)| {
            let default = input.default.as_ref().map_or("", |default| &default.0);
            (name.as_str(), default)
        })
    }
}
