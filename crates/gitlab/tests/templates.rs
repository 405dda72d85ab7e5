//! The templates agree with the table of options.

use std::collections::BTreeMap;

use jobpass_core::inputs::{
    flags,
    options::{FrontEnd, Opt, Value as OptionValue},
};
use rstest::rstest;
use serde::Deserialize as _;
use serde_yaml::Value;

#[rstest]
#[case(FrontEnd::JobTemplate, "job.yml", ".jobpass", &["job-name", "mask-log", "revoke-after"])]
#[case(FrontEnd::HandoverTemplate, "handover.yml", "create_token", &["job-name", "stage", "image", "job-rules", "variable", "dotenv-mode", "recipient", "mask-log"])]
fn inputs_are_the_options(
    #[case] front_end: FrontEnd,
    #[case] file: &str,
    #[case] job: &str,
    #[case] own: &[&str],
) {
    let (spec, jobs) = template(file);
    let inputs = spec["spec"]["inputs"].as_mapping().expect("inputs");
    let mut names = inputs.keys().filter_map(Value::as_str).collect::<Vec<_>>();
    assert!(inputs.values().all(|input| input["description"].is_string()));
    assert_eq!(names.drain(..own.len()).collect::<Vec<_>>(), own);

    let options = Opt::on(front_end).collect::<Vec<_>>();
    assert_eq!(names, options.iter().map(|o| o.name()).collect::<Vec<_>>());
    let variables = &jobs["$[[ inputs.job-name ]]"]["variables"];
    for option in options {
        let name = option.name();
        let input = &inputs[name];
        let description = input["description"].as_str().expect("text");
        assert!(description.starts_with(option.help()), "{name}: {description}");
        let (default, value) = match option.value() {
            // GitLab pastes inputs into YAML as they are, and YAML would lose line breaks. The space before
            // the JSON keeps `gitlab-ci-local` from making a list of it.
            OptionValue::Lines => (Value::Sequence(vec![]), format!(" $[[ inputs.{name} ]]")),
            _ => (
                option.default_on(front_end).unwrap_or_default().into(),
                format!("$[[ inputs.{name} ]]"),
            ),
        };
        assert_eq!(input.get("default"), Some(&default), "{name}");
        let variable = flags::variable(name);
        assert_eq!(variables[&*variable], value);
    }
    assert_eq!(inputs["job-name"]["default"], job);
}

/// GitLab inserts an input as text. In a script, its content would run as code.
#[rstest]
#[case("job.yml")]
#[case("handover.yml")]
fn no_input_is_in_a_script(#[case] file: &str) {
    let (_, jobs) = template(file);
    for (name, job) in &jobs {
        assert!(
            name.contains("$[[ inputs.job-name ]]"),
            "{name} is a global keyword"
        );
        for part in ["before_script", "script", "after_script"] {
            let text = serde_yaml::to_string(&job[part]).expect("YAML");
            assert!(!text.contains("$[["), "{name}: {text}");
        }
    }
    let text = std::fs::read_to_string(path(file)).expect("the template");
    assert!(
        !text.contains("component."),
        "`include: project` and `include: remote` do not provide `component`"
    );
}

/// The job that revokes must reach the same cluster with the same options as the job that mints.
#[test]
fn both_ends_of_a_handover_have_the_same_options() {
    let (_, jobs) = template("handover.yml");
    let variables = |job: &str| {
        let mut job = jobs[job].clone();
        job.apply_merge().expect("anchors");
        job["variables"].as_mapping().expect("variables").clone()
    };
    let (mint, mut revoke) = (
        variables("$[[ inputs.job-name ]]"),
        variables("$[[ inputs.job-name ]]:revoke"),
    );
    revoke.shift_remove("GIT_STRATEGY");
    assert_eq!(mint, revoke);
}

/// With `needs` from the template, a deployment would start before the tests of earlier stages are over.
#[test]
fn a_job_that_uses_the_token_waits_for_earlier_stages() {
    let (_, jobs) = template("handover.yml");
    let user = &jobs[".$[[ inputs.job-name ]]:use"];
    assert!(user.get("needs").is_none() && user.get("dependencies").is_none());
}

fn path(file: &str) -> String {
    format!(
        "{}/../../gitlab-component/templates/{file}",
        env!("CARGO_MANIFEST_DIR")
    )
}

fn template(file: &str) -> (Value, BTreeMap<String, Value>) {
    let text = std::fs::read_to_string(path(file)).expect("the template");
    let mut documents = serde_yaml::Deserializer::from_str(&text);
    let mut next = || Value::deserialize(documents.next().expect("two documents")).expect("YAML");
    let (spec, jobs) = (next(), next());
    (spec, serde_yaml::from_value(jobs).expect("jobs"))
}
