//! The needs of some runs as text to paste, and as JSON.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::{in_use::Difference, least::Least, least::place_of, needs::Needs};
use crate::{
    inputs::options::Opt,
    rbac::{self, Line, Permission, Place, Request, Rule, What, rules_yaml},
    text::harmless,
};

/// The needs of some runs, compared with the rules in use.
pub struct Report<'a> {
    needs: &'a Needs,
    least: Least,
    /// The namespace of the ServiceAccount.
    own: Option<&'a str>,
    difference: Option<Difference>,
}

impl<'a> Report<'a> {
    /// The report about these needs. `own` is the namespace of the ServiceAccount.
    pub fn of(needs: &'a Needs, own: Option<&'a str>, difference: Option<Difference>) -> Self {
        Self {
            needs,
            least: Least::of(&needs.allowed),
            own,
            difference,
        }
    }

    /// YAML documents, one for each namespace and one for the whole cluster, with comments.
    pub fn yaml(&self) -> String {
        let Needs { requests, files, .. } = self.needs;
        let count = |n: u64, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
        let (requests, files) = (count(*requests, "request"), count(*files, "file"));
        let mut text = format!("# The least rules for {requests} in {files}.\n");
        let documents = self.documents();
        if documents.is_empty() {
            text.push_str("# There is nothing to write into a rule.\n");
        }
        text.push_str(&documents.join("---\n"));
        self.remarks(&mut text);
        text.trim_end().to_owned()
    }

    fn documents(&self) -> Vec<String> {
        let is_alone = self.least.places.len() == 1 && self.least.cluster.is_empty();
        let places = self.least.places.iter().map(|(namespace, rules)| {
            let (use_of, key) = match rbac::parse(Opt::RoleRules.name(), &yaml(rules)) {
                // A job with the input `role-rules` gets permissions only in its own namespace.
                _ if self.own.is_some_and(|own| own != namespace) => ("for a Role".to_owned(), "rules:"),
                Ok(_) => (
                    "for the input `role-rules`, or for a Role".to_owned(),
                    "role-rules: |",
                ),
                Err(error) => {
                    let why = error.message().trim_start_matches("input `role-rules` ");
                    let use_of = format!("for a Role. The input `role-rules` refuses this, because it {why}");
                    (use_of, "rules:")
                }
            };
            let name = if is_alone && self.own == Some(namespace) {
                String::new()
            } else {
                format!("namespace: {namespace}\n")
            };
            let head = format!("# Namespace {namespace}: {use_of}.\n{name}{key}");
            self.document(&head, rules, namespace)
        });
        let cluster = (!self.least.cluster.is_empty()).then(|| {
            let head = "# The whole cluster, which no Role reaches: for a ClusterRole and a ClusterRoleBinding.\n\
                        kind: ClusterRole\nrules:";
            self.document(head, &self.least.cluster, "")
        });
        places.chain(cluster).collect()
    }

    fn document(&self, head: &str, rules: &[Rule], place: &str) -> String {
        let mut text = format!("{head}\n{}\n", indented(&yaml(rules)));
        let (written, unwritten) = self.require(place);
        if !written.is_empty() {
            let _ = writeln!(text, "require: |\n{}", indented(&written.join("\n")));
        }
        if !unwritten.is_empty() {
            let _ = writeln!(text, "# `require` does not accept:\n{}", commented(&unwritten));
        }
        text
    }

    /// The permissions of a place: those that the input `require` accepts, and the others.
    fn require(&self, place: &str) -> (Vec<String>, Vec<String>) {
        let rights = self.granted(place);
        let shown = rights.iter().map(|right| permission(right, self.own).to_string());
        shown.partition(|text| Permission::parse(text).is_ok_and(|parsed| parsed.to_string() == *text))
    }

    /// The rights that the least rules of a place grant. `place` is a namespace, or empty for the whole
    /// cluster. The rights may be fewer than the needs: a right to all objects replaces the rights to single
    /// objects.
    fn granted(&self, place: &str) -> Vec<Request> {
        let rules = match place {
            "" => Some(&self.least.cluster),
            place => self.least.places.get(place),
        };
        let mut rights = Vec::new();
        for rule in rules.into_iter().flatten() {
            let names = if rule.resource_names.is_empty() {
                vec![String::new()]
            } else {
                rule.resource_names.clone()
            };
            for verb in &rule.verbs {
                rights.extend(rule.non_resource_urls.iter().map(|path| Request {
                    verb: verb.clone(),
                    path: path.clone(),
                    ..Request::default()
                }));
                for resource in &rule.resources {
                    let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
                    rights.extend(names.iter().map(|name| Request {
                        verb: verb.clone(),
                        group: rule.api_groups.concat(),
                        resource: resource.to_owned(),
                        subresource: subresource.to_owned(),
                        namespace: place.to_owned(),
                        name: name.clone(),
                        path: String::new(),
                    }));
                }
            }
        }
        let key = |right: &Request| {
            let Request {
                verb,
                group,
                resource,
                subresource,
                name,
                path,
                ..
            } = right.clone();
            (path, group, resource, subresource, place_of(&verb), name)
        };
        rights.sort_by_key(key);
        rights
    }

    /// The rights in `rights` that the least rules do not grant.
    fn beyond<'b>(&self, rights: impl IntoIterator<Item = &'b Request>) -> Vec<String> {
        let allowed = &self.needs.allowed;
        let covers = |right: &Request| {
            let all = |name: &str, namespace: &str| Request {
                name: name.to_owned(),
                namespace: namespace.to_owned(),
                ..right.clone()
            };
            let candidates = [
                right.clone(),
                all("", &right.namespace),
                all(&right.name, ""),
                all("", ""),
            ];
            candidates.iter().any(|candidate| allowed.contains(candidate))
        };
        let beyond = rights.into_iter().filter(|right| !covers(right));
        beyond
            .map(|right| harmless(&permission(right, self.own).to_string()))
            .collect()
    }

    fn remarks(&self, text: &mut String) {
        let mut section = |title: &str, lines: &[String]| {
            if !lines.is_empty() {
                let _ = writeln!(text, "\n# {title}\n{}", commented(lines));
            }
        };
        if let Some(Difference { unused, missing }) = &self.difference {
            section("Unused: the rules in use allow this, and no run did it:", unused);
            section(
                "Missing: the runs did this, and none of the rules in use allows it:",
                missing,
            );
        }
        section(
            "Denied (403). If a run needs this, add it to the rules:",
            &self.beyond(&self.needs.denied),
        );
        section(
            "Not in the rules, because no answer tells whether it is allowed:",
            &self.beyond(&self.needs.unknown),
        );
        let unnamed = self
            .needs
            .unnamed
            .iter()
            .map(|right| harmless(&permission(right, self.own).to_string()));
        section(
            "Not in the rules, because a rule with this name could allow more:",
            &unnamed.collect::<Vec<_>>(),
        );
        if self.needs.has_hidden_checks {
            text.push_str(
                "\n# The runs changed Roles, bindings or certificates. For these, kube-apiserver also checks \
                 rights that no\n# request names: each right that a Role grants (or instead `escalate` or \
                 `bind`), and `approve` or `sign`\n# for a signer.\n",
            );
        }
    }

    /// The report as one JSON value.
    pub fn json(&self) -> Value {
        let permissions = |place: &str| {
            let rights = self.granted(place);
            rights
                .iter()
                .map(|right| permission(right, self.own).to_string())
                .collect::<Vec<_>>()
        };
        let places = self.least.places.iter().map(|(namespace, rules)| {
            json!({"namespace": namespace, "rules": rules, "permissions": permissions(namespace)})
        });
        let difference = self.difference.as_ref();
        json!({
            "files": self.needs.files,
            "requests": self.needs.requests,
            "requests-of-everybody": self.needs.of_everybody,
            "namespaces": places.collect::<Vec<_>>(),
            "cluster": {"rules": self.least.cluster, "permissions": permissions("")},
            "denied": self.beyond(&self.needs.denied),
            "unanswered": self.beyond(&self.needs.unknown),
            "unused": difference.map(|difference| &difference.unused),
            "missing": difference.map(|difference| &difference.missing),
        })
    }

    /// Whether the report has no rule.
    pub fn is_empty(&self) -> bool {
        self.least.is_empty()
    }

    /// The number of rights in [`Difference::unused`]. Zero without a comparison.
    pub fn unused(&self) -> usize {
        self.difference
            .as_ref()
            .map_or(0, |difference| difference.unused.len())
    }
}

/// Writes a right as a permission. A permission in the namespace `own` names no namespace.
pub(super) fn permission(right: &Request, own: Option<&str>) -> Permission {
    let place = match &*right.namespace {
        "" => Place::Cluster,
        namespace if Some(namespace) == own => Place::Own,
        namespace => Place::Namespace(namespace.to_owned()),
    };
    let what = match &*right.path {
        "" => What::Resource {
            group: right.group.clone(),
            resource: right.resource.clone(),
            subresource: right.subresource.clone(),
            name: right.name.clone(),
            place,
        },
        path => What::Path(path.to_owned()),
    };
    Permission {
        verb: right.verb.clone(),
        what,
    }
}

fn yaml(rules: &[Rule]) -> String {
    let lines = rules.iter().map(|rule| Line {
        rule: rule.clone(),
        missing: false,
    });
    rules_yaml(&lines.collect::<Vec<_>>())
}

fn commented(lines: &[String]) -> String {
    let lines = lines.iter().map(|line| format!("#   {line}"));
    lines.collect::<Vec<_>>().join("\n")
}

fn indented(text: &str) -> String {
    let lines = text.lines().map(|line| format!("  {line}"));
    lines.collect::<Vec<_>>().join("\n")
}
