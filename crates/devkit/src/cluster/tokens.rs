//! The tokens of ServiceAccounts, and authentication with them
//! (`pkg/registry/core/serviceaccount/storage/token.go`, `pkg/serviceaccount/claims.go`).

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use http::StatusCode;
use serde_json::{Value, json};

use super::request::Call;
use super::status::{Result, Status};
use super::store::{NAMESPACES, SECRETS, SERVICE_ACCOUNTS, Store, text};
use super::{Cluster, ISSUER, State};
use crate::clock::rfc3339;
use crate::jwt::{self, SigningKey};
use crate::random;
use crate::transcript::Asker;

/// The lifetimes that the dev cluster accepts, in seconds.
const LIFETIMES: std::ops::RangeInclusive<i64> = 600..=1 << 32;
/// The time for which the dev cluster caches a successful authentication: `TokenSuccessCacheTTL` in
/// pkg/kubeapiserver/options/authentication.go.
const CACHE_LIFETIME: Duration = Duration::from_secs(10);
/// The number of seconds for which the dev cluster accepts a token after its expiry, or before the time from
/// which it is valid: `DefaultLeeway` of go-jose.
const LEEWAY: i64 = 60;

/// The group whose members may do everything, without RBAC.
pub(super) const MASTERS: &str = "system:masters";

/// The user of a request.
#[derive(Clone, Debug, Default)]
pub(super) struct User {
    pub(super) name: String,
    uid: String,
    pub(super) groups: Vec<String>,
    extra: BTreeMap<String, Vec<String>>,
}

/// The successful authentications of the last ten seconds. Using an entry does not prolong it.
#[derive(Default)]
pub(super) struct Cache {
    entries: HashMap<String, (Duration, User)>,
}

impl User {
    pub(super) fn is_master(&self) -> bool {
        self.groups.iter().any(|group| group == MASTERS)
    }

    pub(super) fn to_json(&self) -> Value {
        let mut user = json!({"username": self.name, "groups": self.groups});
        if !self.uid.is_empty() {
            user["uid"] = self.uid.as_str().into();
        }
        if !self.extra.is_empty() {
            user["extra"] = json!(self.extra);
        }
        user
    }

    fn named(name: &str, groups: &[&str]) -> Self {
        User {
            name: name.to_owned(),
            groups: groups.iter().copied().map(str::to_owned).collect(),
            ..User::default()
        }
    }
}

/// Returns the user of a request, and whether the user comes from the cache.
pub(super) fn authenticate(state: &mut State, by: &Asker, now: Duration) -> Result<(User, bool)> {
    let token = match by {
        Asker::Admin => {
            let admin = User::named("kubernetes-admin", &[MASTERS, "system:authenticated"]);
            return Ok((admin, false));
        }
        Asker::Anonymous => return Err(Status::not_made_for("anonymous requests")),
        Asker::Bearer(token) => token,
    };
    // `k8s.io/apiserver/pkg/authentication/token/cache` compares in the same way.
    let is_fresh = |since: Duration| now < since + CACHE_LIFETIME;
    if let Some((since, user)) = state.cache.entries.get(token)
        && is_fresh(*since)
    {
        return Ok((user.clone(), true));
    }
    let user = check(&state.store, token, now.as_secs() as i64).ok_or_else(Status::unauthorized)?;
    state.cache.entries.retain(|_, (since, _)| is_fresh(*since));
    state.cache.entries.insert(token.clone(), (now, user.clone()));
    Ok((user, false))
}

/// The name of a token's user at this moment. Ignores the cache.
pub(crate) fn user_of(cluster: &Cluster, token: &str) -> Option<String> {
    let user = check(&cluster.state().store, token, cluster.clock.unix_seconds())?;
    Some(user.name)
}

/// Verifies a token against the stored objects.
fn check(store: &Store, token: &str, now: i64) -> Option<User> {
    let claims = jwt::claims(token)?;
    let audiences = claims["aud"].as_array()?;
    if claims["iss"] != ISSUER || !SigningKey::shared().verifies(token) || !audiences.contains(&json!(ISSUER))
    {
        return None;
    }
    let time = |name: &str| claims[name].as_i64();
    let expired = time("exp").is_some_and(|exp| now - LEEWAY > exp);
    let early = ["nbf", "iat"]
        .into_iter()
        .filter_map(time)
        .any(|from| now + LEEWAY < from);
    let private = &claims["kubernetes.io"];
    let namespace = private["namespace"].as_str()?;
    let (account, uid) = reference(&private["serviceaccount"])?;
    let name = format!("system:serviceaccount:{namespace}:{account}");
    let found = store.get(&SERVICE_ACCOUNTS, namespace, account)?;
    if expired || early || text(found, "uid") != uid {
        return None;
    }
    if let Some((secret, uid)) = reference(&private["secret"])
        && store
            .get(&SECRETS, namespace, secret)
            .is_none_or(|secret| text(secret, "uid") != uid)
    {
        return None;
    }
    let of_namespace = format!("system:serviceaccounts:{namespace}");
    let mut user = User::named(
        &name,
        &["system:serviceaccounts", &of_namespace, "system:authenticated"],
    );
    uid.clone_into(&mut user.uid);
    if let Some(id) = claims["jti"].as_str() {
        user.extra.insert(
            "authentication.kubernetes.io/credential-id".into(),
            vec![format!("JTI={id}")],
        );
    }
    Some(user)
}

/// The name and the uid in a claim.
fn reference(claim: &Value) -> Option<(&str, &str)> {
    Some((claim["name"].as_str()?, claim["uid"].as_str()?))
}

impl Call<'_> {
    pub(super) fn request_token(&self) -> Result<(StatusCode, Value)> {
        const KIND: &str = "TokenRequest";
        let api_version = "authentication.k8s.io/v1";
        let mut request = self.object(KIND, api_version)?;
        self.allow_only(&request, &["metadata", "spec"])?;
        let spec = &request["spec"];
        self.allow_only(spec, &["audiences", "expirationSeconds", "boundObjectRef"])?;
        let lifetime = spec["expirationSeconds"]
            .as_i64()
            .filter(|it| LIFETIMES.contains(it));
        let lifetime = lifetime
            .ok_or_else(|| self.not_made_for("without a lifetime, or with one that Kubernetes refuses"))?;
        let (namespace, name) = (self.target.namespace, self.target.name);
        if self.state.store.get(&NAMESPACES, "", namespace).is_none() {
            return Err(Status::not_found(&NAMESPACES, namespace));
        }
        let account = self.state.store.get(&SERVICE_ACCOUNTS, namespace, name);
        let account = account.ok_or_else(|| Status::not_found(&SERVICE_ACCOUNTS, name))?;
        let audiences = match &spec["audiences"] {
            Value::Array(audiences) if !audiences.is_empty() => Value::Array(audiences.clone()),
            _ => json!([ISSUER]),
        };
        let uid = text(account, "uid");
        let mut private = json!({"namespace": namespace, "serviceaccount": {"name": name, "uid": uid}});
        if let Some(secret) = self.bound_secret(&spec["boundObjectRef"])? {
            private["secret"] = secret;
        }
        let claims = json!({
            "aud": audiences, "exp": self.now + lifetime, "iat": self.now, "iss": ISSUER, "jti": random::uid(),
            "kubernetes.io": private, "nbf": self.now, "sub": format!("system:serviceaccount:{namespace}:{name}"),
        });
        request["kind"] = KIND.into();
        request["apiVersion"] = api_version.into();
        request["metadata"] =
            json!({"name": name, "namespace": namespace, "uid": uid, "creationTimestamp": rfc3339(self.now)});
        request["spec"]["audiences"] = audiences;
        // Go writes this field even if it is empty.
        request["spec"]["boundObjectRef"] = request["spec"]["boundObjectRef"].take();
        request["status"] = json!({
            "token": SigningKey::shared().sign(&claims), "expirationTimestamp": rfc3339(self.now + lifetime),
        });
        Ok((StatusCode::CREATED, request))
    }

    /// The claim about the bound Secret. `None` if the request binds the token to no object.
    fn bound_secret(&self, bound: &Value) -> Result<Option<Value>> {
        if bound.is_null() {
            return Ok(None);
        }
        let field = |name: &str| bound[name].as_str().unwrap_or_default();
        let (name, uid) = (field("name"), field("uid"));
        if (field("kind"), field("apiVersion")) != ("Secret", "v1") || name.is_empty() {
            return Err(self.not_made_for("for an object that is not a Secret"));
        }
        let secret = self.state.store.get(&SECRETS, self.target.namespace, name);
        let secret = secret.ok_or_else(|| Status::not_found(&SECRETS, name))?;
        if text(secret, "uid") != uid {
            return Err(self.not_made_for("for a Secret that has another uid"));
        }
        Ok(Some(json!({"name": name, "uid": uid})))
    }
}
