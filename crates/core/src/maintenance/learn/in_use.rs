//! The rules in use, and the rights among them that no run used.

use std::{collections::BTreeSet, path::Path, time::Duration};

use k8s_openapi::api::authorization::v1::{SelfSubjectRulesReview, SelfSubjectRulesReviewSpec};
use serde::Deserialize;
use serde_yaml::Value;

use super::{
    granted::Granted,
    least::{Least, place_of},
    needs::Needs,
    report::permission,
};
use crate::{
    cluster::{Budget, Call, Cluster},
    error::{Error, Kind},
    names::random_name,
    process::files::read_file,
    rbac::{Permission, Rule},
    text::{at_line, harmless},
};

/// The time limit for all requests.
const TIME_LIMIT: Duration = Duration::from_secs(30);
/// The name of the option, for messages.
const DIFF: &str = "diff";
const EXAMPLE: &str = "write the rules as in the input `role-rules`, or give a manifest of a Role or a \
    ClusterRole, as `kubectl get role NAME --output yaml` prints it";

/// The rules that a ServiceAccount has.
#[derive(Debug, Default)]
pub struct InUse(Vec<Granted>);

/// The comparison of the rules in use with the needs of some runs.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// The rights that no run used, and the rights with a wildcard: a wildcard allows more than any run uses.
    pub unused: Vec<String>,
    /// The rights that a run used, and that none of the rules grants.
    pub missing: Vec<String>,
}

/// The fields of a manifest that matter for its rules.
#[derive(Deserialize)]
struct Manifest {
    #[serde(default)]
    kind: String,
    #[serde(default)]
    metadata: Metadata,
    /// The namespace of a document that `jobpass learn` printed.
    namespace: Option<String>,
    #[serde(alias = "role-rules")]
    rules: Option<Value>,
    #[serde(default)]
    items: Vec<Value>,
}

#[derive(Deserialize, Default)]
struct Metadata {
    namespace: Option<String>,
}

impl InUse {
    /// Reads the rules in a file.
    ///
    /// # Errors
    /// As [`InUse::parse`]. Also if jobpass cannot read the file.
    pub fn read(path: &Path, own: Option<&str>) -> Result<Self, Error> {
        Self::parse(&read_file(DIFF, path)?, own)
    }

    /// Parses rules as in the input `role-rules`, the output of `jobpass learn`, or manifests of Roles and
    /// ClusterRoles. The rules of a ClusterRole, and rules for paths, apply in the whole cluster. Other rules
    /// without a namespace apply in the namespace `own`.
    ///
    /// # Errors
    /// If the text has no rules, or rules that are wrong. Also if a rule needs a namespace, but the text
    /// names none and `own` is `None`.
    pub fn parse(text: &str, own: Option<&str>) -> Result<Self, Error> {
        let mut in_use = Self::default();
        let is_yaml = text
            .lines()
            .map(str::trim)
            .find(|line| !line.is_empty() && !line.starts_with('#'));
        let is_yaml = is_yaml.is_some_and(|line| line.starts_with(['-', '[', '{']) || line.contains(':'));
        match is_yaml {
            // Permissions, one permission a line.
            false => in_use.add_text(text, own)?,
            true => {
                for document in serde_yaml::Deserializer::from_str(text) {
                    let document = Value::deserialize(document)
                        .map_err(|error| wrong(&format!("is not valid YAML{}", at_line(&error))))?;
                    in_use.add(document, own)?;
                }
            }
        }
        match in_use.0.is_empty() {
            true => Err(wrong("has no rules")),
            false => Ok(in_use),
        }
    }

    fn add(&mut self, document: Value, own: Option<&str>) -> Result<(), Error> {
        if document.is_null() {
            return Ok(());
        }
        if document.is_sequence() {
            return self.add_list(document, own, false);
        }
        let manifest = serde_yaml::from_value::<Manifest>(document)
            .map_err(|error| wrong(&format!("is wrong: {}", harmless(&error.to_string()))))?;
        for item in manifest.items {
            self.add(item, own)?;
        }
        let is_cluster = manifest.kind == "ClusterRole";
        let named = manifest.metadata.namespace.or(manifest.namespace);
        let own = named.as_deref().or(own);
        match (&*manifest.kind, manifest.rules) {
            ("" | "Role" | "ClusterRole", Some(Value::String(text))) => self.add_text(&text, own),
            ("" | "Role" | "ClusterRole", Some(rules)) if !rules.is_null() => {
                self.add_list(rules, own, is_cluster)
            }
            _ => Ok(()),
        }
    }

    fn add_text(&mut self, text: &str, own: Option<&str>) -> Result<(), Error> {
        if crate::rbac::is_yaml_list(text) {
            let list = serde_yaml::from_str(text).map_err(|_| wrong("has rules that are not a YAML list"))?;
            return self.add_list(list, own, false);
        }
        let lines = text
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty() && !line.starts_with('#'));
        lines
            .into_iter()
            .try_for_each(|line| self.add_permission(line, own))
    }

    fn add_list(&mut self, list: Value, own: Option<&str>, is_cluster: bool) -> Result<(), Error> {
        let items =
            serde_yaml::from_value::<Vec<Value>>(list).map_err(|_| wrong("has rules that are not a list"))?;
        for (item, number) in items.into_iter().zip(1..) {
            if let Some(text) = item.as_str() {
                self.add_permission(text, own)?;
                continue;
            }
            let rule = serde_yaml::from_value::<Rule>(item);
            let rule = rule.map_err(|error| {
                wrong(&format!(
                    "is wrong in rule {number}: {}",
                    harmless(&error.to_string())
                ))
            })?;
            // Only a ClusterRole can have a rule with paths.
            let namespace = match is_cluster || !rule.non_resource_urls.is_empty() {
                true => None,
                false => Some(own.ok_or_else(no_namespace)?.to_owned()),
            };
            self.0.push(Granted { namespace, rule });
        }
        Ok(())
    }

    fn add_permission(&mut self, text: &str, own: Option<&str>) -> Result<(), Error> {
        let permission = Permission::parse(text).map_err(|problem| wrong(&format!("is wrong: {problem}")))?;
        let namespace = match own {
            Some(own) => crate::rbac::namespace_of(&permission, own),
            None => crate::rbac::namespace_of(&permission, ""),
        };
        let namespace = match namespace {
            Some("") => return Err(no_namespace()),
            namespace => namespace.map(str::to_owned),
        };
        let rule = Rule::from(&permission);
        self.0.push(Granted { namespace, rule });
        Ok(())
    }

    /// Asks the API server for the rules of the identity of `cluster`, in `own` and in the namespaces of the
    /// allowed requests. Leaves out the rules that every ServiceAccount has.
    ///
    /// # Errors
    /// If the API server does not answer, refuses the request, or lists only a part of the rules.
    pub async fn ask(cluster: &Cluster, needs: &Needs, own: Option<&str>) -> Result<Self, Error> {
        let budget = Budget::new(TIME_LIMIT);
        // This namespace does not exist, so it has no RoleBinding. The answer has only the rules of
        // ClusterRoleBindings.
        let everywhere = listed(cluster, &random_name()?, &budget).await?;
        let namespaces = needs.allowed.iter().map(|right| &*right.namespace);
        let namespaces = namespaces.chain(own).filter(|namespace| !namespace.is_empty());
        let mut all = Vec::new();
        for namespace in namespaces.collect::<BTreeSet<_>>() {
            let mut rules = listed(cluster, namespace, &budget).await?;
            for known in &everywhere {
                if let Some(at) = rules.iter().position(|rule| rule == known) {
                    rules.remove(at);
                }
            }
            let namespace = Some(namespace.to_owned());
            all.extend(rules.into_iter().map(|rule| Granted {
                namespace: namespace.clone(),
                rule,
            }));
        }
        all.extend(everywhere.into_iter().map(|rule| Granted {
            namespace: None,
            rule,
        }));
        let mut rights = all.iter().flat_map(Granted::rights).collect::<Vec<_>>();
        rights.retain(|right| !right.belongs_to_everybody());
        Ok(Self(rights))
    }

    /// Compares the rules with the needs of some runs. `own` is the namespace of the ServiceAccount.
    pub fn compare(&self, needs: &Needs, own: Option<&str>) -> Difference {
        let mut unused = BTreeSet::new();
        for right in self.0.iter().flat_map(Granted::rights) {
            let mut used = needs.allowed.iter().filter(|need| right.grants(need)).peekable();
            let shown = right.shown(own);
            if used.peek().is_none() {
                unused.insert(shown);
            } else if right.has_wildcard() {
                let mut verbs = used.map(|need| need.verb.clone()).collect::<Vec<_>>();
                verbs.sort_by_key(|verb| place_of(verb));
                verbs.dedup();
                unused.insert(format!(
                    "{shown}, except for {}",
                    used_in_words(&right, needs, &verbs, own)
                ));
            }
        }
        let missing = needs
            .allowed
            .iter()
            .filter(|need| !self.0.iter().any(|granted| granted.grants(need)));
        let missing = missing
            .map(|need| permission(need, own).to_string())
            .collect::<BTreeSet<_>>();
        Difference {
            unused: unused.into_iter().collect(),
            missing: missing.into_iter().collect(),
        }
    }
}

/// Returns, for a right with a wildcard, the permissions in it that the runs used. If only the verb is a
/// wildcard, returns only the verbs that the runs used.
fn used_in_words(right: &Granted, needs: &Needs, verbs: &[String], own: Option<&str>) -> String {
    let is_verb_alone = right
        .rule
        .api_groups
        .iter()
        .chain(&right.rule.resources)
        .all(|text| !text.contains('*'));
    if is_verb_alone && right.rule.non_resource_urls.is_empty() {
        return format!("`{}`", verbs.join("`, `"));
    }
    let least = Least::of(needs.allowed.iter().filter(|need| right.grants(need)));
    let rules = least.places.values().flatten().chain(&least.cluster);
    let granted = rules.flat_map(|rule| {
        let rule = Rule {
            resource_names: Vec::new(),
            ..rule.clone()
        };
        Granted {
            namespace: right.namespace.clone(),
            rule,
        }
        .rights()
    });
    let shown = granted
        .map(|right| format!("`{}`", right.shown(own)))
        .collect::<BTreeSet<_>>();
    shown.into_iter().collect::<Vec<_>>().join(", ")
}

/// All rules of the identity of `cluster` that apply in a namespace, as the API server lists them.
async fn listed(cluster: &Cluster, namespace: &str, budget: &Budget) -> Result<Vec<Rule>, Error> {
    let question = SelfSubjectRulesReview {
        spec: SelfSubjectRulesReviewSpec {
            namespace: Some(namespace.to_owned()),
        },
        ..SelfSubjectRulesReview::default()
    };
    let call = Call::create("ask for the rules in use", None, &question)?;
    let answer = cluster
        .send(&call, budget)
        .await
        .map_err(|unanswered| unanswered.error)?;
    if answer.status != 201 {
        let why = format!(
            "the API server does not list the rules in use: {}",
            answer.in_words()
        );
        let kind = if answer.status < 500 {
            Kind::Refused
        } else {
            Kind::Unreachable
        };
        let step = match answer.status {
            401 => {
                "the credential is expired, revoked or unknown. Give the kubeconfig of a job that still \
                 runs, or compare with the manifests of the Roles: `--diff FILE`"
            }
            403 => {
                "give the kubeconfig of the job. If the job has the input `allow`, add this permission to \
                 it: `create selfsubjectrulesreviews.authorization.k8s.io`"
            }
            _ => "check the server's URL. Or compare with the manifests of the Roles: `--diff FILE`",
        };
        let step = answer.refused_by_another().unwrap_or(step);
        return Err(Error::new(kind, why).help(step));
    }
    let review = answer.parse_with::<SelfSubjectRulesReview>(&call, "/status/incomplete")?;
    let status = review.status.unwrap_or_default();
    let failed = status.evaluation_error.filter(|error| !error.is_empty());
    if status.incomplete || failed.is_some() {
        let why = failed.map_or_else(
            || "an authorizer cannot list its rules".to_owned(),
            |why| harmless(&why),
        );
        return Err(Error::new(
            Kind::Unreachable,
            format!("the API server lists only a part of the rules in use: {why}"),
        )
        .help("leave out `kubeconfig`, and compare with the manifests of the Roles: `--diff FILE`"));
    }
    let resources = status.resource_rules.into_iter().map(|rule| Rule {
        api_groups: rule.api_groups.unwrap_or_default(),
        resources: rule.resources.unwrap_or_default(),
        resource_names: rule.resource_names.unwrap_or_default(),
        non_resource_urls: Vec::new(),
        verbs: rule.verbs,
    });
    let paths = status.non_resource_rules.into_iter().map(|rule| Rule {
        non_resource_urls: rule.non_resource_urls.unwrap_or_default(),
        verbs: rule.verbs,
        ..Rule::default()
    });
    Ok(resources.chain(paths).collect())
}

fn wrong(problem: &str) -> Error {
    Error::input(DIFF, format!("names a file that {problem}"), EXAMPLE)
}

fn no_namespace() -> Error {
    Error::input(
        "namespace",
        "is missing: the rules in use name no namespace, and the requests do not show exactly one",
        "give the namespace of the ServiceAccount, or a manifest with `metadata.namespace`",
    )
}
