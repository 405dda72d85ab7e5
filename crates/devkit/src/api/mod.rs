//! One request through the API server: who asks, may they, and what then.

mod admission;
mod discovery;
mod list;
mod objects;
mod request;
mod reviews;
mod token;

use http::Method;
use serde_json::{Value, json};

pub(crate) use self::request::{Answer, Body, Credential, Request};
pub(crate) use self::token::claims;

use self::request::Target;
use crate::authn::{self, Authenticated, ISSUER, User};
use crate::cluster::{Cluster, State};
use crate::controllers;
use crate::decode::{self, FieldValidation};
use crate::random;
use crate::rbac::{self, Attributes};
use crate::resources::{RESOURCES, Resource, SERVICE_ACCOUNTS, Scope};
use crate::status::{Result, Status};

/// A request whose user is known and may do what they ask for.
pub(crate) struct Call<'a> {
    pub(crate) cluster: &'a Cluster,
    pub(crate) state: &'a mut State,
    pub(crate) user: &'a User,
    pub(crate) request: &'a Request,
    pub(crate) target: &'a Attributes,
    /// Texts for `Warning:` headers.
    pub(crate) warnings: Vec<String>,
}

/// Answers a request that came over the network.
pub(crate) fn handle(cluster: &Cluster, request: &Request) -> Answer {
    let mut state = cluster.state();
    match authenticate(cluster, &mut state, request) {
        Ok(user) => answer(cluster, &mut state, &user, request),
        Err(refusal) => Answer::refusal(&refusal),
    }
}

/// Answers a request of the cluster's own administrator.
pub(crate) fn handle_as_admin(cluster: &Cluster, request: &Request) -> Answer {
    answer(cluster, &mut cluster.state(), &User::admin(), request)
}

/// The name of a token's holder, found out without touching the cache; empty if nobody is let in with it.
pub(crate) fn user_name(cluster: &Cluster, token: &str) -> String {
    let state = cluster.state();
    let audiences = [ISSUER.to_owned()];
    let now = cluster.clock.now();
    let known = state.cache.get(&audiences, token, now);
    known
        .or_else(|| authn::check(&state, token, &audiences, now, cluster.version).ok())
        .map(|authenticated| authenticated.user.name)
        .unwrap_or_default()
}

fn authenticate(cluster: &Cluster, state: &mut State, request: &Request) -> Result<User> {
    match &request.credential {
        // A wrong bearer never falls back to anonymous.
        Credential::Bearer(token) => authenticate_token(cluster, state, token, &[ISSUER.to_owned()])
            .map(|known| known.user)
            .map_err(|_| Status::unauthorized()),
        Credential::Certificate(user) => Ok(user.clone()),
        Credential::None => Ok(User::anonymous()),
    }
}

/// Through the cache of successes, as `k8s.io/apiserver/pkg/authentication/token/cache` does.
fn authenticate_token(
    cluster: &Cluster,
    state: &mut State,
    token: &str,
    audiences: &[String],
) -> std::result::Result<Authenticated, String> {
    let now = cluster.clock.now();
    if let Some(known) = state.cache.get(audiences, token, now) {
        return Ok(known);
    }
    let authenticated = authn::check(state, token, audiences, now, cluster.version)?;
    controllers::used(state, token, now.as_secs() as i64);
    state.cache.put(audiences, token, now, authenticated.clone());
    Ok(authenticated)
}

fn answer(cluster: &Cluster, state: &mut State, user: &User, request: &Request) -> Answer {
    let target = request::target(request);
    if let Err(refusal) = authorize(state, user, &target.attributes) {
        return Answer::refusal(&refusal);
    }
    let mut call = Call {
        cluster,
        state,
        user,
        request,
        target: &target.attributes,
        warnings: Vec::new(),
    };
    let mut answer = call
        .answer(&target)
        .unwrap_or_else(|refusal| Answer::refusal(&refusal));
    for warning in &call.warnings {
        answer.warn(warning);
    }
    answer
}

fn authorize(state: &State, user: &User, wanted: &Attributes) -> Result<()> {
    let decision = rbac::authorize(&state.store, user, wanted);
    if decision.allowed {
        return Ok(());
    }
    let name = &user.name;
    let verb = &wanted.verb;
    if let Some(path) = &wanted.path {
        return Err(Status::forbidden_path(&format!(
            "User \"{name}\" cannot {verb} path \"{path}\""
        )));
    }
    let resource = match wanted.subresource.as_str() {
        "" => wanted.resource.clone(),
        subresource => format!("{}/{subresource}", wanted.resource),
    };
    let place = match wanted.namespace.as_str() {
        "" => "at the cluster scope".to_owned(),
        namespace => format!("in the namespace \"{namespace}\""),
    };
    let mut why = format!(
        "User \"{name}\" cannot {verb} resource \"{resource}\" in API group \"{}\" {place}",
        wanted.group
    );
    if !decision.reason.is_empty() {
        why.push_str(&format!(": {}", decision.reason));
    }
    Err(Status::forbidden(
        &wanted.group,
        &wanted.resource,
        &wanted.name,
        &why,
    ))
}

impl Call<'_> {
    fn answer(&mut self, target: &Target) -> Result<Answer> {
        if target.attributes.path.is_some() {
            return Ok(discovery::answer(self.cluster, self.request));
        }
        let version = self.cluster.version;
        let in_group = |resource: &&&'static Resource| {
            resource.group == target.attributes.group
                && resource.version == target.version
                && version.serves(resource)
        };
        if !RESOURCES.iter().any(|resource| in_group(&resource)) {
            return Ok(Answer::no_such_page());
        }
        let resource = RESOURCES
            .iter()
            .filter(in_group)
            .find(|resource| resource.plural == target.attributes.resource)
            .ok_or_else(Status::unknown_resource)?;

        let post = self.request.method == Method::POST;
        match (resource.plural, target.attributes.subresource.as_str()) {
            (_, "") if resource.is_stored() => self.object(resource),
            (_, "") if !post => Err(Status::method_not_allowed()),
            ("tokenreviews", "") => self.token_review(),
            ("selfsubjectreviews", "") => self.self_subject_review(),
            ("selfsubjectaccessreviews", "") => self.self_subject_access_review(),
            ("selfsubjectrulesreviews", "") => self.self_subject_rules_review(),
            (_, "token") if *resource == &SERVICE_ACCOUNTS => {
                if post {
                    self.request_token()
                } else {
                    Err(Status::method_not_allowed())
                }
            }
            _ => Err(Status::unknown_resource()),
        }
    }

    /// The object in the request's body.
    fn decode(&mut self, resource: &Resource) -> Result<Value> {
        self.check_content_type()?;
        decode::decode(
            resource,
            &self.request.body,
            self.field_validation(),
            &mut self.warnings,
        )
    }

    fn check_content_type(&self) -> Result<()> {
        match self.request.content_type.as_str() {
            "" | "application/json" => Ok(()),
            _ => Err(Status::unsupported_media_type()),
        }
    }

    fn field_validation(&self) -> FieldValidation {
        FieldValidation::parse(self.request.parameter("fieldValidation"))
    }

    fn now(&self) -> String {
        crate::clock::rfc3339(self.cluster.clock.unix_seconds())
    }

    /// The namespace must exist before anything is made in it: the NamespaceLifecycle admission plugin.
    fn check_namespace(&self, resource: &Resource) -> Result<()> {
        let namespace = &self.target.namespace;
        if resource.scope == Scope::Namespaced {
            self.state.find(&crate::resources::NAMESPACES, "", namespace)?;
        }
        Ok(())
    }
}

/// The metadata that every new object gets.
pub(crate) fn stamp(object: &mut Value, namespace: &str, now: &str) {
    let metadata = object["metadata"]
        .as_object_mut()
        .expect("decoding leaves metadata");
    for field in [
        "selfLink",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "generation",
        "resourceVersion",
    ] {
        metadata.remove(field);
    }
    if let (None, Some(prefix)) = (
        metadata.get("name"),
        metadata.get("generateName").and_then(Value::as_str),
    ) {
        let name = format!("{prefix}{}", random::suffix());
        metadata.insert("name".into(), name.into());
    }
    if !namespace.is_empty() {
        metadata.insert("namespace".into(), namespace.into());
    }
    metadata.insert("uid".into(), random::uid().into());
    metadata.insert("creationTimestamp".into(), now.into());
}

/// `kind` and `apiVersion`, with which every object is answered that is not in a list.
pub(crate) fn typed(resource: &Resource, mut object: Value) -> Value {
    object["kind"] = resource.kind.into();
    object["apiVersion"] = resource.api_version().into();
    object
}

/// The metadata of an object that is not stored: up to 1.3x Go's JSON showed its unset time.
fn empty_metadata(cluster: &Cluster) -> Value {
    if cluster.version >= crate::resources::Version::V1_36 {
        json!({})
    } else {
        json!({"creationTimestamp": null})
    }
}
