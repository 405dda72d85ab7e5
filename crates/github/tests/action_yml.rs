//! `action.yml` agrees with the table of options.

use jobpass_core::inputs::options::{FrontEnd, Opt};

#[test]
fn inputs_are_the_options() {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../action.yml"))
        .expect("action.yml");
    let action = serde_yaml::from_str::<serde_yaml::Value>(&text).expect("YAML");
    let inputs = action["inputs"].as_mapping().expect("inputs");
    // A person does not set this input, so no table has it. A default that the runner evaluates is the only
    // way to learn the id.
    let check_run_id = &inputs["check-run-id"]["default"];
    assert_eq!(check_run_id.as_str(), Some("${{ job.check_run_id }}"));
    let in_action = inputs
        .iter()
        .filter(|(name, _)| name.as_str() != Some("check-run-id"))
        .map(|(name, input)| {
            (
                name.as_str(),
                input["description"].as_str(),
                input["default"].as_str(),
            )
        })
        .collect::<Vec<_>>();
    let in_table = Opt::on(FrontEnd::Action)
        .map(|option| {
            (
                Some(option.name()),
                Some(option.help()),
                option.default_on(FrontEnd::Action),
            )
        })
        .collect::<Vec<_>>();
    assert_eq!(in_action, in_table);
}
