//! A pipeline's definition with `include`, `extends` and `!reference`, and the jobs in it.

use std::fs;
use std::path::Path;
use std::time::Duration;

use jiff::SignedDuration;
use serde_yaml::{Mapping, Value};

use super::inputs;
use super::variables::{Variables, plain};

/// Keywords at the top level that are not jobs.
const GLOBAL: [&str; 5] = ["default", "include", "stages", "variables", "workflow"];

pub(super) struct Config {
    pub(super) stages: Vec<String>,
    pub(super) variables: Variables,
    pub(super) jobs: Vec<Job>,
}

/// A job's definition.
#[derive(Clone)]
pub(super) struct Job {
    pub(super) name: String,
    pub(super) stage: String,
    pub(super) variables: Variables,
    /// The ID tokens, each with its audiences.
    pub(super) id_tokens: Vec<(String, Vec<String>)>,
    /// The lines of `before_script` and `script`.
    pub(super) script: Vec<String>,
    pub(super) after_script: Vec<String>,
    pub(super) rules: Option<Vec<Rule>>,
    pub(super) when: String,
    pub(super) allow_failure: bool,
    /// The jobs in `needs`, and whether this job wants their artifacts.
    pub(super) needs: Option<Vec<(String, bool)>>,
    pub(super) dependencies: Option<Vec<String>>,
    pub(super) paths: Vec<String>,
    pub(super) dotenv: Vec<String>,
    pub(super) artifacts_when: String,
    pub(super) timeout: Duration,
}

#[derive(Clone)]
pub(super) struct Rule {
    pub(super) condition: Option<String>,
    pub(super) when: Option<String>,
}

impl Config {
    /// Reads `.gitlab-ci.yml` in this folder.
    pub(super) fn load(project: &Path, others: &[(&str, &Path)]) -> Self {
        let config = with_includes(project, others, ".gitlab-ci.yml", &Mapping::new());
        let jobs = config
            .iter()
            .filter_map(|(name, _)| name.as_str())
            .filter(|name| !name.starts_with('.') && !GLOBAL.contains(name))
            .map(|name| Job::new(name, &config))
            .collect();
        let mut stages = texts(config.get("stages"));
        if stages.is_empty() {
            stages = ["build", "test", "deploy"].map(str::to_owned).into();
        }
        stages.insert(0, ".pre".to_owned());
        stages.push(".post".to_owned());
        Self {
            stages,
            variables: variables(config.get("variables")),
            jobs,
        }
    }
}

impl Job {
    fn new(name: &str, config: &Mapping) -> Self {
        let mut job = extended(name, config);
        for (keyword, default) in config
            .get("default")
            .and_then(Value::as_mapping)
            .into_iter()
            .flatten()
        {
            let keywords = job.as_mapping_mut().expect("a job is a mapping");
            keywords.entry(keyword.clone()).or_insert_with(|| default.clone());
        }
        let job = referenced(job, config);
        let list = |keyword: &str| texts(job.get(keyword));
        let text = |keyword: &str, default: &str| {
            let text = job.get(keyword).and_then(Value::as_str);
            text.unwrap_or(default).to_owned()
        };
        let artifacts = job.get("artifacts");
        let rules = job.get("rules").and_then(Value::as_sequence);
        Self {
            name: name.to_owned(),
            stage: text("stage", "test"),
            variables: variables(job.get("variables")),
            id_tokens: job
                .get("id_tokens")
                .and_then(Value::as_mapping)
                .into_iter()
                .flatten()
                .map(|(name, token)| (self::text(name), texts(token.get("aud"))))
                .inspect(|(name, audiences)| {
                    assert!(
                        !audiences.is_empty(),
                        "jobs:id_tokens:{} aud can't be blank",
                        name
                    );
                })
                .collect(),
            script: [list("before_script"), list("script")].concat(),
            after_script: list("after_script"),
            rules: rules.map(|rules| rules.iter().map(Rule::new).collect()),
            when: text("when", "on_success"),
            allow_failure: job.get("allow_failure").and_then(Value::as_bool) == Some(true),
            needs: job
                .get("needs")
                .and_then(Value::as_sequence)
                .map(|needs| needs.iter().map(need).collect()),
            dependencies: job.get("dependencies").map(|jobs| texts(Some(jobs))),
            paths: texts(artifacts.and_then(|artifacts| artifacts.get("paths"))),
            dotenv: texts(artifacts.and_then(|artifacts| artifacts.get("reports")?.get("dotenv"))),
            artifacts_when: artifacts
                .and_then(|artifacts| artifacts.get("when")?.as_str())
                .unwrap_or("on_success")
                .to_owned(),
            timeout: duration(&text("timeout", "1h")),
        }
    }
}

impl Rule {
    fn new(rule: &Value) -> Self {
        let text = |keyword: &str| rule.get(keyword).and_then(Value::as_str).map(str::to_owned);
        Self {
            condition: text("if"),
            when: text("when"),
        }
    }
}

/// Parses `30s`, `5m`, `1h 30m`, `2 hours`.
pub(super) fn duration(text: &str) -> Duration {
    let duration = text.parse::<SignedDuration>().ok();
    let duration = duration.and_then(|duration| duration.try_into().ok());
    duration.unwrap_or_else(|| panic!("`{text}` is not a duration"))
}

fn need(need: &Value) -> (String, bool) {
    let job = need
        .get("job")
        .unwrap_or(need)
        .as_str()
        .expect("the name of a job");
    let artifacts = need.get("artifacts").and_then(Value::as_bool);
    (job.to_owned(), artifacts != Some(false))
}

/// Reads a file, and merges it over the files that it includes.
fn with_includes(project: &Path, others: &[(&str, &Path)], name: &str, given: &Mapping) -> Mapping {
    let path = project.join(name.trim_start_matches('/'));
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let own = inputs::load(name, &text, given);
    let includes = match own.get("include") {
        Some(Value::Sequence(includes)) => includes.clone(),
        Some(include) => vec![include.clone()],
        None => Vec::new(),
    };
    let mut config = Value::Mapping(Mapping::new());
    for include in includes {
        let of = |keyword: &str| include.get(keyword).and_then(Value::as_str);
        let (project, file) = match of("project") {
            Some(path) => {
                let other = others.iter().find(|(other, _)| *other == path);
                let (_, folder) =
                    other.unwrap_or_else(|| panic!("Project `{path}` not found or access denied!"));
                (*folder, of("file"))
            }
            None => (project, of("local").or(include.as_str())),
        };
        let file = file.expect("the harness supports only `include: local` and `include: project`");
        let given = include.get("inputs").and_then(Value::as_mapping);
        let included = with_includes(project, others, file, given.unwrap_or(&Mapping::new()));
        merge(&mut config, &Value::Mapping(included));
    }
    merge(&mut config, &Value::Mapping(own));
    match config {
        Value::Mapping(config) => config,
        _ => unreachable!("mappings were merged"),
    }
}

/// Applies the entries of `extends`, the first one first, and then the job itself.
fn extended(name: &str, config: &Mapping) -> Value {
    let own = config
        .get(name)
        .unwrap_or_else(|| panic!("there is no job `{name}`"));
    let mut job = Value::Mapping(Mapping::new());
    for parent in texts(own.get("extends")) {
        merge(&mut job, &extended(&parent, config));
    }
    merge(&mut job, own);
    job
}

/// Merges mappings and replaces all other values (`deep_merge`).
fn merge(into: &mut Value, from: &Value) {
    match (into, from) {
        (Value::Mapping(into), Value::Mapping(from)) => {
            for (key, value) in from {
                match into.get_mut(key) {
                    Some(known) => merge(known, value),
                    None => drop(into.insert(key.clone(), value.clone())),
                }
            }
        }
        (into, from) => *into = from.clone(),
    }
}

/// Resolves `!reference [job, keyword, ...]`. The items of an inner list become items of the outer list.
fn referenced(value: Value, config: &Mapping) -> Value {
    match value {
        Value::Tagged(tagged) if tagged.tag == "!reference" => {
            let mut path = texts(Some(&tagged.value)).into_iter();
            let job = path.next().expect("a reference names a job");
            let found = path.fold(extended(&job, config), |value, keyword| {
                value.get(&keyword).cloned().unwrap_or_default()
            });
            referenced(found, config)
        }
        Value::Sequence(items) => {
            let items = items.into_iter().flat_map(|item| match referenced(item, config) {
                Value::Sequence(items) => items,
                item => vec![item],
            });
            items.collect()
        }
        Value::Mapping(entries) => Value::Mapping(
            entries
                .into_iter()
                .map(|(key, value)| (key, referenced(value, config)))
                .collect(),
        ),
        other => other,
    }
}

/// A list of strings, or a single string.
fn texts(value: Option<&Value>) -> Vec<String> {
    match value {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Sequence(items)) => items.iter().flat_map(|item| texts(Some(item))).collect(),
        Some(value) => vec![text(value)],
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        Value::Bool(bool) => bool.to_string(),
        _ => panic!("a text is wanted instead of {value:?}"),
    }
}

fn variables(value: Option<&Value>) -> Variables {
    let pairs = value.and_then(Value::as_mapping).into_iter().flatten();
    let pairs = pairs.map(|(name, value)| (text(name), text(value.get("value").unwrap_or(value))));
    let pairs = pairs.collect::<Vec<_>>();
    plain(pairs.iter().map(|(name, value)| (&**name, &**value)))
}
