//! The least rules that grant some rights.

use std::collections::{BTreeMap, BTreeSet};

use crate::rbac::{Request, Rule, VERBS};

/// The least rules for some rights: for each namespace, and for the whole cluster.
#[derive(Debug, Default)]
pub(super) struct Least {
    pub(super) places: BTreeMap<String, Vec<Rule>>,
    /// The rules of a ClusterRole with a ClusterRoleBinding.
    pub(super) cluster: Vec<Rule>,
}

/// An API group, a resource and a verb, as a rule names them.
type Deed = (String, String, String);

/// The names of the objects for which the runs need a [`Deed`]. `None` for all objects.
type Names = Option<BTreeSet<String>>;

impl Least {
    /// The least rules that grant all of `rights`, and no other right.
    pub(super) fn of<'a>(rights: impl IntoIterator<Item = &'a Request>) -> Self {
        let mut places = BTreeMap::<&str, BTreeMap<Deed, Names>>::new();
        let mut paths = BTreeMap::<&str, BTreeSet<&str>>::new();
        for right in rights {
            if !right.path.is_empty() {
                paths.entry(&right.path).or_default().insert(&right.verb);
                continue;
            }
            let names = places.entry(&right.namespace).or_default().entry(deed(right));
            let names = names.or_insert_with(|| Some(BTreeSet::new()));
            match (right.name.is_empty(), names) {
                (true, names) => *names = None,
                (false, Some(names)) => drop(names.insert(right.name.clone())),
                (false, None) => {}
            }
        }
        // A right in the whole cluster is a right in each namespace.
        let cluster = places.remove("").unwrap_or_default();
        for deeds in places.values_mut() {
            deeds.retain(|deed, names| match (cluster.get(deed), names) {
                (None, _) => true,
                (Some(None), _) => false,
                (Some(Some(_)), None) => true,
                (Some(Some(everywhere)), Some(names)) => {
                    names.retain(|name| !everywhere.contains(name));
                    !names.is_empty()
                }
            });
        }
        places.retain(|_, deeds| !deeds.is_empty());
        let places = places.into_iter();
        let mut cluster = rules(cluster);
        cluster.extend(path_rules(paths));
        Self {
            places: places
                .map(|(place, deeds)| (place.to_owned(), rules(deeds)))
                .collect(),
            cluster,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.places.is_empty() && self.cluster.is_empty()
    }
}

fn deed(right: &Request) -> Deed {
    let resource = match &*right.subresource {
        "" => right.resource.clone(),
        subresource => format!("{}/{subresource}", right.resource),
    };
    (right.group.clone(), resource, right.verb.clone())
}

/// The rules for these deeds. A rule grants each of its verbs for each of its resources and names. So verbs
/// share a rule only if they need the same names, and resources only if they need the same verbs and names.
fn rules(deeds: BTreeMap<Deed, Names>) -> Vec<Rule> {
    let mut verbs = BTreeMap::<(String, String, Names), Vec<String>>::new();
    for ((group, resource, verb), names) in deeds {
        verbs.entry((group, resource, names)).or_default().push(verb);
    }
    let mut resources = BTreeMap::<(String, Names, Vec<String>), Vec<String>>::new();
    for ((group, resource, names), mut verbs) in verbs {
        verbs.sort_by_key(|verb| place_of(verb));
        resources.entry((group, names, verbs)).or_default().push(resource);
    }
    let rule = |((group, names, verbs), resources): ((_, Names, _), _)| Rule {
        api_groups: vec![group],
        resources,
        resource_names: names.into_iter().flatten().collect(),
        non_resource_urls: Vec::new(),
        verbs,
    };
    let mut rules = resources.into_iter().map(rule).collect::<Vec<_>>();
    rules.sort_by(|a, b| {
        let key = |rule: &Rule| {
            (
                rule.api_groups.clone(),
                rule.resources.clone(),
                rule.resource_names.clone(),
            )
        };
        key(a).cmp(&key(b))
    });
    rules
}

fn path_rules(paths: BTreeMap<&str, BTreeSet<&str>>) -> Vec<Rule> {
    let mut merged = BTreeMap::<BTreeSet<&str>, Vec<String>>::new();
    for (path, verbs) in paths {
        merged.entry(verbs).or_default().push(path.to_owned());
    }
    let rule = |(verbs, paths): (BTreeSet<&str>, Vec<String>)| Rule {
        non_resource_urls: paths,
        verbs: verbs.into_iter().map(str::to_owned).collect(),
        ..Rule::default()
    };
    merged.into_iter().map(rule).collect()
}

/// The sort key of a verb in a rule: first the verbs in the order of [`VERBS`], then all others by name.
pub(super) fn place_of(verb: &str) -> (usize, String) {
    let known = VERBS.iter().position(|known| *known == verb);
    (known.unwrap_or(VERBS.len()), verb.to_owned())
}
