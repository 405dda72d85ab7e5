//! Files that take inputs (`spec: inputs`), and the values of an `include` in them.

use serde::Deserialize as _;
use serde_yaml::{Mapping, Value};

/// What a file defines, with these inputs.
///
/// # Panics
///
/// When GitLab would refuse them. (It would check `regex`, too.)
pub(super) fn load(name: &str, text: &str, given: &Mapping) -> Mapping {
    let mut documents = serde_yaml::Deserializer::from_str(text).map(|document| {
        let mut value =
            Value::deserialize(document).unwrap_or_else(|error| panic!("{name} is no YAML: {error}"));
        value.apply_merge().expect("what `<<` names is a mapping");
        value
    });
    let first = documents.next().unwrap_or_default();
    let Some(specification) = first.get("spec") else {
        assert!(given.is_empty(), "{name} takes no inputs");
        return mapping(first);
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
    mapping(interpolated(documents.next().unwrap_or_default(), &values))
}

/// Each `$[[ inputs.name ]]` as its value: of any type where it stands alone, else as text.
fn interpolated(value: Value, values: &[(String, Value)]) -> Value {
    match value {
        Value::String(text) => {
            let mut result = text.clone();
            for (name, value) in values {
                let marker = format!("$[[ inputs.{name} ]]");
                if text == marker {
                    return value.clone();
                }
                let value = match value {
                    Value::String(text) => text.clone(),
                    Value::Bool(bool) => bool.to_string(),
                    Value::Number(number) => number.to_string(),
                    _ => continue,
                };
                result = result.replace(&marker, &value);
            }
            assert!(!result.contains("$[["), "the harness cannot read `{result}`");
            Value::String(result)
        }
        Value::Sequence(items) => items.into_iter().map(|item| interpolated(item, values)).collect(),
        Value::Mapping(entries) => Value::Mapping(
            entries
                .into_iter()
                .map(|(key, value)| (interpolated(key, values), interpolated(value, values)))
                .collect(),
        ),
        other => other,
    }
}

fn mapping(value: Value) -> Mapping {
    match value {
        Value::Mapping(mapping) => mapping,
        Value::Null => Mapping::new(),
        _ => panic!("a mapping is wanted"),
    }
}
