//! The examples in Markdown, which users copy. If there is a linter for an example, xtask writes the example
//! into a file. An example that is only a part of a workflow becomes a whole workflow.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use serde::Deserialize as _;
use serde_json::{Map, Value, json};

/// The files for the linters, by kind.
#[derive(Default, Debug)]
pub(super) struct Files {
    /// Workflows of GitHub.
    pub(super) workflows: Vec<PathBuf>,
    /// Pipelines of GitLab.
    pub(super) pipelines: Vec<PathBuf>,
    /// Objects of Kubernetes.
    pub(super) manifests: Vec<PathBuf>,
    /// Scripts for any POSIX shell.
    pub(super) scripts: Vec<PathBuf>,
    pub(super) dockerfiles: Vec<PathBuf>,
}

/// The names of the inputs that examples may use.
pub(super) struct Inputs {
    /// The inputs of `action.yml`.
    pub(super) action: Vec<String>,
    /// The inputs of the templates, by the file's name.
    pub(super) templates: Map<String, Value>,
}

/// A fenced block.
struct Example<'t> {
    /// The number of the example's first line.
    line: usize,
    language: &'t str,
    text: String,
}

/// Writes the examples of a Markdown text to `folder`, for the linters. The name of each file tells where the
/// example is. Parses JSON without a linter. Leaves out text, diagrams and configuration files for
/// kube-apiserver.
pub(super) fn write(
    markdown: &str,
    name: &str,
    folder: &Path,
    inputs: &Inputs,
    files: &mut Files,
) -> Result<()> {
    for example in fenced(markdown) {
        let place = format!("{name}:{}", example.line);
        let stem = format!("{}-{}", name.replace('/', "-"), example.line);
        let put = |extension: &str, text: &str| -> Result<PathBuf> {
            let path = folder.join(format!("{stem}.{extension}"));
            fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
            Ok(path)
        };
        match example.language {
            "sh" => files.scripts.push(put("sh", &example.text)?),
            "dockerfile" => files.dockerfiles.push(put("Dockerfile", &example.text)?),
            "json" => {
                let documents = serde_json::Deserializer::from_str(&example.text).into_iter::<Value>();
                for document in documents {
                    document.with_context(|| format!("{place}: not JSON"))?;
                }
            }
            "yaml" => match kind(&example.text, inputs).with_context(|| place.clone())? {
                Kind::Workflow(workflow) => {
                    check_steps(&workflow, inputs).with_context(|| place.clone())?;
                    // A whole workflow stays as it is, including its comments.
                    let text = match example.text.starts_with("on:") {
                        true => example.text.clone(),
                        false => serde_yaml::to_string(&workflow)?,
                    };
                    files.workflows.push(put("yml", &text)?);
                }
                Kind::Pipeline(pipeline) => {
                    check_includes(&pipeline, inputs).with_context(|| place.clone())?;
                    files
                        .pipelines
                        .push(put("gitlab-ci.yml", &serde_yaml::to_string(&pipeline)?)?);
                }
                Kind::Manifests(objects) => {
                    let texts = objects
                        .iter()
                        .map(serde_yaml::to_string)
                        .collect::<Result<Vec<_>, _>>()?;
                    files.manifests.push(put("yaml", &texts.join("---\n"))?);
                }
                Kind::OfTheApiServer => {}
            },
            // GitHub and GitLab draw diagrams themselves.
            "text" | "mermaid" => {}
            language => bail!(
                "{place}: no linter reads `{language}`: call the block sh, yaml, json, dockerfile, mermaid or text"
            ),
        }
    }
    Ok(())
}

fn fenced(markdown: &str) -> Vec<Example<'_>> {
    let mut examples = Vec::new();
    let mut lines = markdown.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        let Some(language) = line.trim_start().strip_prefix("```") else {
            continue;
        };
        let block: Vec<_> = lines
            .by_ref()
            .map(|(_, line)| line)
            .take_while(|line| !line.trim_start().starts_with("```"))
            .collect();
        examples.push(Example {
            line: number + 2,
            language,
            text: dedented(&block),
        });
    }
    examples
}

fn dedented(lines: &[&str]) -> String {
    let written = lines.iter().filter(|line| !line.trim().is_empty());
    let indentation = written.map(|line| line.len() - line.trim_start().len()).min();
    let text = |line: &&str| format!("{}\n", line.get(indentation.unwrap_or(0)..).unwrap_or_default());
    lines.iter().map(text).collect()
}

/// The kinds of files that a block of YAML can be.
enum Kind {
    Workflow(Value),
    Pipeline(Value),
    Manifests(Vec<Value>),
    /// A configuration file for kube-apiserver. Kubernetes publishes no schema for it.
    OfTheApiServer,
}

fn kind(text: &str, inputs: &Inputs) -> Result<Kind> {
    let mut documents = Vec::new();
    for document in serde_yaml::Deserializer::from_str(text) {
        let value = serde_yaml::Value::deserialize(document).context("not YAML")?;
        documents.push(
            serde_json::to_value(without_references(value))
                .context("a mapping has a key that is not a string")?,
        );
    }
    let is_api_server = |object: &Value| {
        let version = object["apiVersion"].as_str();
        version.is_some_and(|version| version.starts_with("apiserver.config.k8s.io/"))
    };
    if documents.iter().all(is_api_server) {
        return Ok(Kind::OfTheApiServer);
    }
    if documents
        .iter()
        .all(|document| document["apiVersion"].is_string())
    {
        return Ok(Kind::Manifests(documents));
    }
    ensure!(
        documents.len() == 1,
        "several documents that are not objects of Kubernetes"
    );
    let document = documents.remove(0);
    let every = |name: &str| {
        let items = document.as_array();
        items.is_some_and(|items| items.iter().all(|item| item.get(name).is_some()))
    };
    let has = |name: &str| document.get(name).is_some();
    if every("apiGroups") || document["rules"].is_array() {
        let rules = document.get("rules").unwrap_or(&document);
        return Ok(Kind::Manifests(vec![json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "example"}, "rules": rules,
        })]));
    }
    let job = |mut job: Value| {
        job["runs-on"] = "ubuntu-latest".into();
        job["name"] = "Example".into();
        if job.get("permissions").is_none() {
            job["permissions"] = json!({});
        }
        Kind::Workflow(json!({"on": "push", "permissions": {}, "jobs": {"example": job}}))
    };
    if has("on") && has("jobs") {
        return Ok(Kind::Workflow(document));
    }
    if has("steps") {
        return Ok(job(document));
    }
    let is_step = |item: &Value| item.get("uses").is_some() || item.get("run").is_some();
    if document.as_array().is_some_and(|items| items.iter().all(is_step)) {
        return Ok(job(json!({ "steps": document })));
    }
    let Some(members) = document.as_object() else {
        bail!("neither a workflow, nor a pipeline, nor objects of Kubernetes");
    };
    if members.keys().all(|name| inputs.action.contains(name)) {
        return Ok(job(
            json!({"steps": [{"uses": "jobpass/jobpass@v0.1.0", "with": members}]}),
        ));
    }
    let of_jobs = [
        "script",
        "extends",
        "needs",
        "id_tokens",
        "before_script",
        "after_script",
        "variables",
        "tags",
    ];
    let is_job = |member: &Value| of_jobs.iter().any(|name| member.get(name).is_some());
    if has("include") || has("stages") || members.values().any(is_job) {
        return Ok(Kind::Pipeline(document));
    }
    bail!("neither a workflow, nor inputs of the action, nor a pipeline, nor objects of Kubernetes")
}

/// Removes members whose value is GitLab's `!reference`, and replaces other references by a word. GitLab's
/// schema does not allow `!reference` everywhere.
fn without_references(value: serde_yaml::Value) -> serde_yaml::Value {
    use serde_yaml::Value::{Mapping, Sequence, String, Tagged};
    match value {
        Tagged(_) => String("reference".into()),
        Sequence(items) => items.into_iter().map(without_references).collect(),
        Mapping(members) => {
            let members = members
                .into_iter()
                .filter(|(_, value)| !matches!(value, Tagged(_)));
            Mapping(
                members
                    .map(|(name, value)| (name, without_references(value)))
                    .collect(),
            )
        }
        value => value,
    }
}

fn check_steps(workflow: &Value, inputs: &Inputs) -> Result<()> {
    let jobs = workflow["jobs"]
        .as_object()
        .into_iter()
        .flat_map(|jobs| jobs.values());
    let steps = jobs.flat_map(|job| job["steps"].as_array().into_iter().flatten());
    for step in steps {
        let uses = step["uses"].as_str().unwrap_or_default();
        if !uses.starts_with("jobpass/jobpass@") {
            continue;
        }
        for name in step["with"].as_object().into_iter().flat_map(|with| with.keys()) {
            ensure!(inputs.action.contains(name), "the action has no input `{name}`");
        }
    }
    Ok(())
}

fn check_includes(pipeline: &Value, inputs: &Inputs) -> Result<()> {
    let includes = match &pipeline["include"] {
        Value::Array(includes) => includes.as_slice(),
        Value::Null => return Ok(()),
        include => std::slice::from_ref(include),
    };
    for include in includes {
        let file = ["file", "local", "remote", "component"].map(|key| include[key].as_str());
        let name = file
            .into_iter()
            .flatten()
            .find_map(|file| Path::new(file).file_name()?.to_str());
        let Some(known) = name.and_then(|name| inputs.templates.get(name)) else {
            continue;
        };
        for name in include["inputs"]
            .as_object()
            .into_iter()
            .flat_map(|inputs| inputs.keys())
        {
            ensure!(known.get(name).is_some(), "the template has no input `{name}`");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(markdown: &str) -> Result<Files> {
        let inputs = Inputs {
            action: vec!["namespace".into(), "role-rules".into()],
            templates: Map::from_iter([("job.yml".to_owned(), json!({"namespace": {}}))]),
        };
        let folder = tempfile::tempdir()?;
        let mut files = Files::default();
        write(markdown, "docs/x.md", folder.path(), &inputs, &mut files)?;
        Ok(files)
    }

    #[test]
    fn each_block_finds_its_linters() -> Result<()> {
        let files = found(
            "```yaml\non: push\njobs: {a: {steps: [{uses: jobpass/jobpass@v1, with: {namespace: ci}}]}}\n```\n\
             ```yaml\n    namespace: ci\n```\n\
             ```yaml\n- uses: jobpass/jobpass@v1\n```\n\
             ```yaml\ninclude: [{file: x/job.yml, inputs: {namespace: ci}}]\n```\n\
             - in a list\n  ```yaml\n  scan: {extends: .jobpass}\n  ```\n\
             ```yaml\napiVersion: v1\nkind: Pod\n---\napiVersion: v1\nkind: Secret\n```\n\
             ```yaml\n- apiGroups: ['']\n```\n\
             ```yaml\napiVersion: apiserver.config.k8s.io/v1\n```\n\
             ```json\n{\"a\": 1}\n{\"b\": 2}\n```\n\
             ```dockerfile\nFROM scratch\n```\n\
             ```mermaid\nflowchart LR\n```\n\
             ```sh\ntrue\n```\n",
        )?;
        let numbers = (
            files.workflows.len(),
            files.pipelines.len(),
            files.manifests.len(),
            files.scripts.len(),
            files.dockerfiles.len(),
        );
        assert_eq!(numbers, (3, 2, 2, 1, 1));
        let name = files.workflows[0].file_name().and_then(|name| name.to_str());
        assert_eq!(name, Some("docs-x.md-2.yml"));
        Ok(())
    }

    #[test]
    fn a_mistake_in_an_example_is_found_where_it_stands() {
        for (markdown, expected) in [
            (
                "```yaml\n- uses: jobpass/jobpass@v1\n  with: {namspace: ci}\n```",
                "docs/x.md:2: the action has no input `namspace`",
            ),
            (
                "```yaml\ninclude: {local: job.yml, inputs: {namspace: ci}}\n```",
                "docs/x.md:2: the template has no input `namspace`",
            ),
            ("```yaml\nnamspace: ci\n```", "docs/x.md:2: neither a workflow"),
            ("```yaml\na: [\n```", "docs/x.md:2: not YAML"),
            ("\n```json\n{\n```", "docs/x.md:3: not JSON"),
            ("```console\nx\n```", "docs/x.md:2: no linter reads `console`"),
        ] {
            let error = format!("{:#}", found(markdown).expect_err("refused"));
            assert!(error.starts_with(expected), "{error}");
        }
    }
}
