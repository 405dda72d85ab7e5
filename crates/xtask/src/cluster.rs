//! The cluster of the demo and the measurements, used only through its API. xtask creates a namespace with a
//! ServiceAccount for the tokens, and a minter with the permissions that jobpass needs and no others.

use std::cell::Cell;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use http::{Method, Request, header};
use jobpass_core::inputs::options::{Inputs, Opt};
use jobpass_core::process::environment::Environment;
use jobpass_core::text::harmless;
use jobpass_core::{anchor, names::random_name};
use jobpass_core::{cluster::Connection, minter::Minter};
use kube::client::Body;
use kube::config::{AuthInfo, KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde::Deserialize;
use serde_json::{Value, json};

/// The ServiceAccount of the tokens.
pub(crate) const SERVICE_ACCOUNT: &str = "scanner";

/// The manifests: the ServiceAccount `scanner` with one rule, and the minter with the two rules that it
/// needs.
const MANIFESTS: &str = r#"
apiVersion: v1
kind: ServiceAccount
metadata: {name: scanner}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: scanner}
rules:
- {apiGroups: [""], resources: [pods], verbs: [list]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: scanner}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: scanner}
subjects: [{kind: ServiceAccount, name: scanner, namespace: NAMESPACE}]
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: minter}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: minter}
rules:
- {apiGroups: [""], resources: [secrets], verbs: [create, delete]}
- {apiGroups: [""], resources: [serviceaccounts/token], resourceNames: [scanner], verbs: [create]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: minter}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: minter}
subjects: [{kind: ServiceAccount, name: minter, namespace: NAMESPACE}]
"#;

/// The time limit of one request, from the connection to the last byte.
const PATIENCE: Duration = Duration::from_secs(10);

/// A cluster, and the user of its kubeconfig.
pub(crate) struct Cluster {
    admin: Client,
    config: Config,
    connection: Connection,
    /// The namespace that xtask creates, with a random name.
    pub(crate) namespace: String,
    created: Cell<bool>,
}

/// The minter's credentials.
pub(crate) struct MinterAccount {
    pub(crate) token: String,
    /// A kubeconfig with the minter's token.
    pub(crate) kubeconfig: String,
}

struct Answer {
    status: u16,
    body: Value,
}

impl Cluster {
    /// Connects to the cluster. Creates nothing yet.
    pub(crate) async fn connect(
        kubeconfig: &Path,
        context: Option<&str>,
        environment: &Environment,
    ) -> Result<Self> {
        let path = kubeconfig
            .to_str()
            .context("the kubeconfig's path is not UTF-8: copy the file to another path")?;
        let inputs = Inputs::from([
            (Opt::Kubeconfig, path),
            (Opt::Context, context.unwrap_or_default()),
        ]);
        // jobpass reads the file first: its errors name the fault and never quote the content. kube would
        // quote the file.
        let connection = Minter::resolve(&inputs, environment).await?.connection;
        let unusable = |_| {
            anyhow!(
                "xtask cannot use {path}, although jobpass can read it: give the kubeconfig in the form that \
                 `kubectl config view --raw --minify --flatten` prints"
            )
        };
        let parsed = Kubeconfig::read_from(kubeconfig).map_err(unusable)?;
        let options = KubeConfigOptions {
            context: context.map(str::to_owned),
            ..KubeConfigOptions::default()
        };
        let mut config = Config::from_custom_kubeconfig(parsed, &options)
            .await
            .map_err(unusable)?;
        config.proxy_url = match &connection.proxy {
            Some(proxy) => Some(proxy.url().parse().context("xtask cannot use the proxy's URL")?),
            None => None,
        };
        config.default_retry = false;
        let admin = client(config.clone())?;
        config.auth_info = AuthInfo::default();
        let random = random_name()?;
        Ok(Self {
            admin,
            config,
            connection,
            namespace: format!("jobpass-demo-{}", &random[random.len() - 6..]),
            created: Cell::new(false),
        })
    }

    /// The version of Kubernetes that the API server reports.
    pub(crate) async fn version(&self) -> Result<String> {
        let answer = self
            .admin(Method::GET, "/version", None, "read the version of Kubernetes")
            .await?;
        Ok(harmless(answer["gitVersion"].as_str().unwrap_or("unknown")))
    }

    /// Creates the namespace and its objects.
    pub(crate) async fn prepare(&self) -> Result<MinterAccount> {
        self.create_namespace().await?;
        for document in serde_yaml::Deserializer::from_str(&MANIFESTS.replace("NAMESPACE", &self.namespace)) {
            let object = Value::deserialize(document).context("the demo's manifests are not YAML")?;
            let kind = object["kind"].as_str().unwrap_or_default();
            let plural = format!("{}s", kind.to_lowercase());
            let root = match object["apiVersion"].as_str() {
                Some("v1") => "/api/v1".to_owned(),
                group => format!("/apis/{}", group.unwrap_or_default()),
            };
            let path = format!("{root}/namespaces/{}/{plural}", self.namespace);
            let what = format!("create a {kind} in namespace {}", self.namespace);
            self.admin(Method::POST, &path, Some(&object), &what).await?;
        }
        self.minter().await
    }

    /// Creates the namespace with this number of anchors, as if the runners of their jobs had died.
    pub(crate) async fn leave_behind(&self, anchors: u32) -> Result<()> {
        self.create_namespace().await?;
        let path = self.path("secrets");
        let create = async |number: u32| {
            let run = (number / 4).to_string();
            let anchor = json!({
                "kind": "Secret", "apiVersion": "v1", "type": anchor::TYPE,
                "metadata": {
                    "name": format!("jobpass-{number:020}"),
                    "labels": {
                        "app.kubernetes.io/managed-by": "jobpass", "jobpass.dev/platform": "github", "jobpass.dev/run-id": run,
                        "jobpass.dev/job": "scan", "jobpass.dev/service-account": SERVICE_ACCOUNT,
                    },
                    "annotations": {
                        "jobpass.dev/platform": "github", "jobpass.dev/repository": "team/app", "jobpass.dev/run-id": run,
                        "jobpass.dev/job": "scan", "jobpass.dev/requested-by": "someone",
                        "jobpass.dev/url": format!("https://github.com/team/app/actions/runs/{run}"),
                        "jobpass.dev/service-account": SERVICE_ACCOUNT, "jobpass.dev/lifetime": "600s",
                    },
                },
            });
            let created = self.admin(Method::POST, &path, Some(&anchor), "create an anchor");
            created.await.map(drop)
        };
        let creations = stream::iter(0..anchors).map(create).buffer_unordered(32);
        creations.try_collect().await
    }

    async fn create_namespace(&self) -> Result<()> {
        let namespace =
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.namespace}});
        self.created.set(true);
        let path = "/api/v1/namespaces";
        let created = send(&self.admin, Method::POST, path, Some(&namespace)).await?;
        self.created.set(created.status < 400);
        let what = format!("create namespace {}", self.namespace);
        created.ok(&what).context(
            "xtask needs a kubeconfig whose user may create a namespace, with ServiceAccounts, Roles and \
             RoleBindings in it",
        )?;
        Ok(())
    }

    async fn minter(&self) -> Result<MinterAccount> {
        let path = self.path("serviceaccounts/minter/token");
        let request = json!({
            "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 7200},
        });
        let answer = self
            .admin(Method::POST, &path, Some(&request), "mint the minter's token")
            .await?;
        let token = answer["status"]["token"]
            .as_str()
            .context("the API server answered without a token")?;
        let mut cluster = json!({"server": self.connection.server});
        if let Some(pem) = &self.connection.certificate_authority {
            cluster["certificate-authority-data"] = STANDARD.encode(pem).into();
        }
        if let Some(name) = &self.connection.tls_server_name {
            cluster["tls-server-name"] = name.as_str().into();
        }
        if let Some(proxy) = &self.connection.proxy {
            cluster["proxy-url"] = proxy.url().into();
        }
        let kubeconfig = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "minter",
            "clusters": [{"name": "cluster", "cluster": cluster}],
            "users": [{"name": "minter", "user": {"token": token}}],
            "contexts": [{
                "name": "minter",
                "context": {"cluster": "cluster", "user": "minter", "namespace": self.namespace},
            }],
        });
        Ok(MinterAccount {
            token: token.to_owned(),
            kubeconfig: serde_yaml::to_string(&kubeconfig).context("cannot write the kubeconfig as YAML")?,
        })
    }

    /// Whether the holder of this token has a permission in the namespace.
    pub(crate) async fn may(&self, token: &str, verb: &str, resource: &str, name: &str) -> Result<bool> {
        let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
        let review = json!({
            "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": {
                "namespace": self.namespace, "verb": verb, "resource": resource, "subresource": subresource, "name": name,
            }},
        });
        let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
        let answer = send(&self.holder(token)?, Method::POST, path, Some(&review)).await?;
        let answer = answer.ok("ask for the minter's permissions")?;
        Ok(answer["status"]["allowed"].as_bool().unwrap_or(false))
    }

    /// The status with which the API server answers a list of Pods with this token.
    pub(crate) async fn status_for(&self, token: &str) -> Result<u16> {
        let pods = send(&self.holder(token)?, Method::GET, &self.path("pods"), None).await?;
        Ok(pods.status)
    }

    /// The anchors in the namespace.
    pub(crate) async fn anchors(&self) -> Result<Vec<Value>> {
        let type_ = anchor::TYPE.replace('/', "%2F");
        let path = self.path(&format!("secrets?fieldSelector=type%3D{type_}"));
        let answer = self.admin(Method::GET, &path, None, "list the anchors").await?;
        Ok(answer["items"].as_array().cloned().unwrap_or_default())
    }

    /// Removes the namespace with all its objects. Returns whether xtask had created it.
    pub(crate) async fn remove(&self) -> Result<bool> {
        if !self.created.replace(false) {
            return Ok(false);
        }
        let path = format!("/api/v1/namespaces/{}", self.namespace);
        let what = format!("delete namespace {}", self.namespace);
        send(&self.admin, Method::DELETE, &path, None)
            .await
            .and_then(|answer| match answer.status {
                404 => Ok(()),
                _ => answer.ok(&what).map(drop),
            })
            .with_context(|| {
                format!("a namespace may be left: with this kubeconfig and context, run `kubectl {what}`")
            })?;
        Ok(true)
    }

    fn path(&self, rest: &str) -> String {
        format!("/api/v1/namespaces/{}/{rest}", self.namespace)
    }

    async fn admin(&self, method: Method, path: &str, body: Option<&Value>, what: &str) -> Result<Value> {
        send(&self.admin, method, path, body).await?.ok(what)
    }

    fn holder(&self, token: &str) -> Result<Client> {
        let mut config = self.config.clone();
        config.auth_info.token = Some(token.to_owned().into());
        client(config)
    }
}

impl Answer {
    fn ok(self, what: &str) -> Result<Value> {
        if self.status >= 400 {
            let message = harmless(self.body["message"].as_str().unwrap_or_default());
            bail!("cannot {what}: the API server answered {} {message}", self.status);
        }
        Ok(self.body)
    }
}

/// Lists Pods with the kubeconfig that jobpass wrote, as a user's `kubectl get pods` would. Returns the path
/// of the request, the status, and the number of Pods.
pub(crate) async fn list_pods() -> Result<(String, u16, usize)> {
    let unusable = |_| anyhow!("xtask cannot use the kubeconfig in KUBECONFIG");
    let kubeconfig = Kubeconfig::read().map_err(unusable)?;
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
        .await
        .map_err(unusable)?;
    let path = format!("/api/v1/namespaces/{}/pods", config.default_namespace);
    let answer = send(&client(config)?, Method::GET, &path, None).await?;
    let pods = answer.body["items"].as_array().map_or(0, Vec::len);
    Ok((path, answer.status, pods))
}

/// Creates the Tokio runtime for the requests to the API server.
pub(crate) fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?)
}

fn client(config: Config) -> Result<Client> {
    Client::try_from(config)
        .map_err(|error| anyhow!("cannot set up a connection: {}", harmless(&error.to_string())))
}

async fn send(client: &Client, method: Method, path: &str, body: Option<&Value>) -> Result<Answer> {
    let body = body.map(Value::to_string).unwrap_or_default();
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::CONTENT_TYPE, "application/json")
        .body(Body::from(body.into_bytes()))?;
    let exchange = async {
        let answer = client.send(request).await?;
        let status = answer.status().as_u16();
        Ok((status, answer.into_body().collect_bytes().await?))
    };
    let (status, body) = tokio::time::timeout(PATIENCE, exchange)
        .await
        .map_err(|_| anyhow!("the API server did not answer within {} s", PATIENCE.as_secs()))?
        .map_err(|error: kube::Error| {
            anyhow!("cannot reach the API server: {}", harmless(&error.to_string()))
        })?;
    let body = serde_json::from_slice(&body).unwrap_or_default();
    Ok(Answer { status, body })
}
