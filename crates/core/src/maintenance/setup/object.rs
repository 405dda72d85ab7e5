//! The objects of a set-up: jobpass compares them with the cluster, and applies them.

use k8s_openapi::{
    api::{
        admissionregistration::v1::{ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding},
        batch::v1::CronJob,
        core::v1::{Namespace, ServiceAccount},
        rbac::v1::{Role, RoleBinding},
    },
    apimachinery::pkg::apis::meta::v1::ListMeta,
};
use kube::{
    Resource,
    core::{
        Request,
        params::{GetParams, ListParams, PostParams},
    },
};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

use super::{Setup, difference};
use crate::{
    cluster::{Answer, Budget, Call, Cluster, Denial, UNANSWERED},
    error::{Error, Kind},
    json,
    names::MANAGED_BY,
};

/// The number of attempts to write an object that somebody else keeps changing.
const ATTEMPTS: usize = 3;

/// The number of objects on one page of a list.
const PAGE: u32 = 200;

/// One object of a set-up.
pub struct SetupObject {
    wanted: Value,
    collection: String,
}

/// The difference between an object of the set-up and the cluster, before `setup` writes the object.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// The object is the same as in the set-up.
    Same,
    /// These fields of the object differ.
    Differs(Vec<String>),
    /// The object does not exist.
    Missing,
}

impl Setup {
    /// The objects of [`Setup::manifests`], in the same order.
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
    Error::defect("the manifests that `setup` prints cannot be parsed")
}

impl SetupObject {
    pub(super) fn new(wanted: Value) -> Option<Self> {
        let collection = collection(wanted["kind"].as_str()?, wanted["metadata"]["namespace"].as_str())?;
        wanted["metadata"]["name"].as_str()?;
        Some(Self { wanted, collection })
    }

    /// Whether this object has this kind and name.
    pub(super) fn is(&self, kind: &str, name: &str) -> bool {
        self.wanted["kind"] == kind && self.name() == name
    }

    /// The object, as the set-up defines it.
    pub fn manifest(&self) -> &Value {
        &self.wanted
    }

    /// The object's kind, namespace and name, such as `Role ci/jobpass-minter-scanner`.
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

    /// This object with another manifest.
    pub(super) fn with(&self, wanted: Value) -> Self {
        Self {
            wanted,
            collection: self.collection.clone(),
        }
    }

    /// Compares the object with the cluster.
    ///
    /// # Errors
    /// If the API server does not answer, or refuses the request.
    pub async fn compare(&self, cluster: &Cluster, budget: &Budget) -> Result<Outcome, Error> {
        self.found(cluster, budget)
            .await
            .map(|found| self.outcome(found.as_ref()))
    }

    /// Writes the object if it is missing or differs, and returns its earlier state. Keeps the metadata of an
    /// existing object.
    ///
    /// # Errors
    /// If the API server does not answer, or refuses a request. Also if somebody else keeps changing the
    /// object.
    pub(super) async fn apply(&self, cluster: &Cluster, budget: &Budget) -> Result<Outcome, Error> {
        for _ in 0..ATTEMPTS {
            let found = self.found(cluster, budget).await?;
            let outcome = self.outcome(found.as_ref());
            let call = match (&outcome, found) {
                (Outcome::Same, _) => return Ok(outcome),
                (_, None) => {
                    let mut object = self.wanted.clone();
                    // By this label, `--delete` recognises the objects that setup made.
                    object["metadata"]["labels"] = serde_json::json!({ MANAGED_BY: "jobpass" });
                    let object = json::text(&object)?.into_bytes();
                    let request = self.objects().create(&PostParams::default(), object);
                    Call::new("create an object", request)?
                }
                // This replaces whole fields, so that no other values stay in them. The resourceVersion in
                // the metadata makes the API server refuse to overwrite a change that somebody else made in
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
                _ => return Err(refused(&self.title(), cluster, &call, &answer)),
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
            _ => Err(refused(&self.title(), cluster, &call, &answer)),
        }
    }

    pub(super) fn objects(&self) -> Request {
        Request::new(&*self.collection)
    }

    pub(super) fn name(&self) -> &str {
        self.wanted["metadata"]["name"].as_str().unwrap_or_default()
    }
}

/// The error for a refused request about the object with this title.
pub(super) fn refused(title: &str, cluster: &Cluster, call: &Call, answer: &Answer) -> Error {
    let verb = call.doing.trim_end_matches(" an object");
    let what = format!("cannot {verb} {title}: {}", answer.in_words());
    let error = Error::new(Kind::Refused, what);
    if let Some(denial) = answer.denial() {
        return error.help(match denial {
            Denial::Unanswered(_) => {
                format!("{UNANSWERED}. The objects that jobpass applied earlier stay")
            }
            _ => format!(
                "no permission is missing: {} refused this object, and the message above says why. The objects \
                 that jobpass applied earlier stay. Correct the cause, and run the command again",
                denial.in_words()
            ),
        });
    }
    match answer.status {
        401 => error.help(cluster.unauthorized_to_administer()),
        403 => error.help(
            "an administrator of the cluster must run this command, with their kubeconfig (`--kubeconfig`). \
             To apply the set-up by hand, they can run it without `--apply`, and apply the manifests that it \
             prints",
        ),
        404 if title.starts_with("ValidatingAdmissionPolicy") && !answer.is_not_found() => error.help(
            "this API server does not know ValidatingAdmissionPolicy v1, which needs Kubernetes 1.30 or \
             later. Upgrade the cluster. Without the policies, the minter could get unbound tokens and delete \
             every Secret of the namespace",
        ),
        // The advice to delete the object is only for a RoleBinding, whose `roleRef` cannot change. After the
        // deletion of a policy, a minter could do more.
        422 if *call.method() == http::Method::PUT && title.starts_with("RoleBinding ") => error.help(format!(
            "Kubernetes does not allow this change: look at the object, delete it (`kubectl delete {}`), and \
             run the command again",
            for_kubectl(title)
        )),
        _ => error.help(
            "the message above says why. The objects that jobpass applied earlier stay. Correct the cause, and \
             run the command again",
        ),
    }
}

/// A page of a list of objects.
#[derive(Deserialize)]
#[serde(bound = "T: DeserializeOwned")]
struct Page<T> {
    metadata: ListMeta,
    #[serde(default = "Vec::new")]
    items: Vec<T>,
}

/// All objects of the kind `K` in the cluster, read as `T`.
///
/// # Errors
/// If the API server does not list them.
pub(super) async fn all<K, T>(cluster: &Cluster, budget: &Budget) -> Result<Vec<T>, Error>
where
    K: Resource<DynamicType = ()>,
    T: DeserializeOwned,
{
    let mut all = Vec::new();
    let mut params = ListParams::default().limit(PAGE);
    loop {
        let call = Call::list::<K>("look at an object", None, &params)?;
        let answer = cluster.send(&call, budget).await?;
        if answer.status != 200 {
            return Err(refused(&format!("{} *", K::kind(&())), cluster, &call, &answer));
        }
        let page = answer.parse::<Page<T>>(&call)?;
        all.extend(page.items);
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => params = params.continue_token(&token),
            None => return Ok(all),
        }
    }
}

/// The arguments of kubectl for the object with this title, such as `role jobpass-minter --namespace ci`.
pub(super) fn for_kubectl(title: &str) -> String {
    let title = title.to_lowercase();
    let (kind, name) = title.split_once(' ').unwrap_or_default();
    match name.split_once('/') {
        Some((namespace, name)) => format!("{kind} {name} --namespace {namespace}"),
        None => format!("{kind} {name}"),
    }
}

/// The path of a kind's objects. `None` if `setup` does not write that kind.
fn collection(kind: &str, namespace: Option<&str>) -> Option<String> {
    let path = match kind {
        "Namespace" => Namespace::url_path,
        "ServiceAccount" => ServiceAccount::url_path,
        "Role" => Role::url_path,
        "RoleBinding" => RoleBinding::url_path,
        "ValidatingAdmissionPolicy" => ValidatingAdmissionPolicy::url_path,
        "ValidatingAdmissionPolicyBinding" => ValidatingAdmissionPolicyBinding::url_path,
        "CronJob" => CronJob::url_path,
        _ => return None,
    };
    Some(path(&(), namespace))
}

/// Reads an object as Kubernetes' own type.
///
/// # Errors
/// If the object has another kind, or a field has another type.
pub(super) fn read<K: DeserializeOwned>(object: &Value) -> Result<K, Error> {
    K::deserialize(object).map_err(|_| {
        let what = "cannot read an object: the answer does not come from a Kubernetes API server";
        Error::new(Kind::Unreachable, what)
            .help("check the server's URL, and the proxies in front of the server: another program answered")
    })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde::Serialize;

    use super::*;
    use crate::inputs::setup::Wanted;

    fn everything() -> Vec<SetupObject> {
        let wanted = Wanted {
            service_account: "scanner".into(),
            rules: "get pods\ncreate pods/exec target-pod".into(),
            namespace: "ci".into(),
            duration: "1h".into(),
            audiences: "vault".into(),
            minters: vec![
                "user:jane".into(),
                "group:ci".into(),
                "serviceaccount:minter".into(),
            ],
            sweeper_image: Some("registry.example.com/jobpass:0.1.0".into()),
            example_rights: true,
            ..Wanted::default()
        };
        Setup::parse(&wanted).expect("parsed").objects().expect("YAML")
    }

    /// Kubernetes' own types and the API server ignore a misspelt field. Without this test, nobody would
    /// notice that the field has no effect.
    #[test]
    fn every_field_is_one_of_kubernetes() {
        fn dropped<K: DeserializeOwned + Serialize>(manifest: &Value) -> Vec<String> {
            let read = read::<K>(manifest).expect("an object of this kind");
            difference::fields(manifest, &json::value(&read).expect("JSON"))
        }
        for object in everything() {
            let manifest = object.manifest();
            let dropped = match manifest["kind"].as_str().expect("a kind") {
                "Namespace" => dropped::<Namespace>(manifest),
                "ServiceAccount" => dropped::<ServiceAccount>(manifest),
                "Role" => dropped::<Role>(manifest),
                "RoleBinding" => dropped::<RoleBinding>(manifest),
                "ValidatingAdmissionPolicy" => dropped::<ValidatingAdmissionPolicy>(manifest),
                "ValidatingAdmissionPolicyBinding" => dropped::<ValidatingAdmissionPolicyBinding>(manifest),
                "CronJob" => dropped::<CronJob>(manifest),
                kind => panic!("{kind}"),
            };
            assert_eq!(dropped, [""; 0], "{}", object.title());
        }
    }

    #[rstest]
    #[case("Namespace ci", "/api/v1/namespaces", "namespace ci")]
    #[case(
        "ServiceAccount ci/scanner",
        "/api/v1/namespaces/ci/serviceaccounts",
        "serviceaccount scanner --namespace ci"
    )]
    #[case(
        "RoleBinding ci/jobpass-minter-scanner",
        "/apis/rbac.authorization.k8s.io/v1/namespaces/ci/rolebindings",
        "rolebinding jobpass-minter-scanner --namespace ci"
    )]
    #[case(
        "ValidatingAdmissionPolicy jobpass-tokens.ci.scanner",
        "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies",
        "validatingadmissionpolicy jobpass-tokens.ci.scanner"
    )]
    #[case(
        "CronJob ci/jobpass-sweeper",
        "/apis/batch/v1/namespaces/ci/cronjobs",
        "cronjob jobpass-sweeper --namespace ci"
    )]
    fn an_object_has_a_path_and_an_argument(#[case] title: &str, #[case] path: &str, #[case] argument: &str) {
        let objects = everything();
        let object = objects
            .iter()
            .find(|object| object.title() == title)
            .expect("the object");
        assert_eq!(object.collection, path);
        assert_eq!(for_kubectl(title), argument);
    }

    #[test]
    fn an_object_of_another_kind_is_not_read() {
        let error = read::<RoleBinding>(&serde_json::json!({ "kind": "Role" })).expect_err("refused");
        assert_eq!(error.kind(), Kind::Unreachable);
    }
}
