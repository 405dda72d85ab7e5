//! The permissions that minters and jobs have now, and would lose if jobpass applied or deleted a set-up.

use k8s_openapi::api::{
    admissionregistration::v1::ValidatingAdmissionPolicy,
    rbac::v1::{Role, Subject},
};
use serde_json::Value;

use super::{
    Grant, Setup,
    apply::PROBE_GROUP,
    binding::{in_option, is_same, subjects},
    object::{SetupObject, read},
    policies::{AUDIENCES, LIFETIME},
};
use crate::{
    error::{Error, Kind},
    rbac::Rule,
    text::{harmless, in_words},
};

/// Refuses a set-up that would remove a minter's binding, a longer lifetime, an audience, or a rule that jobs
/// may ask for.
///
/// # Errors
/// If the set-up would remove one. The error lists each permission that a minter or a job would lose.
pub(super) fn refuse(setup: &Setup, objects: &[SetupObject], found: &[Option<Value>]) -> Result<(), Error> {
    let mut losses = Vec::new();
    for grant in setup.grants() {
        losses.extend(losses_of(setup, grant, objects, found)?);
    }
    let losses = losses.iter();
    let losses = losses.map(|loss| format!("  {loss}\n")).collect::<String>();
    if losses.is_empty() {
        return Ok(());
    }
    let error = Error::new(
        Kind::Claims,
        "nothing was changed: this set-up would remove permissions that minters or jobs have now",
    );
    Err(error.help(format!(
        "{losses}\nto keep these permissions, give this command their minters, rules, audiences and \
         lifetime. To remove them, add `--replace`"
    )))
}

/// Refuses to delete a set-up that also serves minters that the command does not name. All minters of a
/// set-up share its objects.
///
/// # Errors
/// If the cluster has minters that the command does not name. The error names them.
pub(super) fn refuse_deletion(
    setup: &Setup,
    objects: &[SetupObject],
    found: &[Option<Value>],
) -> Result<(), Error> {
    let mut others = Vec::new();
    for grant in setup.grants() {
        let (minters, wanted) = minters(grant, objects, found)?;
        others.extend(dropped(&minters, &wanted).map(in_option));
    }
    others.sort_unstable();
    others.dedup();
    if others.is_empty() {
        return Ok(());
    }
    let others = others.iter().map(|minter| format!("  --minter {minter}\n"));
    let error = Error::new(
        Kind::Claims,
        "nothing was deleted: minters that this command does not name use the same set-up",
    );
    Err(error.help(format!(
        "{}\nto remove the permissions of these minters as well, add these options. To remove those of one \
         minter alone, use `--apply --replace` in place of `--delete`, and name the minters that stay",
        others.collect::<String>()
    )))
}

/// The minters that have a grant now, and those that the set-up names.
fn minters(
    grant: Grant<'_>,
    objects: &[SetupObject],
    found: &[Option<Value>],
) -> Result<(Vec<Subject>, Vec<Subject>), Error> {
    let role = grant.role();
    let index = objects.iter().position(|object| object.is("RoleBinding", &role));
    let binding = index.and_then(|index| Some((objects[index].manifest(), found[index].as_ref()?)));
    // If there is no RoleBinding, nobody has a permission to lose.
    let Some((wanted, had)) = binding else {
        return Ok((Vec::new(), Vec::new()));
    };
    let mut minters = subjects(had)?;
    minters.retain(|minter| !minter.name.starts_with(PROBE_GROUP));
    Ok((minters, subjects(wanted)?))
}

/// Those of `minters` that are not in `wanted`, the minters that a set-up names.
fn dropped<'a>(minters: &'a [Subject], wanted: &'a [Subject]) -> impl Iterator<Item = &'a Subject> {
    minters
        .iter()
        .filter(|had| !wanted.iter().any(|wanted| is_same(had, wanted)))
}

fn losses_of(
    setup: &Setup,
    grant: Grant<'_>,
    objects: &[SetupObject],
    found: &[Option<Value>],
) -> Result<Vec<String>, Error> {
    let of = |kind: &str, name: &str| {
        let index = objects.iter().position(|object| object.is(kind, name))?;
        Some((objects[index].manifest(), found[index].as_ref()?))
    };
    let (minters, wanted) = minters(grant, objects, found)?;
    if minters.is_empty() {
        return Ok(Vec::new());
    }
    let tokens = match grant {
        Grant::Account(account) => format!("tokens of {account}"),
        Grant::Jobs(_) => "tokens for jobs with rules".to_owned(),
    };
    let mut losses = dropped(&minters, &wanted)
        .map(|had| {
            format!(
                "{} can mint {tokens} now, but not after this set-up",
                in_option(had)
            )
        })
        .collect::<Vec<_>>();
    if let Some((wanted, had)) = of("Role", &grant.role()).filter(|_| matches!(grant, Grant::Jobs(_))) {
        let wanted = rules(wanted)?;
        let beyond = rules(had)?
            .iter()
            .flat_map(|rule| rule.beyond(&wanted))
            .collect::<Vec<_>>();
        let beyond = beyond.iter().map(|rule| format!("`{}`", rule.in_short()));
        losses.extend(
            beyond.map(|rule| format!("jobs with rules can get {rule} now, but not after this set-up")),
        );
    }
    if let Some((wanted, had)) = of("ValidatingAdmissionPolicy", &setup.policy_name("tokens", grant)) {
        let (wanted, had) = (&read(wanted)?, &read(had)?);
        match (lifetime(had), lifetime(wanted)) {
            (Some(had), Some(wanted)) if had > wanted => losses.push(format!(
                "{tokens} can live for {} now, but only for {} after this set-up",
                in_words(had),
                in_words(wanted)
            )),
            _ => {}
        }
        match (audiences(had), audiences(wanted)) {
            (None, Some(_)) => losses.push(format!(
                "{tokens} can have any audience now, but not after this set-up"
            )),
            (Some(had), Some(wanted)) => losses.extend(
                had.iter()
                    .filter(|audience| !wanted.contains(audience))
                    .map(|audience| {
                        format!(
                            "{tokens} can have the audience {} now, but not after this set-up",
                            harmless(audience)
                        )
                    }),
            ),
            (_, None) => {}
        }
    }
    Ok(losses)
}

/// The rules of a Role.
fn rules(role: &Value) -> Result<Vec<Rule>, Error> {
    let rules = read::<Role>(role)?.rules.unwrap_or_default();
    Ok(rules.into_iter().map(Rule::from).collect())
}

/// The part of a policy's expression that follows `begin`.
fn after<'a>(policy: &'a ValidatingAdmissionPolicy, begin: &str) -> Option<&'a str> {
    let validations = policy.spec.as_ref()?.validations.as_deref()?;
    validations
        .iter()
        .find_map(|validation| validation.expression.split_once(begin))
        .map(|(_, rest)| rest)
}

/// The longest lifetime that a policy allows, in seconds.
fn lifetime(policy: &ValidatingAdmissionPolicy) -> Option<u64> {
    after(policy, LIFETIME)?.parse().ok()
}

/// The audiences that a policy allows: the strings of a CEL list, as [`cel`](crate::text::cel) writes them.
/// `None` if the policy allows all audiences.
fn audiences(policy: &ValidatingAdmissionPolicy) -> Option<Vec<String>> {
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
    use rstest::rstest;
    use serde_json::json;

    use super::*;
    use crate::{inputs::setup::Wanted, text::cel};

    fn setup(change: impl Fn(&mut Wanted)) -> Setup {
        let mut wanted = Wanted {
            service_account: "scanner".into(),
            rules: "get pods\nlist pods".into(),
            namespace: "ci".into(),
            duration: "1h".into(),
            audiences: "a, b".into(),
            minters: vec!["user:jane".into(), "serviceaccount:minter".into()],
            ..Wanted::default()
        };
        change(&mut wanted);
        Setup::parse(&wanted).expect("parsed")
    }

    /// Returns a changed set-up and its objects. For each object, also returns the object of the same name
    /// that the unchanged set-up left in the cluster.
    fn changed(change: impl Fn(&mut Wanted)) -> (Setup, Vec<SetupObject>, Vec<Option<Value>>) {
        let before = setup(|_| {}).objects().expect("YAML");
        let after = setup(change);
        let objects = after.objects().expect("YAML");
        let found = objects.iter().map(|object| {
            let before = before.iter().find(|before| before.title() == object.title());
            before.map(|before| before.manifest().clone())
        });
        let found = found.collect();
        (after, objects, found)
    }

    /// Each case changes a set-up, and names the losses if the changed set-up replaces the unchanged one.
    #[rstest]
    #[case::same(|_: &mut Wanted| {}, &[])]
    #[case::one_more_minter(|wanted: &mut Wanted| wanted.minters.push("group:ci".into()), &[])]
    #[case::one_minter_less(|wanted: &mut Wanted| { wanted.minters.pop(); }, &[
        "serviceaccount:ci/minter can mint tokens of scanner now, but not after this set-up",
        "serviceaccount:ci/minter can mint tokens for jobs with rules now, but not after this set-up",
    ])]
    #[case::only_the_account(|wanted: &mut Wanted| wanted.rules.clear(), &[])]
    #[case::only_the_rules(|wanted: &mut Wanted| wanted.service_account.clear(), &[])]
    #[case::one_more_rule(|wanted: &mut Wanted| wanted.rules += "\nget configmaps", &[])]
    #[case::one_rule_less(|wanted: &mut Wanted| wanted.rules = "get pods".into(), &[
        "jobs with rules can get `list pods` now, but not after this set-up",
    ])]
    #[case::longer(|wanted: &mut Wanted| wanted.duration = "2h".into(), &[])]
    #[case::shorter(|wanted: &mut Wanted| wanted.duration = "10m".into(), &[
        "tokens of scanner can live for 1 h now, but only for 10 min after this set-up",
        "tokens for jobs with rules can live for 1 h now, but only for 10 min after this set-up",
    ])]
    #[case::any_audience(|wanted: &mut Wanted| wanted.audiences.clear(), &[])]
    #[case::one_audience_less(|wanted: &mut Wanted| wanted.audiences = "b, c".into(), &[
        "tokens of scanner can have the audience a now, but not after this set-up",
        "tokens for jobs with rules can have the audience a now, but not after this set-up",
    ])]
    fn nothing_is_taken_away_by_surprise(#[case] change: impl Fn(&mut Wanted), #[case] losses: &[&str]) {
        let (after, objects, found) = changed(change);
        let refused = refuse(&after, &objects, &found);
        let listed = losses
            .iter()
            .map(|loss| format!("  {loss}\n"))
            .collect::<String>();
        match refused {
            Ok(()) => assert_eq!(listed, ""),
            Err(error) => {
                let help = error.next_step().expect("a next step");
                assert!(
                    !listed.is_empty() && help.starts_with(&format!("{listed}\nto keep")),
                    "{help}"
                );
            }
        }
    }

    /// The minters of one account share a RoleBinding and the policies.
    #[rstest]
    #[case::all_are_named(|_: &mut Wanted| {}, None)]
    #[case::one_is_not(
        |wanted: &mut Wanted| { wanted.minters.pop(); },
        Some("  --minter serviceaccount:ci/minter\n\nto remove the permissions")
    )]
    #[case::one_more(|wanted: &mut Wanted| wanted.minters.push("group:ci".into()), None)]
    fn no_deletion_takes_away_another_minter(
        #[case] change: impl Fn(&mut Wanted),
        #[case] named: Option<&str>,
    ) {
        let (after, objects, found) = changed(change);
        let refused = refuse_deletion(&after, &objects, &found);
        let help = refused
            .err()
            .and_then(|error| error.next_step().map(str::to_owned));
        assert_eq!(help.is_some(), named.is_some(), "{help:?}");
        assert!(help.is_none_or(|help| named.is_some_and(|named| help.starts_with(named))));
    }

    #[test]
    fn audiences_where_there_were_none_take_the_others_away() {
        let after = setup(|_| {});
        let before = setup(|wanted| wanted.audiences.clear());
        let found = before.objects().expect("YAML");
        let found = found.iter().map(|object| Some(object.manifest().clone()));
        let error = refuse(
            &after,
            &after.objects().expect("YAML"),
            &found.collect::<Vec<_>>(),
        );
        let error = error.expect_err("refused").to_string();
        assert!(
            error.contains("can have any audience now, but not after this set-up"),
            "{error}"
        );
    }

    #[test]
    fn what_a_policy_says_is_read_as_it_was_written() {
        let policy = |validations: Value| {
            serde_json::from_value(json!({ "spec": { "validations": validations } })).expect("a policy")
        };
        let had = ["https://vault.example.com", r"it's\ours", "]"];
        let list = had.map(cel).join(", ");
        let full = policy(json!([
            { "expression": format!("request.name != 'a' || {LIFETIME}3600") },
            { "expression": format!("request.name != 'a' || {AUDIENCES}[{list}])") },
        ]));
        assert_eq!(lifetime(&full), Some(3600));
        assert_eq!(audiences(&full), Some(had.map(str::to_owned).to_vec()));
        let empty = policy(json!([]));
        assert_eq!((lifetime(&empty), audiences(&empty)), (None, None));
    }
}
