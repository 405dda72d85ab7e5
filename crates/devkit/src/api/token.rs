//! TokenRequest: `pkg/registry/core/serviceaccount/storage/token.go` and `pkg/serviceaccount/claims.go`.

use serde_json::{Value, json};

use super::admission::Change;
use super::{Answer, Call, typed};
use crate::authn::ISSUER;
use crate::clock::rfc3339;
use crate::jwt::SigningKey;
use crate::random;
use crate::resources::{NODES, PODS, SECRETS, SERVICE_ACCOUNTS, TOKEN_REQUEST, Version};
use crate::status::{Problem, Result, Status};
use crate::store::text;

const SHORTEST: i64 = 600;
const LONGEST: i64 = 1 << 32;
const DEFAULT: i64 = 3600;
/// What a kubelet asks for: `WarnOnlyBoundTokenExpirationPeriod`.
const EXTENDED_WHEN_ASKED_FOR: i64 = 3607;
const EXTENSION: i64 = 365 * 24 * 60 * 60;

impl Call<'_> {
    pub(super) fn request_token(&mut self) -> Result<Answer> {
        let mut request = self.decode(&TOKEN_REQUEST)?;
        self.check_namespace(&SERVICE_ACCOUNTS)?;
        let (namespace, name) = (self.target.namespace.clone(), self.target.name.clone());
        for (field, wanted, what) in [("name", &name, "name"), ("namespace", &namespace, "namespace")] {
            let given = &request["metadata"][field];
            if given.as_str().is_some_and(|given| given != wanted) {
                let why = format!("must match the service account {what} if specified");
                return Err(invalid(
                    &name,
                    Problem::invalid(format!("metadata.{field}"), given, &why),
                ));
            }
        }
        let account = self.state.find(&SERVICE_ACCOUNTS, &namespace, &name)?.clone();

        let mut lifetime = lifetime(&request["spec"])?;
        let audiences = match request["spec"]["audiences"].as_array() {
            Some(audiences) if !audiences.is_empty() => audiences.clone(),
            _ => vec![ISSUER.into()],
        };
        // What the policies see has what the API server filled in by now.
        let mut admitted = request.clone();
        admitted["metadata"]["name"] = name.as_str().into();
        admitted["metadata"]["namespace"] = namespace.as_str().into();
        admitted["spec"]["audiences"] = audiences.clone().into();
        admitted["spec"]["expirationSeconds"] = lifetime.into();
        let change = Change::Create(&admitted);
        self.ask_policies(&SERVICE_ACCOUNTS, &TOKEN_REQUEST, &name, &change)?;
        let bound = self.bound_object(&request["spec"]["boundObjectRef"], &namespace, &name)?;

        if let Some(longest) = self
            .cluster
            .max_token_lifetime
            .map(|longest| longest.as_secs() as i64)
            && lifetime > longest
        {
            self.warnings.push(format!(
                "requested expiration of {lifetime} seconds shortened to {longest} seconds"
            ));
            lifetime = longest;
        }

        let now = self.cluster.clock.unix_seconds();
        let mut claims = claims(&account, &audiences, now, lifetime, self.cluster.version);
        if let Some((kind, object)) = bound {
            claims["kubernetes.io"][kind] =
                json!({"name": text(&object, "name"), "uid": text(&object, "uid")});
            if kind == "pod" && lifetime == EXTENDED_WHEN_ASKED_FOR && audiences == [json!(ISSUER)] {
                claims["exp"] = (now + EXTENSION).into();
                claims["kubernetes.io"]["warnafter"] = (now + lifetime).into();
            }
        }

        let metadata = &mut request["metadata"];
        metadata["name"] = name.into();
        metadata["namespace"] = namespace.into();
        metadata["creationTimestamp"] = rfc3339(now).into();
        if self.cluster.version >= Version::V1_36 {
            metadata["uid"] = account["metadata"]["uid"].clone();
        }
        request["spec"]["audiences"] = audiences.into();
        request["spec"]["expirationSeconds"] = lifetime.into();
        // No `omitempty` on this one.
        request["spec"]["boundObjectRef"] = request["spec"]["boundObjectRef"].take();
        let token = SigningKey::shared().sign(&claims);
        request["status"] = json!({
            "token": token,
            "expirationTimestamp": rfc3339(now + lifetime),
        });
        Ok(Answer::json(201, typed(&TOKEN_REQUEST, request)))
    }

    /// What the token is to be bound to, and the name of its claim.
    fn bound_object(
        &self,
        reference: &Value,
        namespace: &str,
        account: &str,
    ) -> Result<Option<(&'static str, Value)>> {
        if !reference.is_object() {
            return Ok(None);
        }
        let field = |name: &str| reference[name].as_str().unwrap_or_default();
        let (kind, name) = (field("kind"), field("name"));
        let (group, version) = field("apiVersion")
            .rsplit_once('/')
            .unwrap_or(("", field("apiVersion")));
        let (claim, resource, namespace) = match (group, kind) {
            ("", "Pod") => ("pod", &PODS, namespace),
            ("", "Secret") => ("secret", &SECRETS, namespace),
            ("", "Node") if self.cluster.version >= Version::V1_36 => ("node", &NODES, ""),
            _ => {
                let why = format!("cannot bind token to object of type {group}/{version}, Kind={kind}");
                return Err(Status::bad_request(why));
            }
        };
        if name.is_empty() {
            return Err(Status::bad_request("Name parameter required."));
        }
        let object = self.state.find(resource, namespace, name)?;
        if claim == "pod" && object["spec"]["serviceAccountName"] != account {
            return Err(Status::bad_request(format!(
                "cannot bind token for serviceaccount \"{account}\" to pod running with different serviceaccount name."
            )));
        }
        let uid = field("uid");
        if !uid.is_empty() && uid != text(object, "uid") {
            let why = format!(
                "the UID in the bound object reference ({uid}) does not match the UID in record. The object might have \
                 been deleted and then recreated"
            );
            return Err(Status::conflict(group, kind, name, &why));
        }
        Ok(Some((claim, object.clone())))
    }
}

/// The claims of a token that is bound to nothing yet.
pub(crate) fn claims(
    account: &Value,
    audiences: &[Value],
    now: i64,
    lifetime: i64,
    version: Version,
) -> Value {
    let (namespace, name) = (text(account, "namespace"), text(account, "name"));
    let mut claims = json!({
        "aud": audiences,
        "exp": now + lifetime,
        "iat": now,
        "iss": ISSUER,
        "kubernetes.io": {
            "namespace": namespace,
            "serviceaccount": {"name": name, "uid": text(account, "uid")},
        },
        "nbf": now,
        "sub": format!("system:serviceaccount:{namespace}:{name}"),
    });
    if version >= Version::V1_36 {
        claims["jti"] = random::uid().into();
    }
    claims
}

fn lifetime(spec: &Value) -> Result<i64> {
    let asked = &spec["expirationSeconds"];
    if asked.is_null() {
        return Ok(DEFAULT);
    }
    let seconds = asked.as_i64().ok_or_else(|| {
        Status::bad_request(
            "TokenRequest in version \"v1\" cannot be handled as a TokenRequest: json: cannot unmarshal into Go struct \
             field TokenRequestSpec.spec.expirationSeconds of type int64",
        )
    })?;
    let why = match seconds {
        ..SHORTEST => "may not specify a duration less than 10 minutes",
        SHORTEST..=LONGEST => return Ok(seconds),
        _ => "may not specify a duration larger than 2^32 seconds",
    };
    Err(invalid(
        "",
        Problem::invalid("spec.expirationSeconds", asked, why),
    ))
}

fn invalid(name: &str, problem: Problem) -> Status {
    Status::invalid(TOKEN_REQUEST.group, TOKEN_REQUEST.kind, name, &[problem])
}
