//! The RoleBindings that bind minters, and the subjects in them.

use k8s_openapi::api::rbac::v1::{RoleBinding, Subject};
use kube::Resource as _;
use serde_json::Value;

use super::{
    Setup,
    object::{Outcome, SetupObject, read},
};
use crate::{
    cluster::{Budget, Cluster},
    error::Error,
    json,
    text::harmless,
};

/// A RoleBinding of a set-up, with the subjects of the existing RoleBinding that it replaces.
pub(super) struct MinterBinding<'a> {
    pub(super) object: &'a SetupObject,
    pub(super) outcome: &'a Outcome,
    /// The subjects of the existing RoleBinding.
    had: Vec<Subject>,
    /// The subjects in the set-up's RoleBinding.
    wanted: Vec<Subject>,
}

impl Setup {
    /// Whether an object is a RoleBinding of this set-up's minters.
    pub(super) fn binds_minters(&self, object: &SetupObject) -> bool {
        self.grants()
            .any(|grant| object.is(RoleBinding::kind(&()).as_ref(), &grant.role()))
    }
}

impl<'a> MinterBinding<'a> {
    /// Reads the subjects of the set-up's RoleBinding, and of `found`, the RoleBinding in the cluster, if
    /// there is one.
    ///
    /// # Errors
    /// If the object in the cluster is not a RoleBinding.
    pub(super) fn new(
        object: &'a SetupObject,
        found: Option<&Value>,
        outcome: &'a Outcome,
    ) -> Result<Self, Error> {
        Ok(Self {
            object,
            outcome,
            had: found.map_or(Ok(Vec::new()), subjects)?,
            wanted: subjects(object.manifest())?,
        })
    }

    /// The subjects that both the set-up's RoleBinding and the one in the cluster have.
    pub(super) fn staying(&self) -> Vec<Subject> {
        let had = |subject: &&Subject| self.had.iter().any(|had| is_same(had, subject));
        self.wanted.iter().filter(had).cloned().collect()
    }

    /// Whether the set-up removes a subject.
    pub(super) fn removes_some(&self) -> bool {
        self.staying().len() < self.had.len()
    }

    /// Writes the RoleBinding with these subjects.
    pub(super) async fn bind(
        &self,
        subjects: &[Subject],
        cluster: &Cluster,
        budget: &Budget,
    ) -> Result<(), Error> {
        let mut manifest = self.object.manifest().clone();
        manifest["subjects"] = json::value(&subjects)?;
        self.object.with(manifest).apply(cluster, budget).await?;
        Ok(())
    }
}

/// The subjects of a RoleBinding.
///
/// # Errors
/// If the object is not a RoleBinding.
pub(super) fn subjects(binding: &Value) -> Result<Vec<Subject>, Error> {
    Ok(read::<RoleBinding>(binding)?.subjects.unwrap_or_default())
}

/// Whether two subjects are the same user, group or ServiceAccount.
pub(super) fn is_same(one: &Subject, other: &Subject) -> bool {
    (&one.kind, &one.name, &one.namespace) == (&other.kind, &other.name, &other.namespace)
}

/// A subject in the form of the option `--minter`: `serviceaccount:ci/minter`.
pub(super) fn in_option(subject: &Subject) -> String {
    let name = harmless(&subject.name);
    match &*subject.kind {
        "ServiceAccount" => {
            let namespace = subject.namespace.as_deref().unwrap_or_default();
            format!("serviceaccount:{}/{name}", harmless(namespace))
        }
        kind => format!("{}:{name}", harmless(&kind.to_lowercase())),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;
    use crate::inputs::setup::Wanted;

    fn user(name: &str) -> Value {
        json!({ "kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": name })
    }

    /// Each case has a RoleBinding in the cluster with the subjects `had`. The set-up that replaces it names
    /// the minters `a` and `b`.
    #[rstest]
    #[case::none(&[], &[], false)]
    #[case::one_is_new(&["a"], &["a"], false)]
    #[case::one_goes(&["a", "c"], &["a"], true)]
    #[case::all_stay(&["b", "a"], &["a", "b"], false)]
    #[case::all_go(&["c"], &[], true)]
    fn only_minters_that_are_named_stay(
        #[case] had: &[&str],
        #[case] staying: &[&str],
        #[case] removes_some: bool,
    ) {
        let wanted = Wanted {
            service_account: "scanner".into(),
            namespace: "ci".into(),
            duration: "1h".into(),
            minters: vec!["user:a".into(), "user:b".into()],
            ..Wanted::default()
        };
        let setup = Setup::parse(&wanted).expect("parsed");
        let objects = setup.objects().expect("YAML");
        let object = objects
            .iter()
            .find(|object| setup.binds_minters(object))
            .expect("a RoleBinding");
        let mut found = object.manifest().clone();
        found["subjects"] = had.iter().map(|name| user(name)).collect();
        let outcome = object.outcome(Some(&found));
        let binding = MinterBinding::new(object, Some(&found), &outcome).expect("a RoleBinding");
        let names = binding.staying().into_iter().map(|subject| subject.name);
        assert_eq!(names.collect::<Vec<_>>(), staying);
        assert_eq!(binding.removes_some(), removes_some);
    }

    #[rstest]
    #[case(user("jane\u{1b}[2J"), "user:jane [2J")]
    #[case(json!({"kind": "Group", "name": "ci"}), "group:ci")]
    #[case(json!({"kind": "ServiceAccount", "namespace": "ci", "name": "minter"}), "serviceaccount:ci/minter")]
    fn a_subject_is_named_as_its_option(#[case] subject: Value, #[case] option: &str) {
        let subject = serde_json::from_value(subject).expect("a subject");
        assert_eq!(in_option(&subject), option);
    }

    #[test]
    fn an_account_of_another_namespace_is_another_subject() {
        let account = |namespace: Option<&str>| Subject {
            kind: "ServiceAccount".into(),
            name: "minter".into(),
            namespace: namespace.map(str::to_owned),
            api_group: None,
        };
        assert!(is_same(&account(Some("ci")), &account(Some("ci"))));
        assert!(!is_same(&account(Some("ci")), &account(Some("runners"))));
    }
}
