//! The differences between an object in the cluster and the object of a set-up.

use serde_json::{Value, json};

/// Whether this value is the default that kube-apiserver sets (`pkg/apis/*/v1/defaults.go`), or is empty. Any
/// other field that the set-up lacks is a difference, such as an exclusion in a policy.
fn is_default(field: &str, value: &Value) -> bool {
    let defaults = [
        ("matchPolicy", json!("Equivalent")),
        ("scope", json!("*")),
        ("suspend", json!(false)),
        ("successfulJobsHistoryLimit", json!(3)),
        ("failedJobsHistoryLimit", json!(1)),
        ("terminationGracePeriodSeconds", json!(30)),
        ("dnsPolicy", json!("ClusterFirst")),
        ("schedulerName", json!("default-scheduler")),
        ("terminationMessagePath", json!("/dev/termination-log")),
        ("terminationMessagePolicy", json!("File")),
        // The deprecated alias of serviceAccountName.
        ("serviceAccount", json!("jobpass-sweeper")),
    ];
    is_empty(value) || defaults.contains(&(field, value.clone()))
}

/// Whether a value means the same as a missing field.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        // Older releases of Kubernetes write `creationTimestamp: null` into templates.
        Value::Object(fields) => fields.values().all(is_empty),
        _ => false,
    }
}

/// The paths of the differing fields, such as `spec.validations[1].expression`.
pub(super) fn fields(wanted: &Value, found: &Value) -> Vec<String> {
    let mut differing = Vec::new();
    // The metadata and `status` are not compared: other programs write labels, annotations and the status.
    for (field, wanted) in wanted.as_object().into_iter().flatten() {
        if !["apiVersion", "kind", "metadata"].contains(&&**field) {
            compare(field, wanted, &found[field], &mut differing);
        }
    }
    differing
}

fn compare(path: &str, wanted: &Value, found: &Value, differing: &mut Vec<String>) {
    match (wanted, found) {
        (Value::Object(wanted), Value::Object(found)) => {
            for (field, value) in wanted {
                let found = found.get(field).unwrap_or(&Value::Null);
                compare(&format!("{path}.{field}"), value, found, differing);
            }
            let extra = found
                .iter()
                .filter(|(field, value)| !wanted.contains_key(*field) && !is_default(field, value));
            differing.extend(extra.map(|(field, _)| format!("{path}.{field}")));
        }
        (Value::Array(wanted), Value::Array(found)) if wanted.len() == found.len() => {
            for (index, (wanted, found)) in wanted.iter().zip(found).enumerate() {
                compare(&format!("{path}[{index}]"), wanted, found, differing);
            }
        }
        _ if wanted == found || is_empty(wanted) && is_empty(found) => {}
        _ => differing.push(path.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_not_differences_and_all_other_fields_are() {
        let wanted = json!({"kind": "x", "metadata": {"name": "a"}, "spec": {
            "rules": [{"resources": ["secrets"]}], "failurePolicy": "Fail",
        }});
        let mut found = json!({"kind": "x", "metadata": {"name": "a", "uid": "u"}, "status": {"a": 1}, "spec": {
            "rules": [{"resources": ["secrets"], "scope": "*"}], "failurePolicy": "Fail", "objectSelector": {},
            "template": {"metadata": {"creationTimestamp": null}},
        }});
        assert!(fields(&wanted, &found).is_empty());
        found["spec"]["rules"][0]["scope"] = "Cluster".into();
        found["spec"]["failurePolicy"] = "Ignore".into();
        found["spec"]["excludeResourceRules"] = json!([{"resources": ["*"]}]);
        assert_eq!(
            fields(&wanted, &found),
            [
                "spec.failurePolicy",
                "spec.rules[0].scope",
                "spec.excludeResourceRules"
            ]
        );
        found["spec"]["rules"] = json!([]);
        assert!(fields(&wanted, &found).contains(&"spec.rules".to_owned()));
    }
}
