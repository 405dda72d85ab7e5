//! The objects of a set-up: their comparison with the cluster, and their application.

use kube::api::{GetParams, ListParams, PostParams, Request};
use serde::Deserialize as _;
use serde_json::{Value, json};

use super::{Setup, difference, manifests::RBAC};
use crate::{
    cluster::{Answer, Budget, Call, Cluster},
    error::{Error, Kind},
    json,
};

/// The kinds of objects that a set-up consists of, and their names in URLs.
const KINDS: [(&str, &str); 7] = [
    ("Namespace", "namespaces"),
    ("ServiceAccount", "serviceaccounts"),
    ("Role", "roles"),
    ("RoleBinding", "rolebindings"),
    ("ValidatingAdmissionPolicy", "validatingadmissionpolicies"),
    (
        "ValidatingAdmissionPolicyBinding",
        "validatingadmissionpolicybindings",
    ),
    ("CronJob", "cronjobs"),
];
/// The number of attempts to write an object that somebody else keeps changing.
const ATTEMPTS: usize = 3;

/// One object of a set-up.
pub struct SetupObject {
    wanted: Value,
    collection: String,
}

/// The state of an object in the cluster, before it is applied.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// The object is as the set-up has it.
    Same,
    /// These fields of the object differ.
    Differs(Vec<String>),
    /// The object does not exist.
    Missing,
}

impl Setup {
    /// The objects of [`Setup::manifests`], in its order.
    ///
    /// # Errors
    /// If the manifests cannot be parsed, which is a defect.
    pub fn objects(&self) -> Result<Vec<SetupObject>, Error> {
        let manifests = self.manifests();
        let documents = serde_yaml::Deserializer::from_str(&manifests);
        documents
            .map(|document| {
                Value::deserialize(document)
                    .ok()
                    .and_then(SetupObject::new)
                    .ok_or_else(unreadable)
            })
            .collect()
    }
}

fn unreadable() -> Error {
    Error::new(
        Kind::Internal,
        "the manifests that `setup` prints cannot be parsed",
    )
}

impl SetupObject {
    fn new(wanted: Value) -> Option<Self> {
        let (_, plural) = KINDS.iter().find(|(kind, _)| wanted["kind"] == *kind)?;
        let version = wanted["apiVersion"].as_str()?;
        let root = if version.contains('/') { "/apis" } else { "/api" };
        let namespace = wanted["metadata"]["namespace"]
            .as_str()
            .map_or_else(String::new, |namespace| format!("/namespaces/{namespace}"));
        let collection = format!("{root}/{version}{namespace}/{plural}");
        wanted["metadata"]["name"].as_str()?;
        Some(Self { wanted, collection })
    }

    /// The RoleBindings of a namespace.
    ///
    /// # Errors
    /// If the API server does not return the object.
    pub(super) async fn bindings(
        namespace: &str,
        cluster: &Cluster,
        budget: &Budget,
    ) -> Result<Vec<Value>, Error> {
        let all = Self {
            wanted: json!({ "kind": "RoleBinding", "metadata": { "namespace": namespace, "name": "*" } }),
            collection: format!("/apis/{RBAC}/v1/namespaces/{namespace}/rolebindings"),
        };
        let request = Request::new(&*all.collection).list(&ListParams::default());
        let call = Call::new("look at an object", request)?;
        let answer = cluster.send(&call, budget).await?;
        if answer.status != 200 {
            return Err(all.refused(cluster, &call, &answer));
        }
        let list = answer.parse::<Value>(&call)?;
        Ok(list["items"].as_array().cloned().unwrap_or_default())
    }

    /// The object, as the set-up has it.
    pub fn manifest(&self) -> &Value {
        &self.wanted
    }

    /// The object's kind and name, as in `Role ci/jobpass-minter`.
    pub fn title(&self) -> String {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let metadata = &self.wanted["metadata"];
        let namespace = metadata["namespace"]
            .as_str()
            .map_or_else(String::new, |namespace| format!("{namespace}/"));
        format!(
            "{} {namespace}{}",
            text(&self.wanted["kind"]),
            text(&metadata["name"])
        )
    }

    /// The object as an argument of kubectl: `role jobpass-minter --namespace ci`.
    fn for_kubectl(&self) -> String {
        let title = self.title().to_lowercase();
        let (kind, name) = title.split_once(' ').unwrap_or_default();
        match name.split_once('/') {
            Some((namespace, name)) => format!("{kind} {name} --namespace {namespace}"),
            None => format!("{kind} {name}"),
        }
    }

    /// The same object with another manifest.
    pub(super) fn with(&self, wanted: Value) -> Self {
        Self {
            wanted,
            collection: self.collection.clone(),
        }
    }

    /// Compares the object with the cluster.
    ///
    /// # Errors
    /// If the API server does not return the object.
    pub async fn compare(&self, cluster: &Cluster, budget: &Budget) -> Result<Outcome, Error> {
        self.found(cluster, budget)
            .await
            .map(|found| self.outcome(found.as_ref()))
    }

    /// Writes the object if it differs, and returns what was there before. Metadata that others have added
    /// stays.
    ///
    /// # Errors
    /// If the API server refuses.
    pub(super) async fn apply(&self, cluster: &Cluster, budget: &Budget) -> Result<Outcome, Error> {
        for _ in 0..ATTEMPTS {
            let found = self.found(cluster, budget).await?;
            let outcome = self.outcome(found.as_ref());
            let call = match (&outcome, found) {
                (Outcome::Same, _) => return Ok(outcome),
                (_, None) => {
                    let object = json::text(&self.wanted)?.into_bytes();
                    let request = self.objects().create(&PostParams::default(), object);
                    Call::new("create an object", request)?
                }
                // Whole fields are replaced, so that nothing else stays in them. The resourceVersion in the
                // metadata makes the API server refuse to overwrite a change that somebody else made in
                // between.
                (_, Some(mut object)) => {
                    for (field, value) in self.wanted.as_object().into_iter().flatten() {
                        if field != "metadata" {
                            object[field] = value.clone();
                        }
                    }
                    let object = json::text(&object)?.into_bytes();
                    let request = self
                        .objects()
                        .replace(self.name(), &PostParams::default(), object);
                    Call::new("change an object", request)?
                }
            };
            let answer = cluster.send(&call, budget).await?;
            match answer.status {
                200 | 201 => return Ok(outcome),
                409 if answer.denial().is_none() => {}
                _ => return Err(self.refused(cluster, &call, &answer)),
            }
        }
        Err(Error::new(
            Kind::Refused,
            format!("cannot apply {}: somebody else keeps changing it", self.title()),
        )
        .help("find out who changes it, and run the command again"))
    }

    pub(super) fn outcome(&self, found: Option<&Value>) -> Outcome {
        match found {
            None => Outcome::Missing,
            Some(found) => match difference::fields(&self.wanted, found) {
                fields if fields.is_empty() => Outcome::Same,
                fields => Outcome::Differs(fields),
            },
        }
    }

    pub(super) async fn found(&self, cluster: &Cluster, budget: &Budget) -> Result<Option<Value>, Error> {
        let request = self.objects().get(self.name(), &GetParams::default());
        let call = Call::new("look at an object", request)?;
        let answer = cluster.send(&call, budget).await?;
        match answer.status {
            200 => answer.parse(&call).map(Some),
            404 if answer.is_not_found() => Ok(None),
            _ => Err(self.refused(cluster, &call, &answer)),
        }
    }

    fn objects(&self) -> Request {
        Request::new(&*self.collection)
    }

    fn name(&self) -> &str {
        self.wanted["metadata"]["name"].as_str().unwrap_or_default()
    }

    fn refused(&self, cluster: &Cluster, call: &Call, answer: &Answer) -> Error {
        let verb = call.doing.trim_end_matches(" an object");
        let what = format!(
            "cannot {verb} {}: the API server answered {} {}",
            self.title(),
            answer.status,
            answer.message()
        );
        let error = Error::new(Kind::Refused, what.trim_end());
        if let Some(denial) = answer.denial() {
            return error.help(format!(
                "no permission is missing: {} refused it, and the message above says why. What was applied before it stays",
                denial.in_words()
            ));
        }
        match answer.status {
            401 => error.help(cluster.unauthorized()),
            403 => error.help(
                "an administrator of the cluster must do this: name their kubeconfig with `--kubeconfig`, or give them the output of \
                 the command without `--apply` and `--diff`",
            ),
            404 => error.help(
                "this API server does not know such objects: ValidatingAdmissionPolicy needs Kubernetes 1.30 or later. On an \
                 older one, apply the output of the command with kubectl, without the policies",
            ),
            422 if *call.method() == http::Method::PUT => error.help(format!(
                "Kubernetes does not allow this change: look at the object, delete it (`kubectl delete {}`), and run the command \
                 again",
                self.for_kubectl()
            )),
            _ => error.help("the message above says why. What was applied before it stays"),
        }
    }
}
