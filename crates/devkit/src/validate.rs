//! What an object must look like: `pkg/apis/core/validation`, `pkg/apis/rbac/validation`,
//! `k8s.io/apimachinery/pkg/api/validation`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::admission as policy;
use crate::resources::{
    CLUSTER_ROLE_BINDINGS, CLUSTER_ROLES, CRON_JOBS, NAMESPACES, Names, PODS, POLICIES, POLICY_BINDINGS,
    ROLE_BINDINGS, ROLES, Resource, SECRETS, Version,
};
use crate::status::{Problem, Result, Status};
use crate::store::text;

/// The type of Secret that the token controller fills with a token without an expiry.
pub(crate) const LEGACY_TOKEN: &str = "kubernetes.io/service-account-token";
pub(crate) const ACCOUNT_NAME: &str = "kubernetes.io/service-account.name";
pub(crate) const ACCOUNT_UID: &str = "kubernetes.io/service-account.uid";

const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and \
     must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is \
     '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and \
     end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is \
     '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const LABEL_VALUE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and \
     must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for \
     validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
const KEY_NAME: &str = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an \
     alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is \
     '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const ANNOTATIONS_LIMIT: usize = 256 * 1024;

/// Fills in what the API server fills in, apart from the metadata.
pub(crate) fn set_defaults(resource: &Resource, object: &mut Value) -> Result<()> {
    if resource == &SECRETS {
        default_secret(object)?;
    } else if resource == &NAMESPACES {
        let name = text(object, "name").to_owned();
        object["metadata"]["labels"]["kubernetes.io/metadata.name"] = name.into();
        object["spec"]["finalizers"] = json!(["kubernetes"]);
        object["status"]["phase"] = "Active".into();
    } else if resource == &PODS {
        let account = object["spec"]["serviceAccountName"]
            .as_str()
            .unwrap_or("default")
            .to_owned();
        object["spec"]["serviceAccountName"] = account.as_str().into();
        object["spec"]["serviceAccount"] = account.into();
        object["status"] = json!({"phase": "Pending", "qosClass": "BestEffort"});
    } else if resource == &ROLE_BINDINGS || resource == &CLUSTER_ROLE_BINDINGS {
        default_binding(object);
    } else if resource == &POLICIES || resource == &POLICY_BINDINGS {
        policy::set_defaults(resource, object);
    } else if resource == &CRON_JOBS {
        default_cron_job(object);
    }
    Ok(())
}

/// `pkg/apis/batch/v1/defaults.go`, `pkg/apis/core/v1/defaults.go`.
fn default_cron_job(job: &mut Value) {
    let fill = |object: &mut Value, defaults: Value| {
        if let (Some(fields), Value::Object(defaults)) = (object.as_object_mut(), defaults) {
            for (field, value) in defaults {
                fields.entry(field).or_insert(value);
            }
        }
    };
    let history = json!({"suspend": false, "successfulJobsHistoryLimit": 3, "failedJobsHistoryLimit": 1});
    fill(&mut job["spec"], history);
    let template = &mut job["spec"]["jobTemplate"]["spec"]["template"];
    fill(template, json!({"metadata": {}}));
    let pod = &mut template["spec"];
    let account = pod["serviceAccountName"].clone();
    fill(
        pod,
        json!({"terminationGracePeriodSeconds": 30, "dnsPolicy": "ClusterFirst", "schedulerName": "default-scheduler",
               "securityContext": {}, "serviceAccount": account}),
    );
    for container in pod["containers"].as_array_mut().into_iter().flatten() {
        let defaults = json!({"resources": {}, "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File"});
        fill(container, defaults);
    }
}

fn default_secret(secret: &mut Value) -> Result<()> {
    if secret["type"].as_str().is_none_or(str::is_empty) {
        secret["type"] = "Opaque".into();
    }
    let fields = secret.as_object_mut().expect("decoding leaves objects only");
    if let Some(Value::Object(plain)) = fields.remove("stringData") {
        for (key, value) in plain {
            let value = value.as_str().unwrap_or_default();
            fields.entry("data").or_insert_with(|| json!({}))[key] = STANDARD.encode(value).into();
        }
    }
    let data = fields.get("data").and_then(Value::as_object);
    for value in data.into_iter().flat_map(|data| data.values()) {
        if value.as_str().is_none_or(|value| STANDARD.decode(value).is_err()) {
            return Err(Status::bad_request(
                "Secret in version \"v1\" cannot be handled as a Secret: illegal base64 data at input byte 0",
            ));
        }
    }
    if data.is_some_and(serde_json::Map::is_empty) {
        fields.remove("data");
    }
    Ok(())
}

fn default_binding(binding: &mut Value) {
    const GROUP: &str = "rbac.authorization.k8s.io";
    if binding["roleRef"]["apiGroup"].is_null() {
        binding["roleRef"]["apiGroup"] = GROUP.into();
    }
    for subject in binding["subjects"].as_array_mut().into_iter().flatten() {
        if matches!(subject["kind"].as_str(), Some("User" | "Group")) && subject["apiGroup"].is_null() {
            subject["apiGroup"] = GROUP.into();
        }
    }
}

/// Refuses a bad object. `old` is the one that it would replace.
pub(crate) fn validate(
    resource: &Resource,
    object: &Value,
    old: Option<&Value>,
    version: Version,
) -> Result<()> {
    let mut problems = Vec::new();
    metadata(resource, object, version, &mut problems);
    if resource == &SECRETS {
        secret(object, old, &mut problems);
    } else if resource == &ROLES || resource == &CLUSTER_ROLES {
        rules(resource, object, &mut problems);
    } else if resource == &POLICIES || resource == &POLICY_BINDINGS {
        policy::validate(resource, object, &mut problems);
    } else if let Some(old) = old
        && (resource == &ROLE_BINDINGS || resource == &CLUSTER_ROLE_BINDINGS)
        && old["roleRef"] != object["roleRef"]
    {
        problems.push(Problem::invalid(
            "roleRef",
            &object["roleRef"],
            "cannot change roleRef",
        ));
    }
    if problems.is_empty() {
        return Ok(());
    }
    Err(Status::invalid(
        resource.group,
        resource.kind,
        text(object, "name"),
        &problems,
    ))
}

fn metadata(resource: &Resource, object: &Value, version: Version, problems: &mut Vec<Problem>) {
    let metadata = &object["metadata"];
    let name = text(object, "name");
    if name.is_empty() {
        problems.push(Problem::required(
            "metadata.name",
            "name or generateName is required",
        ));
    } else if let Some(why) = bad_name(resource.names, name, version) {
        problems.push(Problem::invalid("metadata.name", &metadata["name"], &why));
    }
    for (key, value) in metadata["labels"].as_object().into_iter().flatten() {
        bad_key("metadata.labels", key, version, problems);
        let value_text = value.as_str().unwrap_or_default();
        if value_text.len() > 63 {
            problems.push(Problem::invalid("metadata.labels", value, &too_long(63, version)));
        }
        if !value_text.is_empty() && !is_name(value_text) {
            problems.push(Problem::invalid("metadata.labels", value, LABEL_VALUE));
        }
    }
    let mut size = 0;
    for (key, value) in metadata["annotations"].as_object().into_iter().flatten() {
        bad_key("metadata.annotations", &key.to_lowercase(), version, problems);
        size += key.len() + value.as_str().map_or(0, str::len);
    }
    if size > ANNOTATIONS_LIMIT {
        problems.push(Problem::too_long("metadata.annotations", ANNOTATIONS_LIMIT));
    }
    for owner in metadata["ownerReferences"].as_array().into_iter().flatten() {
        for field in ["apiVersion", "kind", "name", "uid"] {
            if owner[field].as_str().is_none_or(str::is_empty) {
                let path = format!("metadata.ownerReferences.{field}");
                problems.push(Problem::invalid(path, &json!(""), "must not be empty"));
            }
        }
    }
}

fn bad_name(names: Names, name: &str, version: Version) -> Option<String> {
    let (longest, valid, why) = match names {
        Names::Subdomain => (253, name.split('.').all(is_dns_label), SUBDOMAIN),
        Names::Label => (63, is_dns_label(name), LABEL),
        Names::PathSegment => {
            let bad = ['/', '%'].into_iter().find(|bad| name.contains(*bad));
            return bad.map(|bad| format!("may not contain '{bad}'"));
        }
    };
    if name.len() > longest {
        Some(too_long(longest, version))
    } else {
        (!valid).then(|| why.to_owned())
    }
}

/// A key of labels or annotations: `IsQualifiedName`.
fn bad_key(field: &str, key: &str, version: Version, problems: &mut Vec<Problem>) {
    let (prefix, name) = key
        .split_once('/')
        .map_or((None, key), |(prefix, name)| (Some(prefix), name));
    let mut refuse = |why: &str| problems.push(Problem::invalid(field, &json!(key), why));
    if let Some(prefix) = prefix {
        if prefix.is_empty() {
            refuse("prefix part must be non-empty");
        } else if let Some(why) = bad_name(Names::Subdomain, prefix, version) {
            refuse(&format!("prefix part {why}"));
        }
    }
    if name.is_empty() {
        refuse("name part must be non-empty");
    } else if name.len() > 63 {
        refuse(&format!("name part {}", too_long(63, version)));
    }
    if !is_name(name) {
        refuse(KEY_NAME);
    }
}

fn secret(secret: &Value, old: Option<&Value>, problems: &mut Vec<Problem>) {
    if secret["type"] == LEGACY_TOKEN
        && secret["metadata"]["annotations"][ACCOUNT_NAME]
            .as_str()
            .is_none_or(str::is_empty)
    {
        problems.push(Problem::required(
            format!("metadata.annotations[{ACCOUNT_NAME}]"),
            "",
        ));
    }
    for key in secret["data"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(key, _)| key)
    {
        if key.is_empty()
            || !key
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
        {
            problems.push(Problem::invalid(
                format!("data[{key}]"),
                &json!(key),
                "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or \
                 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')",
            ));
        }
    }
    let Some(old) = old else { return };
    if secret["type"] != old["type"] {
        problems.push(Problem::invalid("type", &secret["type"], "field is immutable"));
    }
    if old["immutable"] == true {
        let why = "field is immutable when `immutable` is set";
        for field in ["immutable", "data"] {
            if secret[field] != old[field] {
                problems.push(Problem::forbidden(field, why));
            }
        }
    }
}

fn rules(resource: &Resource, role: &Value, problems: &mut Vec<Problem>) {
    let is_empty = |value: &Value| value.as_array().is_none_or(Vec::is_empty);
    for (index, rule) in role["rules"].as_array().into_iter().flatten().enumerate() {
        let mut require =
            |field: &str, why: &str| problems.push(Problem::required(format!("rules[{index}].{field}"), why));
        if is_empty(&rule["verbs"]) {
            require("verbs", "verbs must contain at least one value");
        }
        if !is_empty(&rule["nonResourceURLs"]) {
            if resource == &ROLES {
                let why = "namespaced rules cannot apply to non-resource URLs";
                problems.push(Problem::invalid(
                    format!("rules[{index}].nonResourceURLs"),
                    &rule["nonResourceURLs"],
                    why,
                ));
            }
            continue;
        }
        if is_empty(&rule["apiGroups"]) {
            require("apiGroups", "resource rules must supply at least one api group");
        }
        if is_empty(&rule["resources"]) {
            require("resources", "resource rules must supply at least one resource");
        }
    }
}

fn too_long(longest: usize, version: Version) -> String {
    let unit = if version >= Version::V1_36 {
        "bytes"
    } else {
        "characters"
    };
    format!("must be no more than {longest} {unit}")
}

fn is_dns_label(text: &str) -> bool {
    let alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    text.bytes().all(|byte| alphanumeric(byte) || byte == b'-')
        && text.bytes().next().is_some_and(alphanumeric)
        && text.bytes().last().is_some_and(alphanumeric)
}

/// What label values and the names of keys are made of.
fn is_name(text: &str) -> bool {
    text.bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
        && text
            .bytes()
            .next()
            .is_some_and(|byte| byte.is_ascii_alphanumeric())
        && text
            .bytes()
            .last()
            .is_some_and(|byte| byte.is_ascii_alphanumeric())
}
