//! Permissions as people write them: `get pods`, `create pods/exec target-pod`, `get secrets -n other`, `get
//! /metrics`.

use std::fmt;

use k8s_openapi::api::authorization::v1::{
    NonResourceAttributes, ResourceAttributes, SelfSubjectAccessReviewSpec,
};

use super::resources::{self, SUBRESOURCES, VERBS};
use crate::{
    error::Error,
    names::is_dns_label,
    rbac::Rule,
    text::{self, harmless},
};

/// The syntax of permissions, for messages.
pub(crate) const FORMS: &str = "a permission is `VERB RESOURCE[.GROUP][/SUBRESOURCE] [NAME] [-n NAMESPACE | \
    -A]` or `VERB /PATH`, one permission a line:\n\n  get pods\n  create pods/exec target-pod\n  list \
    deployments.apps\n  \
    get secrets -n other\n  list nodes\n  get pods -A\n  get /metrics";

/// The syntax of permissions for the Role of a job, which is about one namespace only.
pub(crate) const FORMS_IN_ROLE: &str = "a permission is `VERB RESOURCE[.GROUP][/SUBRESOURCE] [NAME]`, one \
    permission a line:\n\n  get pods\n  create pods/exec target-pod\n  list deployments.apps";

/// An action that RBAC can allow.
///
/// ```
/// use jobpass_core::inputs::{checks::Checks, options::{Inputs, Opt}};
///
/// let inputs = Inputs::from([(Opt::Require, "get pods\nlist deployments.apps -n other\nget /metrics")]);
/// let required = Checks::parse(&inputs)?.require;
/// assert_eq!(required[1].to_string(), "list deployments.apps -n other");
///
/// // No rule for `secrets` covers `secret`, so the check would pass although the token reads Secrets.
/// let misspelt = Inputs::from([(Opt::Forbid, "get secret")]);
/// let refused = Checks::parse(&misspelt).expect_err("there is no such resource");
/// assert!(refused.message().ends_with("`secret` is not a resource: write `secrets`"));
/// # Ok::<(), jobpass_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Permission {
    pub(crate) verb: String,
    pub(crate) what: What,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum What {
    Resource {
        /// The API group. Empty for the core group.
        group: String,
        resource: String,
        subresource: String,
        /// The name of the object. Empty for any object.
        name: String,
        place: Place,
    },
    /// A path that is not a resource, such as `/metrics`.
    Path(String),
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Place {
    /// The namespace of the token.
    Own,
    Namespace(String),
    /// All namespaces (`-A`), or a resource without a namespace.
    Cluster,
}

/// Parses the permissions of an option, one permission a line or a YAML list. Ignores empty lines and lines
/// that begin with `#`. `take` converts each permission, or says why the option does not accept it.
///
/// # Errors
/// If a permission is wrong, or if the YAML is not a list of strings. The error names the line or the item,
/// the problem, and the syntax.
pub(crate) fn parse_all<T>(
    option: &str,
    text: &str,
    forms: &str,
    take: impl Fn(Permission) -> Result<T, String>,
) -> Result<Vec<T>, Error> {
    let wrong = |kind: &str, number: usize, problem: String| {
        Error::input(option, format!("is wrong in {kind} {number}: {problem}"), forms)
    };
    let parse = |kind, number, text| {
        let parsed = Permission::parse(text).and_then(&take);
        parsed.map_err(|problem| wrong(kind, number, problem))
    };
    if is_yaml_list(text) {
        let items = serde_yaml::from_str::<Vec<String>>(text).map_err(|error| {
            let problem = format!("is not a YAML list of strings{}", text::at_line(&error));
            Error::input(option, problem, forms)
        })?;
        let numbered = items.iter().zip(1..);
        return numbered
            .map(|(item, number)| parse("item", number, item))
            .collect();
    }
    let lines = text.lines().map(str::trim).zip(1..);
    lines
        .filter(|(line, _)| !line.is_empty() && !line.starts_with('#'))
        .map(|(line, number)| parse("line", number, line))
        .collect()
}

/// Whether the text begins like a YAML list, with `[` or with `-` and a blank. A permission begins with its
/// verb or with a flag, such as `-n`.
pub(crate) fn is_yaml_list(text: &str) -> bool {
    let text = text.trim_start();
    let entry = text.strip_prefix('-');
    text.starts_with('[')
        || entry.is_some_and(|entry| entry.is_empty() || entry.starts_with(char::is_whitespace))
}

impl Permission {
    /// Parses one permission. The error names the problem.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let Line {
            words,
            namespace,
            everywhere,
        } = Line::split(text)?;
        let (verb, target, name) = match words[..] {
            [verb, target] => (verb, target, ""),
            [verb, target, name] => (verb, target, name),
            [] | [_] => return Err(format!("`{}` is not a verb and a resource", text::wrong(text))),
            _ => {
                return Err(format!(
                    "`{}` has too many words for one permission",
                    text::wrong(text)
                ));
            }
        };
        if target.starts_with('/') {
            if !name.is_empty() || namespace.is_some() || everywhere {
                return Err(format!(
                    "the path `{}` takes no name and no namespace",
                    text::wrong(target)
                ));
            }
            return Self::of_path(verb, target);
        }
        let permission = Self::of_resource(verb, target, name)?;
        permission.placed(namespace, everywhere)
    }

    /// The permission for a resource of Kubernetes itself.
    pub(crate) fn built_in(verb: &str, target: &str, name: &str) -> Self {
        let (qualified, subresource) = target.split_once('/').unwrap_or((target, ""));
        let (resource, group) = match qualified.split_once('.') {
            Some((resource, group)) => (resource, Some(group)),
            None => (qualified, None),
        };
        let known = resources::find(resource, group);
        let place = match known {
            Some(known) if known.of_cluster => Place::Cluster,
            _ => Place::Own,
        };
        Self {
            verb: verb.into(),
            what: What::Resource {
                group: known.map_or("", |known| known.group).into(),
                resource: resource.into(),
                subresource: subresource.into(),
                name: name.into(),
                place,
            },
        }
    }

    /// The permission `* *`, which cluster administrators have.
    pub(crate) fn everything() -> Self {
        let all = || "*".to_owned();
        Self {
            verb: all(),
            what: What::Resource {
                group: all(),
                resource: all(),
                subresource: String::new(),
                name: String::new(),
                place: Place::Own,
            },
        }
    }

    /// The same permission, for one object of this name.
    pub(crate) fn named(mut self, of_object: &str) -> Self {
        if let What::Resource { name, .. } = &mut self.what {
            of_object.clone_into(name);
        }
        self
    }

    /// The first permission that a rule grants. `None` for a rule about paths.
    pub(crate) fn of_rule(rule: &Rule) -> Option<Self> {
        let (resource, subresource) = match rule.resources.first()?.split_once('/') {
            Some(parts) => parts,
            None => (&**rule.resources.first()?, ""),
        };
        Some(Self {
            verb: rule.verbs.first()?.clone(),
            what: What::Resource {
                group: rule.api_groups.first()?.clone(),
                resource: resource.into(),
                subresource: subresource.into(),
                name: rule.resource_names.first().cloned().unwrap_or_default(),
                place: Place::Own,
            },
        })
    }

    fn of_path(verb: &str, path: &str) -> Result<Self, String> {
        let verbs = ["get", "head", "post", "put", "patch", "delete", "options", "*"];
        if !verbs.contains(&verb) {
            return Err(format!(
                "`{}` is not a verb for a path; use one of {}",
                text::wrong(verb),
                verbs.join(", ")
            ));
        }
        Ok(Self {
            verb: verb.into(),
            what: What::Path(path.into()),
        })
    }

    fn of_resource(verb: &str, target: &str, name: &str) -> Result<Self, String> {
        let (qualified, subresource) = target.split_once('/').unwrap_or((target, ""));
        let (resource, group) = match qualified.split_once('.') {
            Some((resource, group)) => (resource, Some(group)),
            None => (qualified, None),
        };
        let is_word = |word: &str| word == "*" || word.split('.').all(is_dns_label);
        if !is_word(resource) || !group.is_none_or(is_word) {
            return Err(format!(
                "`{}` is not a resource: write lowercase letters, digits and `-`, with the group after a dot",
                text::wrong(target)
            ));
        }
        let known = resources::find(resource, group);
        if let Some(plural) = resources::plural_of(resource, group).filter(|_| known.is_none()) {
            return Err(format!("`{resource}` is not a resource: write `{plural}`"));
        }
        let group = match (known, group) {
            (Some(known), _) => known.group,
            (None, Some(group)) => group,
            (None, None) if resource == "*" => "*",
            (None, None) => {
                return Err(format!(
                    "`{resource}` is not a resource of the core group: write the plural and, for another group, the group after \
                     a dot, as `kubectl api-resources` shows them: `list ingressroutes.traefik.io`"
                ));
            }
        };
        let is_verb = VERBS.contains(&verb) || resources::is_constrained_impersonation(verb);
        if known.is_some() && !is_verb {
            return Err(format!(
                "`{}` is not a verb for {resource}; use one of {}",
                text::wrong(verb),
                VERBS.join(", ")
            ));
        }
        if !subresource
            .split('/')
            .all(|part| part.is_empty() || part == "*" || is_dns_label(part))
            || target.ends_with('/')
        {
            return Err(format!(
                "`{}` has no subresource after the `/`; write the group before it: `update deployments.apps/scale`",
                text::wrong(target)
            ));
        }
        if known.is_some() && !subresource.is_empty() && !SUBRESOURCES.contains(&subresource) {
            return Err(format!(
                "{resource} have no subresource `{subresource}`; write the name of an object after a space: \
                 `{} {qualified} {subresource}`",
                text::wrong(verb)
            ));
        }
        if !name.is_empty() && subresource.is_empty() && ["create", "deletecollection"].contains(&verb) {
            return Err(format!(
                "`{verb} {qualified}` cannot be limited to one name, because its request carries no name that RBAC \
                 can check; leave `{}` out",
                text::wrong(name)
            ));
        }
        let place = match known {
            // The API server checks a request for a Namespace object in that namespace (`requestinfo.go`).
            Some(_) if resource == "namespaces" && !name.is_empty() => Place::Namespace(name.into()),
            Some(known) if known.of_cluster => Place::Cluster,
            _ => Place::Own,
        };
        Ok(Self {
            verb: verb.into(),
            what: What::Resource {
                group: group.into(),
                resource: resource.into(),
                subresource: subresource.into(),
                name: name.into(),
                place,
            },
        })
    }

    fn placed(mut self, namespace: Option<&str>, everywhere: bool) -> Result<Self, String> {
        let shown = self.to_string();
        if let What::Resource { place, .. } = &mut self.what {
            *place = match (&place, namespace) {
                (Place::Own, None) if !everywhere => Place::Own,
                (Place::Own | Place::Cluster, None) => Place::Cluster,
                (Place::Own, Some(namespace)) if is_dns_label(namespace) => {
                    Place::Namespace(namespace.into())
                }
                (Place::Own, Some(namespace)) => {
                    return Err(format!(
                        "`{}` is not the name of a namespace: write lowercase letters, digits and `-`",
                        text::wrong(namespace)
                    ));
                }
                (Place::Cluster | Place::Namespace(_), Some(_)) => {
                    return Err(format!(
                        "`{shown}` belongs to the whole cluster and takes no namespace"
                    ));
                }
                (Place::Namespace(name), None) => Place::Namespace(name.clone()),
            };
        }
        Ok(self)
    }

    /// The spec of the SelfSubjectAccessReview that asks whether the caller has this permission. `own` is the
    /// namespace of the caller.
    pub(crate) fn question(&self, own: &str) -> SelfSubjectAccessReviewSpec {
        let some = |text: &str| Some(text.to_owned());
        let mut question = SelfSubjectAccessReviewSpec::default();
        match &self.what {
            What::Path(path) => {
                question.non_resource_attributes = Some(NonResourceAttributes {
                    verb: some(&self.verb),
                    path: some(path),
                });
            }
            What::Resource {
                group,
                resource,
                subresource,
                name,
                place,
            } => {
                let namespace = match place {
                    Place::Own => own,
                    Place::Namespace(namespace) => namespace,
                    Place::Cluster => "",
                };
                question.resource_attributes = Some(ResourceAttributes {
                    verb: some(&self.verb),
                    group: some(group),
                    resource: some(resource),
                    subresource: some(subresource),
                    name: some(name),
                    namespace: some(namespace),
                    ..ResourceAttributes::default()
                });
            }
        }
        question
    }

    /// Whether the permission is for all verbs, and whether it is for all resources.
    pub(crate) fn wildcards(&self) -> (bool, bool) {
        let all = matches!(&self.what, What::Resource { resource, .. } if resource == "*");
        (self.verb == "*", all)
    }

    /// The permission without its verb, for lists such as `get, list secrets`.
    pub(crate) fn target(&self) -> String {
        let shown = self.to_string();
        shown
            .split_once(' ')
            .map(|(_, target)| target.to_owned())
            .unwrap_or(shown)
    }
}

/// Formats the permission so that `Permission::parse` reads it back.
impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", harmless(&self.verb))?;
        let What::Resource {
            group,
            resource,
            subresource,
            name,
            place,
        } = &self.what
        else {
            let What::Path(path) = &self.what else {
                return Ok(());
            };
            return f.write_str(&harmless(path));
        };
        match (&**resource, &**group) {
            ("*", "*") | (_, "") => f.write_str(resource)?,
            _ => write!(f, "{resource}.{group}")?,
        }
        if !subresource.is_empty() {
            write!(f, "/{subresource}")?;
        }
        if !name.is_empty() {
            write!(f, " {}", harmless(name))?;
        }
        let of_cluster = resources::find(resource, Some(group)).is_some_and(|known| known.of_cluster);
        match place {
            Place::Namespace(namespace) if !of_cluster => write!(f, " -n {namespace}"),
            Place::Cluster if !of_cluster => f.write_str(" -A"),
            _ => Ok(()),
        }
    }
}

/// The words of one permission, and its flags `-n` and `-A`.
struct Line<'a> {
    words: Vec<&'a str>,
    namespace: Option<&'a str>,
    everywhere: bool,
}

impl<'a> Line<'a> {
    fn split(text: &'a str) -> Result<Self, String> {
        let mut line = Self {
            words: Vec::new(),
            namespace: None,
            everywhere: false,
        };
        let mut rest = text.split_whitespace();
        while let Some(word) = rest.next() {
            let value = word.strip_prefix("--namespace=");
            match word {
                "-A" | "--all-namespaces" => line.everywhere = true,
                "-n" | "--namespace" => {
                    let namespace = rest
                        .next()
                        .ok_or_else(|| format!("`{word}` needs the name of a namespace"))?;
                    line.namespace = Some(namespace);
                }
                _ if value.is_some() => line.namespace = value,
                _ if word.starts_with('-') => {
                    return Err(format!(
                        "`{}` is neither `-n NAMESPACE` nor `-A`; write a subresource after a `/`, and the name of an object \
                         after a space",
                        text::wrong(word)
                    ));
                }
                _ => line.words.push(word),
            }
        }
        if line.everywhere && line.namespace.is_some() {
            return Err("`-n` and `-A` are both given; leave one of them out".into());
        }
        Ok(line)
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    #[rstest]
    #[case("get pods", ["get", "", "pods", "", "", "ci"])]
    #[case("create pods/exec target-pod", ["create", "", "pods", "exec", "target-pod", "ci"])]
    #[case("list deployments.apps", ["list", "apps", "deployments", "", "", "ci"])]
    #[case("update deployments.apps/scale web", ["update", "apps", "deployments", "scale", "web", "ci"])]
    #[case("get secrets -n other", ["get", "", "secrets", "", "", "other"])]
    #[case("get pods -A", ["get", "", "pods", "", "", ""])]
    #[case("list nodes", ["list", "", "nodes", "", "", ""])]
    #[case("get namespaces team", ["get", "", "namespaces", "", "team", "team"])]
    #[case("* *", ["*", "*", "*", "", "", "ci"])]
    #[case("* * -A", ["*", "*", "*", "", "", ""])]
    #[case("get *.apps", ["get", "apps", "*", "", "", "ci"])]
    #[case("escalate clusterroles.rbac.authorization.k8s.io", ["escalate", "rbac.authorization.k8s.io", "clusterroles", "", "", ""])]
    #[case("impersonate:serviceaccount serviceaccounts.authentication.k8s.io a", ["impersonate:serviceaccount", "authentication.k8s.io", "serviceaccounts", "", "a", "ci"])]
    #[case("impersonate-on:user-info:list pods", ["impersonate-on:user-info:list", "", "pods", "", "", "ci"])]
    #[case("sync applications.argoproj.io app-1", ["sync", "argoproj.io", "applications", "", "app-1", "ci"])]
    fn what_is_asked(#[case] text: &str, #[case] asked: [&str; 6]) {
        let [verb, group, resource, subresource, name, namespace] = asked;
        let permission = Permission::parse(text).expect(text);
        let asked = json!({ "resourceAttributes": { "verb": verb, "group": group, "resource": resource,
            "subresource": subresource, "name": name, "namespace": namespace } });
        assert_eq!(json!(permission.question("ci")), asked);
        assert_eq!(permission.to_string(), text, "it is shown as it is written");
    }

    #[rstest]
    #[case("list deployments", "list deployments.apps")]
    #[case("  get   secrets --namespace=other ", "get secrets -n other")]
    #[case("get --all-namespaces pods", "get pods -A")]
    #[case("list nodes -A", "list nodes")]
    fn what_kubectl_users_write(#[case] text: &str, #[case] shown: &str) {
        assert_eq!(Permission::parse(text).expect(text).to_string(), shown);
    }

    #[test]
    fn a_path_is_no_resource() {
        let permission = Permission::parse("get /metrics").expect("a permission");
        let asked = json!({ "nonResourceAttributes": { "verb": "get", "path": "/metrics" } });
        assert_eq!(json!(permission.question("ci")), asked);
        assert_eq!(permission.to_string(), "get /metrics");
    }

    /// If jobpass accepted a misspelt permission, a `forbid` with it would always pass.
    #[rstest]
    #[case("pods", "not a verb and a resource")]
    #[case("get pods web more", "too many words")]
    #[case("get pod", "`pod` is not a resource: write `pods`")]
    #[case("get secret -n other", "write `secrets`")]
    #[case("delete deployment.apps", "write `deployments`")]
    #[case("get policy", "not a resource of the core group")]
    #[case("get deploy", "not a resource of the core group")]
    #[case("get Pods", "lowercase")]
    #[case("read secrets", "one of get, list, watch")]
    #[case("GET secrets", "one of get, list, watch")]
    #[case("impersonate: users", "one of get, list, watch")]
    #[case("impersonate-on:user-info pods", "one of get, list, watch")]
    #[case(
        "get secrets/admin",
        "write the name of an object after a space: `get secrets admin`"
    )]
    #[case("update deployments/scale.apps", "write the group before it")]
    #[case("get pods/", "no subresource")]
    #[case(
        "create pods/exec --resource-name=target-pod",
        "the name of an object after a space"
    )]
    #[case("create pods web", "cannot be limited to one name")]
    #[case("get pods -n", "needs the name of a namespace")]
    #[case("get pods -n Other", "`Other` is not the name of a namespace")]
    #[case("get pods -n other -A", "both given")]
    #[case("list nodes -n other", "takes no namespace")]
    #[case("get /metrics -n other", "takes no name and no namespace")]
    #[case("list /metrics", "not a verb for a path")]
    fn what_means_nothing_is_refused(#[case] text: &str, #[case] why: &str) {
        let problem = Permission::parse(text).expect_err(text);
        assert!(problem.contains(why), "{problem}");
    }

    #[test]
    fn a_wrong_line_is_named_by_its_number() {
        let error = parse_all(
            "require",
            "# what the scan needs\nget pods\n\nget pod\n",
            FORMS,
            Ok,
        )
        .expect_err("refused")
        .to_string();
        assert!(
            error
                .starts_with("input `require` is wrong in line 4: `pod` is not a resource: write `pods`\n\n"),
            "{error}"
        );
        assert!(error.contains("create pods/exec target-pod"), "{error}");
        let error = parse_all("forbid", "[\"get pods\", \"get pod\"]", FORMS, Ok)
            .expect_err("refused")
            .to_string();
        assert!(error.contains("input `forbid` is wrong in item 2"), "{error}");
    }

    #[rstest]
    #[case("get pods\nlist pods\n")]
    #[case("- get pods\n- list pods\n")]
    #[case("[\"get pods\",\"list pods\"]")]
    fn lines_or_a_list(#[case] text: &str) {
        let shown = parse_all("require", text, FORMS, Ok)
            .expect(text)
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>();
        assert_eq!(shown, ["get pods", "list pods"]);
    }

    #[test]
    fn a_flag_is_no_item_of_a_list() {
        let read = parse_all("require", "-n ci get pods", FORMS, Ok).expect("a permission");
        assert_eq!(read[0].to_string(), "get pods -n ci");
    }
}
