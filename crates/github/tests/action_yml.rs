//! `action.yml` agrees with the table of options, and the README with `action.yml`.

use std::collections::BTreeMap;

use jobpass_core::inputs::options::{FrontEnd, Opt};

fn read(name: &str) -> String {
    std::fs::read_to_string(format!("{}/../../{name}", env!("CARGO_MANIFEST_DIR"))).expect("it is there")
}

fn action() -> serde_yaml::Value {
    serde_yaml::from_str(&read("action.yml")).expect("YAML")
}

#[test]
fn inputs_are_the_options() {
    let action = action();
    let inputs = action["inputs"].as_mapping().expect("inputs");
    // A person does not set this input, so no table has it. Only a default that the runner evaluates can
    // provide the id.
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

/// The tables of the README list every input but `check-run-id`, with its default, and every output. They
/// list nothing else.
#[test]
fn the_readme_has_every_input_and_output() {
    let action = action();
    let members = |of: &str| {
        let members = action[of].as_mapping().expect("a mapping").iter();
        let members = members.filter(|(name, _)| name.as_str() != Some("check-run-id"));
        members
            .map(|(name, member)| {
                let default = member["default"].as_str().map(str::to_owned);
                (name.as_str().expect("a name").to_owned(), default)
            })
            .collect::<BTreeMap<_, _>>()
    };
    let readme = read("README.md");
    let (_, section) = readme
        .split_once("\n## Inputs and outputs\n")
        .expect("the section");
    let (section, _) = section.split_once("\n## ").expect("another section");
    let (mut inputs, mut outputs) = (BTreeMap::new(), BTreeMap::new());
    let mut table = &mut inputs;
    for line in section.lines() {
        match line.split('|').map(str::trim).collect::<Vec<_>>()[..] {
            ["", "input", ..] => table = &mut inputs,
            ["", "output", ..] => table = &mut outputs,
            ["", names, second, ..] if names.starts_with('`') => {
                // A default without backticks is in words: the API server or the kubeconfig decides it.
                let default = second.strip_prefix('`').and_then(|word| word.strip_suffix('`'));
                for name in names.split(", ") {
                    let name = name.trim_matches('`').to_owned();
                    assert!(!table.contains_key(&name), "twice: {name}");
                    table.insert(name, default.map(str::to_owned));
                }
            }
            _ => {}
        }
    }
    assert_eq!(inputs, members("inputs"));
    let names = |rows: BTreeMap<String, Option<String>>| rows.into_keys().collect::<Vec<_>>();
    assert_eq!(names(outputs), names(members("outputs")));
}
