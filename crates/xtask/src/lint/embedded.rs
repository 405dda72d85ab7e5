//! The parts of workflows, of the action and of the templates that other linters check: scripts and inputs.

use anyhow::{Context as _, Result};
use serde::Deserialize as _;
use serde_yaml::Value;

/// The names of the inputs of an action.
pub(super) fn inputs(action: &str) -> Result<Vec<String>> {
    let action: Value = serde_yaml::from_str(action).context("action.yml is not YAML")?;
    let inputs = action["inputs"]
        .as_mapping()
        .context("action.yml has no inputs")?;
    let names = inputs.keys().filter_map(|name| name.as_str());
    Ok(names.map(str::to_owned).collect())
}

/// The inputs of a GitLab template. `None` for other files.
pub(super) fn spec(text: &str) -> Result<Option<serde_json::Value>> {
    let spec = documents(text)?
        .into_iter()
        .find_map(|document| document["spec"].get("inputs").cloned());
    Ok(spec.map(serde_json::to_value).transpose()?)
}

/// The shell scripts in a workflow's steps and in a template's jobs. `x` replaces each value that the
/// platform would insert.
pub(super) fn scripts(text: &str) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for document in documents(text)? {
        steps(&document, &mut found);
        for (_, job) in document.as_mapping().into_iter().flatten() {
            for name in ["before_script", "script", "after_script"] {
                let lines = job[name]
                    .as_sequence()
                    .into_iter()
                    .flatten()
                    .filter_map(Value::as_str);
                let script = lines.collect::<Vec<_>>().join("\n");
                if !script.is_empty() {
                    found.push(format!("#!/bin/sh\n{}\n", filled(&script)));
                }
            }
        }
    }
    Ok(found)
}

/// Collects the scripts of steps. GitHub's default shell on Linux is bash.
fn steps(document: &Value, found: &mut Vec<String>) {
    let jobs = document["jobs"].as_mapping().into_iter().flatten();
    let steps = jobs.flat_map(|(_, job)| job["steps"].as_sequence().into_iter().flatten());
    let runs = steps.filter_map(|step| step["run"].as_str());
    found.extend(runs.map(|run| format!("#!/bin/bash\n{}\n", filled(run))));
}

/// Replaces each `${{ }}` and `$[[ ]]` in a script by `x`.
fn filled(script: &str) -> String {
    let mut text = script.to_owned();
    for (begin, end) in [("${{", "}}"), ("$[[", "]]")] {
        while let Some(start) = text.find(begin) {
            let length = text[start..]
                .find(end)
                .map_or(text.len() - start, |at| at + end.len());
            text.replace_range(start..start + length, "x");
        }
    }
    text
}

fn documents(text: &str) -> Result<Vec<Value>> {
    let documents = serde_yaml::Deserializer::from_str(text).map(Value::deserialize);
    documents.collect::<Result<_, _>>().context("not YAML")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_of_steps_and_of_jobs() -> Result<()> {
        let workflow = "jobs: {a: {steps: [{run: 'echo ${{ github.ref }}'}, {uses: x}]}}";
        assert_eq!(scripts(workflow)?, ["#!/bin/bash\necho x\n"]);
        let template = "spec: {inputs: {stage: {}}}\n---\n'$[[ inputs.name ]]': {script: ['a $[[ inputs.b ]]', c], after_script: [d]}";
        assert_eq!(scripts(template)?, ["#!/bin/sh\na x\nc\n", "#!/bin/sh\nd\n"]);
        assert_eq!(spec(template)?, Some(serde_json::json!({"stage": {}})));
        Ok(())
    }
}
