//! Whose request it is: `pkg/serviceaccount/claims.go` and `k8s.io/apiserver/pkg/authentication`.

pub(crate) mod config;
mod oidc;

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use serde_json::{Value, json};

pub(crate) use self::oidc::Authenticator;
use crate::clock::parse_rfc3339;
use crate::cluster::State;
use crate::jwt::{self, SigningKey};
use crate::rbac::quoted;
use crate::resources::{NODES, PODS, Resource, SECRETS, SERVICE_ACCOUNTS, Version};
use crate::store::{Store, text};

/// The API server's own audience, and the issuer of its tokens.
pub(crate) const ISSUER: &str = "https://kubernetes.default.svc";

/// How long a successful authentication is believed: `TokenSuccessCacheTTL` in pkg/kubeapiserver/authenticator.
const CACHE_LIFETIME: Duration = Duration::from_secs(10);

/// `DefaultLeeway` of go-jose: for so long a token is still taken after it has expired.
const LEEWAY_SECONDS: i64 = 60;

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct User {
    pub(crate) name: String,
    pub(crate) uid: String,
    pub(crate) groups: Vec<String>,
    pub(crate) extra: BTreeMap<String, Vec<String>>,
}

impl User {
    pub(crate) fn admin() -> Self {
        Self::named("kubernetes-admin", vec!["system:masters".to_owned()])
    }

    pub(crate) fn anonymous() -> Self {
        User {
            name: "system:anonymous".into(),
            groups: vec!["system:unauthenticated".into()],
            ..User::default()
        }
    }

    /// Somebody who has shown who they are.
    pub(crate) fn named(name: &str, mut groups: Vec<String>) -> Self {
        groups.push("system:authenticated".to_owned());
        User {
            name: name.to_owned(),
            groups,
            ..User::default()
        }
    }

    pub(crate) fn is_master(&self) -> bool {
        self.groups.iter().any(|group| group == "system:masters")
    }

    pub(crate) fn to_json(&self) -> Value {
        let mut user = json!({"username": self.name, "groups": self.groups});
        if !self.uid.is_empty() {
            user["uid"] = self.uid.as_str().into();
        }
        if !self.extra.is_empty() {
            user["extra"] = json!(self.extra);
        }
        user
    }
}

/// A token that was accepted.
#[derive(Clone, Debug)]
pub(crate) struct Authenticated {
    pub(crate) user: User,
    /// Those of the token that were asked for.
    pub(crate) audiences: Vec<String>,
}

/// Successful authentications of the last ten seconds, by audiences and token. It does not slide: a hit does not
/// prolong an entry.
#[derive(Default)]
pub(crate) struct Cache {
    entries: HashMap<(Vec<String>, String), (Duration, Authenticated)>,
}

impl Cache {
    pub(crate) fn get(&self, audiences: &[String], token: &str, now: Duration) -> Option<Authenticated> {
        let (since, authenticated) = self.entries.get(&(audiences.to_vec(), token.to_owned()))?;
        (now < *since + CACHE_LIFETIME).then(|| authenticated.clone())
    }

    pub(crate) fn put(
        &mut self,
        audiences: &[String],
        token: &str,
        now: Duration,
        authenticated: Authenticated,
    ) {
        self.entries.retain(|_, (since, _)| now < *since + CACHE_LIFETIME);
        self.entries
            .insert((audiences.to_vec(), token.to_owned()), (now, authenticated));
    }
}

/// Checks a token against what is stored now. The refusal is the text that a TokenReview shows.
pub(crate) fn check(
    State { store, issuers, .. }: &State,
    token: &str,
    audiences: &[String],
    now: Duration,
    version: Version,
) -> Result<Authenticated, String> {
    let claims = jwt::claims(token).ok_or("invalid bearer token")?;
    let refuse = |why: String| format!("[invalid bearer token, {why}]");
    if let Some(issuer) = issuers.iter().find(|issuer| issuer.is_for(&claims)) {
        let user = issuer
            .user(token, &claims, now.as_secs() as i64)
            .map_err(refuse)?;
        // Whatever audience it was for, it is good for the API server's own (`WrapAudienceAgnosticToken`).
        let own = audiences.iter().filter(|audience| *audience == ISSUER);
        return match own.cloned().collect::<Vec<_>>() {
            own if own.is_empty() => Err("invalid bearer token".into()),
            audiences => Ok(Authenticated { user, audiences }),
        };
    }
    let validator = match claims["iss"].as_str() {
        Some(ISSUER) => check_bound,
        Some("kubernetes/serviceaccount") => check_legacy,
        _ => return Err("invalid bearer token".into()),
    };
    if !SigningKey::shared().verifies(token) {
        return Err(refuse("square/go-jose: error in cryptographic primitive".into()));
    }
    let mut token_audiences = self::audiences(&claims);
    if token_audiences.is_empty() {
        // A legacy token is for the API server.
        token_audiences.push(ISSUER.to_owned());
    }
    let common: Vec<String> = token_audiences
        .iter()
        .filter(|audience| audiences.contains(audience))
        .cloned()
        .collect();
    if common.is_empty() {
        return Err(refuse(format!(
            "token audiences {} is invalid for the target audiences {}",
            quoted(&token_audiences),
            quoted(audiences)
        )));
    }
    let user = validator(store, &claims, now.as_secs() as i64, version).map_err(refuse)?;
    Ok(Authenticated {
        user,
        audiences: common,
    })
}

fn audiences(claims: &Value) -> Vec<String> {
    match &claims["aud"] {
        Value::String(one) => vec![one.clone()],
        Value::Array(many) => many.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        _ => Vec::new(),
    }
}

fn check_bound(store: &Store, claims: &Value, now: i64, version: Version) -> Result<User, String> {
    let time = |name: &str| claims[name].as_i64();
    if time("exp").is_some_and(|exp| now - LEEWAY_SECONDS > exp) {
        return Err("service account token has expired".into());
    }
    if ["nbf", "iat"]
        .iter()
        .filter_map(|name| time(name))
        .any(|from| now + LEEWAY_SECONDS < from)
    {
        return Err("service account token is not valid yet".into());
    }
    let private = &claims["kubernetes.io"];
    let namespace = private["namespace"].as_str().unwrap_or_default();
    let account = reference(&private["serviceaccount"]);
    if claims["sub"] != format!("system:serviceaccount:{namespace}:{}", account.0) {
        return Err("service account token claims do not match its subject".into());
    }
    check_account(store, namespace, account)?;
    for (name, resource, namespace) in [
        ("secret", &SECRETS, namespace),
        ("pod", &PODS, namespace),
        ("node", &NODES, ""),
    ] {
        if private[name].is_object() {
            check_binding(store, resource, namespace, reference(&private[name]), now)?;
        }
    }

    let mut user = service_account(namespace, account);
    let mut extra = |key: &str, value: String| {
        user.extra
            .insert(format!("authentication.kubernetes.io/{key}"), vec![value]);
    };
    if private["pod"].is_object() {
        let (name, uid) = reference(&private["pod"]);
        extra("pod-name", name.to_owned());
        extra("pod-uid", uid.to_owned());
    }
    if let (Version::V1_36, Some(id)) = (version, claims["jti"].as_str()) {
        extra("credential-id", format!("JTI={id}"));
    }
    Ok(user)
}

/// A token of a `kubernetes.io/service-account-token` Secret: `pkg/serviceaccount/legacy.go`.
fn check_legacy(store: &Store, claims: &Value, _now: i64, _version: Version) -> Result<User, String> {
    let claim = |name: &str| {
        claims[format!("kubernetes.io/serviceaccount/{name}")]
            .as_str()
            .unwrap_or_default()
    };
    let account = (claim("service-account.name"), claim("service-account.uid"));
    let namespace = claim("namespace");
    check_account(store, namespace, account)?;
    let secret = store.get(&SECRETS, namespace, claim("secret.name"));
    if secret.is_none_or(|secret| !secret["metadata"]["deletionTimestamp"].is_null()) {
        return Err("service account token has been invalidated".into());
    }
    Ok(service_account(namespace, account))
}

fn check_account(store: &Store, namespace: &str, (name, uid): (&str, &str)) -> Result<(), String> {
    let account = store
        .get(&SERVICE_ACCOUNTS, namespace, name)
        .ok_or_else(|| format!("serviceaccounts \"{name}\" not found"))?;
    match text(account, "uid") {
        found if found == uid => Ok(()),
        found => Err(format!(
            "service account UID ({found}) does not match claim ({uid})"
        )),
    }
}

fn check_binding(
    store: &Store,
    resource: &Resource,
    namespace: &str,
    (name, uid): (&str, &str),
    now: i64,
) -> Result<(), String> {
    let invalidated = || "service account token has been invalidated".to_owned();
    let object = store.get(resource, namespace, name).ok_or_else(invalidated)?;
    // An object that is only marked for deletion keeps its tokens alive for another minute.
    let deleted = parse_rfc3339(text(object, "deletionTimestamp"));
    if deleted.is_some_and(|deleted| deleted < now - LEEWAY_SECONDS) {
        return Err(invalidated());
    }
    let kind = resource.kind.to_lowercase();
    match text(object, "uid") {
        found if found == uid => Ok(()),
        found => Err(format!(
            "{kind} UID ({found}) does not match service account {kind} ref claim ({uid})"
        )),
    }
}

fn reference(claim: &Value) -> (&str, &str) {
    (
        claim["name"].as_str().unwrap_or_default(),
        claim["uid"].as_str().unwrap_or_default(),
    )
}

fn service_account(namespace: &str, (name, uid): (&str, &str)) -> User {
    let groups = vec![
        "system:serviceaccounts".to_owned(),
        format!("system:serviceaccounts:{namespace}"),
    ];
    User {
        uid: uid.to_owned(),
        ..User::named(&format!("system:serviceaccount:{namespace}:{name}"), groups)
    }
}
