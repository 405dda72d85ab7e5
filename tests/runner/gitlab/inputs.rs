//! Files with inputs (`spec: inputs`), and the values that an `include` gives.

use serde_yaml::{Mapping, Value};

/// Reads the definitions in a file, with these inputs.
///
/// # Panics
///
/// If GitLab would refuse the inputs, or if the file uses a feature that the harness lacks. (Unlike GitLab,
/// this does not check `regex`.)
pub(super) fn load(name: &str, text: &str, given: &Mapping) -> Mapping {
    let (header, body) = text.split_once("\n---\n").unwrap_or((text, ""));
    let header = parse(name, header);
    let Some(specification) = header.get("spec") else {
        assert!(given.is_empty(), "{name} takes no inputs");
        return mapping(parse(name, text));
    };
    let known = specification
        .get("inputs")
        .cloned()
        .map(mapping)
        .unwrap_or_default();
    for input in given.keys() {
        assert!(
            known.contains_key(input),
            "{name}: unknown input arguments: {input:?}"
        );
    }
    let values = known
        .iter()
        .map(|(input, specification)| {
            let input = input.as_str().expect("an input has a name");
            let value = given.get(input).or(specification.get("default"));
            let value = value.unwrap_or_else(|| panic!("{name}: `{input}` input: required value has not been provided"));
            let kind = specification.get("type").and_then(Value::as_str).unwrap_or("string");
            let fits = match kind {
                "array" => value.is_sequence(),
                "boolean" => value.is_bool(),
                "number" => value.is_number(),
                _ => value.is_string(),
            };
            assert!(fits, "{name}: `{input}` input: provided value is not a {kind}");
            if let Some(options) = specification.get("options").and_then(Value::as_sequence) {
                assert!(
                    options.contains(value),
                    "{name}: `{input}` input: `{value:?}` cannot be used because it is not in the list of allowed options"
                );
            }
            (input.to_owned(), value.clone())
        })
        .collect::<Vec<_>>();
    mapping(parse(name, &interpolated(body, &values)))
}

/// Replaces each `$[[ inputs.name ]]` by its value, before the text is parsed as YAML
/// (`Interpolation::TextTemplate`). A value that is not a string becomes JSON.
fn interpolated(text: &str, values: &[(String, Value)]) -> String {
    let mut result = text.to_owned();
    for (name, value) in values {
        let value = match value {
            Value::String(text) => text.clone(),
            other => serde_json::to_string(other).expect("YAML of CI has texts as keys"),
        };
        result = result.replace(&format!("$[[ inputs.{name} ]]"), &value);
    }
    let left = result.lines().find(|line| line.contains("$[["));
    assert!(left.is_none(), "the harness cannot read `{left:?}`");
    result
}

fn parse(name: &str, text: &str) -> Value {
    let mut value =
        serde_yaml::from_str::<Value>(text).unwrap_or_else(|error| panic!("{name} is not YAML: {error}"));
    value.apply_merge().expect("the value of `<<` is a mapping");
    value
}

fn mapping(value: Value) -> Mapping {
    match value {
        Value::Mapping(mapping) => mapping,
        Value::Null => Mapping::new(),
        _ => panic!("a mapping is wanted"),
    }
}
