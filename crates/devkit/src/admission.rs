//! `ValidatingAdmissionPolicy` and its bindings: `k8s.io/apiserver/pkg/admission/plugin/policy/validating`.
//!
//! Without parameters, and without the variable `authorizer`. A policy takes effect at once, not after half a second.

use serde_json::{Map, Value, json};

use crate::cel::Expression;
use crate::resources::{NAMESPACES, POLICIES, POLICY_BINDINGS, Resource};
use crate::selector::Selector;
use crate::status::{Problem, Result, Status};
use crate::store::{Store, text};

/// What expressions may speak of. `variables` is for those of the policy itself.
const NAMES: [&str; 5] = ["object", "oldObject", "request", "namespaceObject", "variables"];

/// A request that would change something.
pub(crate) struct Review<'a> {
    /// `CREATE`, `UPDATE`, `DELETE`.
    pub(crate) operation: &'static str,
    pub(crate) group: &'a str,
    pub(crate) version: &'a str,
    pub(crate) resource: &'a str,
    pub(crate) subresource: &'a str,
    pub(crate) namespace: &'a str,
    pub(crate) name: &'a str,
    /// As it is to be; null when it is deleted.
    pub(crate) object: Value,
    /// As it is; null when it is new.
    pub(crate) old: Value,
    /// The variable `request`.
    pub(crate) request: Value,
}

/// Asks every policy that is bound. Gives the texts of warnings.
///
/// # Errors
/// The first refusal.
pub(crate) fn review(store: &Store, review: &Review<'_>) -> Result<Vec<String>> {
    let mut warnings = Vec::new();
    // Whoever may change policies must not be kept from it by one.
    if review.group == POLICIES.group {
        return Ok(warnings);
    }
    let namespace = store
        .get(&NAMESPACES, "", review.namespace)
        .unwrap_or(&Value::Null);
    for (_, policy) in store.scan(&POLICIES, None, None) {
        let spec = &policy["spec"];
        let bindings = store
            .scan(&POLICY_BINDINGS, None, None)
            .map(|(_, binding)| binding)
            .filter(|binding| binding["spec"]["policyName"] == text(policy, "name"));
        for binding in bindings {
            let within = &binding["spec"]["matchResources"];
            if !review.is_in(&spec["matchConstraints"], namespace)
                || !(within.is_null() || review.is_in(within, namespace))
            {
                continue;
            }
            for Denial { message, reason } in review.denials(spec, namespace) {
                let (policy, binding_name) = (text(policy, "name"), text(binding, "name"));
                let acts = |action: &str| {
                    let actions = binding["spec"]["validationActions"].as_array();
                    actions.is_some_and(|actions| actions.contains(&action.into()))
                };
                if acts("Deny") {
                    let why = format!(
                        "ValidatingAdmissionPolicy '{policy}' with binding '{binding_name}' denied request: {message}"
                    );
                    return Err(Status::denied(
                        review.group,
                        review.resource,
                        review.name,
                        &why,
                        reason.as_deref(),
                    ));
                }
                if acts("Warn") {
                    warnings.push(format!(
                        "Validation failed for ValidatingAdmissionPolicy '{policy}' with binding '{binding_name}': \
                         {message}"
                    ));
                }
            }
        }
    }
    Ok(warnings)
}

struct Denial {
    message: String,
    reason: Option<String>,
}

impl Denial {
    fn of(message: String) -> Self {
        Self {
            message,
            reason: None,
        }
    }
}

impl Review<'_> {
    /// `matchConstraints` or `matchResources`.
    fn is_in(&self, resources: &Value, namespace: &Value) -> bool {
        let any = |rules: &Value| {
            let mut rules = rules.as_array().into_iter().flatten();
            rules.any(|rule| self.is_under(rule))
        };
        let selects = |selector: &Value, object: &Value| Selector::of_labels(selector).matches(object);
        let object = &resources["objectSelector"];
        // An object that belongs to no namespace is in all of them.
        (namespace.is_null() || selects(&resources["namespaceSelector"], namespace))
            && (selects(object, &self.object) || selects(object, &self.old))
            && (resources["resourceRules"].is_null() || any(&resources["resourceRules"]))
            && !any(&resources["excludeResourceRules"])
    }

    fn is_under(&self, rule: &Value) -> bool {
        let has = |field: &str, wanted: &str| {
            let mut values = rule[field].as_array().into_iter().flatten();
            values.any(|value| value == "*" || value == wanted)
        };
        let resources = rule["resources"].as_array().into_iter().flatten();
        let mut resources = resources
            .filter_map(Value::as_str)
            .map(|rule| rule.split_once('/').unwrap_or((rule, "")));
        let named = rule["resourceNames"].as_array();
        has("operations", self.operation)
            && has("apiGroups", self.group)
            && has("apiVersions", self.version)
            && resources.any(|(resource, subresource)| {
                (resource == "*" || resource == self.resource)
                    && (subresource == "*" || subresource == self.subresource)
            })
            && match rule["scope"].as_str() {
                Some("Namespaced") => !self.namespace.is_empty(),
                Some("Cluster") => self.namespace.is_empty(),
                _ => true,
            }
            && named.is_none_or(|names| names.contains(&self.name.into()))
    }

    fn denials(&self, policy: &Value, namespace: &Value) -> Vec<Denial> {
        let fails = policy["failurePolicy"] != "Ignore";
        let broken = |why: String| if fails { vec![Denial::of(why)] } else { Vec::new() };
        let mut variables = Value::Object(Map::new());
        let evaluate = |expression: &Value, variables: &Value| {
            let values = [&self.object, &self.old, &self.request, namespace, variables];
            let named: Vec<(&str, &Value)> = NAMES.into_iter().zip(values).collect();
            let expression = compiled(expression)?;
            expression
                .evaluate(&named)
                .map_err(|why| format!("expression '{}' resulted in error: {why}", expression.text()))
        };
        for condition in entries(&policy["matchConditions"]) {
            match evaluate(&condition["expression"], &variables) {
                Ok(Value::Bool(true)) => {}
                Ok(_) => return Vec::new(),
                Err(why) => return broken(why),
            }
        }
        for variable in entries(&policy["variables"]) {
            // Without a value, only what speaks of it fails.
            if let Ok(value) = evaluate(&variable["expression"], &variables) {
                variables[variable["name"].as_str().unwrap_or_default()] = value;
            }
        }
        let validations = entries(&policy["validations"]);
        validations
            .flat_map(
                |validation| match evaluate(&validation["expression"], &variables) {
                    Ok(Value::Bool(true)) => Vec::new(),
                    Ok(_) => {
                        let expressed = evaluate(&validation["messageExpression"], &variables).ok();
                        let messages = [
                            expressed.as_ref().and_then(Value::as_str),
                            validation["message"].as_str(),
                        ];
                        let message = messages
                            .into_iter()
                            .flatten()
                            .map(str::trim)
                            .find(|message| !message.is_empty());
                        let expression = validation["expression"].as_str().unwrap_or_default().trim();
                        vec![Denial {
                            message: message
                                .map_or_else(|| format!("failed expression: {expression}"), str::to_owned),
                            reason: validation["reason"].as_str().map(str::to_owned),
                        }]
                    }
                    Err(why) => broken(why),
                },
            )
            .collect()
    }
}

fn compiled(expression: &Value) -> std::result::Result<Expression, String> {
    Expression::compile(expression.as_str().unwrap_or_default(), &NAMES)
}

fn entries(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

/// `pkg/apis/admissionregistration/v1/defaults.go`
pub(crate) fn set_defaults(resource: &Resource, object: &mut Value) {
    if object["metadata"]["generation"].is_null() {
        object["metadata"]["generation"] = 1.into();
    }
    let spec = &mut object["spec"];
    let matches = if resource == &POLICIES {
        set(spec, "failurePolicy", json!("Fail"));
        set(spec, "matchConstraints", json!({}));
        object["status"] = json!({});
        &mut object["spec"]["matchConstraints"]
    } else if spec["matchResources"].is_object() {
        &mut spec["matchResources"]
    } else {
        return;
    };
    for (field, default) in [
        ("namespaceSelector", json!({})),
        ("objectSelector", json!({})),
        ("matchPolicy", json!("Equivalent")),
    ] {
        set(matches, field, default);
    }
    for rules in ["resourceRules", "excludeResourceRules"] {
        for rule in matches
            .get_mut(rules)
            .and_then(Value::as_array_mut)
            .into_iter()
            .flatten()
        {
            set(rule, "scope", json!("*"));
        }
    }
}

fn set(object: &mut Value, field: &str, default: Value) {
    if let Some(fields) = object.as_object_mut() {
        fields.entry(field).or_insert(default);
    }
}

/// `pkg/apis/admissionregistration/validation/validation.go`, and what is not there in the dev cluster.
pub(crate) fn validate(resource: &Resource, object: &Value, problems: &mut Vec<Problem>) {
    let spec = &object["spec"];
    let is_empty = |value: &Value| value.as_array().is_none_or(Vec::is_empty);
    let no_parameters = "the dev cluster has no parameters of policies";
    if resource == &POLICY_BINDINGS {
        if spec["policyName"].as_str().is_none_or(str::is_empty) {
            problems.push(Problem::required("spec.policyName", ""));
        }
        if is_empty(&spec["validationActions"]) {
            problems.push(Problem::required("spec.validationActions", ""));
        }
        for (index, action) in entries(&spec["validationActions"]).enumerate() {
            if !["Deny", "Warn", "Audit"].iter().any(|known| action == known) {
                let path = format!("spec.validationActions[{index}]");
                problems.push(Problem::invalid(path, action, "must be one of Audit, Deny, Warn"));
            }
        }
        if !spec["paramRef"].is_null() {
            problems.push(Problem::forbidden("spec.paramRef", no_parameters));
        }
        return;
    }
    if !spec["paramKind"].is_null() {
        problems.push(Problem::forbidden("spec.paramKind", no_parameters));
    }
    if is_empty(&spec["matchConstraints"]["resourceRules"]) {
        problems.push(Problem::required("spec.matchConstraints.resourceRules", ""));
    }
    if is_empty(&spec["validations"]) && is_empty(&spec["auditAnnotations"]) {
        let why = "validations or auditAnnotations must contain at least one item";
        problems.push(Problem::required("spec.validations", why));
    }
    for (list, field) in [
        ("matchConditions", "expression"),
        ("variables", "expression"),
        ("validations", "expression"),
        ("validations", "messageExpression"),
    ] {
        for (index, entry) in entries(&spec[list]).enumerate() {
            let (path, expression) = (format!("spec.{list}[{index}].{field}"), &entry[field]);
            match compiled(expression) {
                _ if expression.is_null() && field == "messageExpression" => {}
                _ if expression.as_str().is_none_or(str::is_empty) => {
                    problems.push(Problem::required(path, ""));
                }
                Ok(_) => {}
                Err(why) => problems.push(Problem::invalid(path, expression, &why)),
            }
        }
    }
}
