//! The permissions that minters and jobs would lose if a set-up were applied.

use serde_json::Value;

use super::{
    Grant, Setup,
    apply::{PROBE_GROUP, subjects},
    object::SetupObject,
    policies::{AUDIENCES, LIFETIME},
};
use crate::{
    error::{Error, Kind},
    rbac::Rule,
    text::{harmless, in_words},
};

/// Refuses a set-up that would take something away.
///
/// # Errors
/// Names everybody who would lose something, and what.
pub(super) fn refuse(setup: &Setup, objects: &[SetupObject], found: &[Option<Value>]) -> Result<(), Error> {
    let losses = setup
        .grants()
        .flat_map(|grant| losses_of(setup, grant, objects, found));
    let losses = losses.map(|loss| format!("  {loss}\n")).collect::<String>();
    if losses.is_empty() {
        return Ok(());
    }
    let error = Error::new(
        Kind::Claims,
        "nothing was changed: applying this would take something away",
    );
    Err(error.help(format!(
        "{losses}\nput all of it into one command, or take this away with `--replace`"
    )))
}

fn losses_of(
    setup: &Setup,
    grant: Grant<'_>,
    objects: &[SetupObject],
    found: &[Option<Value>],
) -> Vec<String> {
    let of = |kind: &str, name: &str| {
        let index = objects.iter().position(|object| {
            let wanted = object.manifest();
            wanted["kind"] == kind && wanted["metadata"]["name"] == name
        })?;
        Some((objects[index].manifest(), found[index].as_ref()?))
    };
    let role = grant.role();
    // Without a RoleBinding nobody has anything to lose.
    let Some((wanted, had)) = of("RoleBinding", &role) else {
        return Vec::new();
    };
    let minters = subjects(had).into_iter().filter(|subject| {
        !subject["name"]
            .as_str()
            .is_some_and(|name| name.starts_with(PROBE_GROUP))
    });
    let minters = minters.collect::<Vec<_>>();
    if minters.is_empty() {
        return Vec::new();
    }
    let tokens = match grant {
        Grant::Account(account) => format!("tokens of {account}"),
        Grant::Jobs(_) => "tokens for jobs with rules".to_owned(),
    };
    let wanted = subjects(wanted);
    let dropped = minters
        .iter()
        .filter(|had| !wanted.iter().any(|wanted| same_subject(had, wanted)));
    let mut losses = dropped
        .map(|had| format!("{} may mint {tokens}, and could no longer", in_option(had)))
        .collect::<Vec<_>>();
    if let Some((wanted, had)) = of("Role", &role).filter(|_| matches!(grant, Grant::Jobs(_))) {
        let wanted = rules(wanted);
        let beyond = rules(had)
            .iter()
            .flat_map(|rule| rule.beyond(&wanted))
            .collect::<Vec<_>>();
        let beyond = beyond.iter().map(|rule| format!("`{}`", rule.in_short()));
        losses.extend(beyond.map(|rule| format!("jobs with rules may be given {rule}, and could no longer")));
    }
    if let Some((wanted, had)) = of("ValidatingAdmissionPolicy", &setup.policy_name("tokens", grant)) {
        match (lifetime(had), lifetime(wanted)) {
            (Some(had), Some(wanted)) if had > wanted => losses.push(format!(
                "{tokens} may live for {}, and could for {} at most",
                in_words(had),
                in_words(wanted)
            )),
            _ => {}
        }
        match (audiences(had), audiences(wanted)) {
            (None, Some(_)) => losses.push(format!("{tokens} may have any audience, and could no longer")),
            (Some(had), Some(wanted)) => losses.extend(
                had.iter()
                    .filter(|audience| !wanted.contains(audience))
                    .map(|audience| {
                        format!(
                            "{tokens} may have the audience {}, and could no longer",
                            harmless(audience)
                        )
                    }),
            ),
            (_, None) => {}
        }
    }
    losses
}

/// Whether two subjects are the same user, group or ServiceAccount.
pub(super) fn same_subject(one: &Value, other: &Value) -> bool {
    ["kind", "name", "namespace"]
        .iter()
        .all(|field| one[field] == other[field])
}

/// A subject as `--minter` takes it: `serviceaccount:ci/minter`.
fn in_option(subject: &Value) -> String {
    let text = |field: &str| harmless(subject[field].as_str().unwrap_or_default());
    let name = text("name");
    match &*text("kind") {
        "ServiceAccount" => format!("serviceaccount:{}/{name}", text("namespace")),
        kind => format!("{}:{name}", kind.to_lowercase()),
    }
}

/// The rules of a Role about resources. `setup` writes no others.
fn rules(role: &Value) -> Vec<Rule> {
    let rules = role["rules"].as_array().into_iter().flatten();
    rules
        .filter_map(|rule| serde_json::from_value(rule.clone()).ok())
        .collect()
}

/// The rest of a policy's expression, after `begin`.
fn after<'a>(policy: &'a Value, begin: &str) -> Option<&'a str> {
    let validations = policy["spec"]["validations"].as_array()?;
    validations
        .iter()
        .find_map(|validation| validation["expression"].as_str()?.split_once(begin))
        .map(|(_, rest)| rest)
}

/// The longest lifetime that a policy allows, in seconds.
fn lifetime(policy: &Value) -> Option<u64> {
    after(policy, LIFETIME)?.parse().ok()
}

/// The audiences that a policy allows: the strings of a CEL list, as [`cel`](crate::text::cel) writes them.
/// `None` if it allows all.
fn audiences(policy: &Value) -> Option<Vec<String>> {
    let mut texts = Vec::new();
    let mut text: Option<String> = None;
    let mut chars = after(policy, AUDIENCES)?.chars();
    while let Some(c) = chars.next() {
        match (&mut text, c) {
            (Some(open), '\\') => open.extend(chars.next()),
            (Some(_), '\'') => texts.extend(text.take()),
            (Some(open), c) => open.push(c),
            (None, '\'') => text = Some(String::new()),
            (None, ']') => break,
            (None, _) => {}
        }
    }
    Some(texts)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::text::cel;

    #[test]
    fn what_a_policy_says_is_read_as_it_was_written() {
        let had = ["https://vault.example.com", r"it's\ours", "]"];
        let list = had.map(cel).join(", ");
        let policy = json!({ "spec": { "validations": [
            { "expression": format!("request.name != 'a' || {LIFETIME}3600") },
            { "expression": format!("request.name != 'a' || {AUDIENCES}[{list}])") },
        ] } });
        assert_eq!(lifetime(&policy), Some(3600));
        assert_eq!(audiences(&policy), Some(had.map(str::to_owned).to_vec()));
        assert_eq!((lifetime(&json!({})), audiences(&json!({}))), (None, None));
    }
}
