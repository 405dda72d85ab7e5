//! What the cluster says about itself.

use serde_json::{Map, Value, json};

use super::{Answer, Request};
use crate::authn::ISSUER;
use crate::cluster::Cluster;
use crate::jwt::SigningKey;
use crate::resources::{RESOURCES, Resource, SERVICE_ACCOUNTS, Version};

pub(super) fn answer(cluster: &Cluster, request: &Request) -> Answer {
    let parts: Vec<&str> = request.path.split('/').filter(|part| !part.is_empty()).collect();
    match &parts[..] {
        ["healthz" | "livez" | "readyz"] => Answer::text(200, "ok"),
        ["version"] => Answer::json(200, version(cluster.version)),
        ["api"] => Answer::json(
            200,
            json!({
                "kind": "APIVersions",
                "versions": ["v1"],
                "serverAddressByClientCIDRs":
                    [{"clientCIDR": "0.0.0.0/0", "serverAddress": cluster.url.trim_start_matches("https://")}],
            }),
        ),
        ["apis"] => {
            let groups: Vec<Value> = groups().into_iter().map(group).collect();
            Answer::json(
                200,
                json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}),
            )
        }
        ["apis", name] if groups().contains(name) => {
            let mut group = group(name);
            group["kind"] = "APIGroup".into();
            group["apiVersion"] = "v1".into();
            Answer::json(200, group)
        }
        ["api", "v1"] => Answer::json(200, resources(cluster, "")),
        ["apis", group, "v1"] if groups().contains(group) => Answer::json(200, resources(cluster, group)),
        ["openapi", "v3"] => {
            let groups = groups().into_iter().map(|group| format!("apis/{group}/v1"));
            let paths: Map<String, Value> = std::iter::once("api/v1".to_owned())
                .chain(groups)
                .map(|path| {
                    (
                        path.clone(),
                        json!({"serverRelativeURL": format!("/openapi/v3/{path}")}),
                    )
                })
                .collect();
            Answer::json(200, json!({"paths": paths}))
        }
        ["openapi", "v3", "api", "v1"] => Answer::json(200, openapi("")),
        ["openapi", "v3", "apis", group, "v1"] if groups().contains(group) => {
            Answer::json(200, openapi(group))
        }
        [".well-known", "openid-configuration"] => public(
            "application/json",
            json!({
                "issuer": ISSUER,
                "jwks_uri": format!("{}/openid/v1/jwks", cluster.url),
                "response_types_supported": ["id_token"],
                "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": ["RS256"],
            }),
        ),
        ["openid", "v1", "jwks"] => public("application/jwk-set+json", SigningKey::shared().jwks()),
        _ => Answer::no_such_page(),
    }
}

fn version(version: Version) -> Value {
    let minor = version.minor().to_string();
    let mut answer = json!({
        "major": "1",
        "minor": minor,
        "gitVersion": format!("v1.{minor}.0-jobpass-devkit"),
        "gitCommit": "0000000000000000000000000000000000000000",
        "gitTreeState": "",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "none",
        "compiler": "gc",
        "platform": "linux/amd64",
    });
    if version >= Version::V1_36 {
        answer["emulationMajor"] = "1".into();
        answer["emulationMinor"] = minor.into();
        answer["minCompatibilityMajor"] = "1".into();
        answer["minCompatibilityMinor"] = (version.minor() - 1).to_string().into();
    }
    answer
}

fn groups() -> Vec<&'static str> {
    let mut groups: Vec<&str> = RESOURCES
        .iter()
        .map(|resource| resource.group)
        .filter(|group| !group.is_empty())
        .collect();
    groups.sort_unstable();
    groups.dedup();
    groups
}

fn group(name: &str) -> Value {
    let version = json!({"groupVersion": format!("{name}/v1"), "version": "v1"});
    json!({"name": name, "versions": [version], "preferredVersion": version})
}

fn resources(cluster: &Cluster, group: &str) -> Value {
    let mut resources = Vec::new();
    for resource in RESOURCES
        .iter()
        .filter(|resource| resource.group == group && cluster.version.serves(resource))
    {
        resources.push(described(resource));
        if *resource == &SERVICE_ACCOUNTS {
            resources.push(json!({
                "name": "serviceaccounts/token",
                "singularName": "",
                "namespaced": true,
                "group": "authentication.k8s.io",
                "version": "v1",
                "kind": "TokenRequest",
                "verbs": ["create"],
            }));
        }
    }
    let version = if group.is_empty() {
        "v1".to_owned()
    } else {
        format!("{group}/v1")
    };
    json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version, "resources": resources})
}

fn described(resource: &Resource) -> Value {
    let mut described = json!({
        "name": resource.plural,
        "singularName": resource.kind.to_lowercase(),
        "namespaced": resource.is_namespaced(),
        "kind": resource.kind,
        "verbs": resource.verbs(),
    });
    if !resource.short.is_empty() {
        described["shortNames"] = json!(resource.short);
    }
    described
}

/// As much of OpenAPI as kubectl needs to see that the server itself validates fields, so that it need not.
fn openapi(group: &str) -> Value {
    let mut paths = Map::new();
    for resource in RESOURCES
        .iter()
        .filter(|resource| resource.group == group && resource.is_stored())
    {
        let patch = json!({
            "parameters": [{"name": "fieldValidation", "in": "query", "schema": {"type": "string"}}],
            "responses": {},
            "x-kubernetes-group-version-kind":
                {"group": resource.group, "version": resource.version, "kind": resource.kind},
        });
        paths.insert(format!("/{}/{{name}}", resource.plural), json!({"patch": patch}));
    }
    json!({"openapi": "3.0.0", "info": {"title": "Kubernetes", "version": "unversioned"}, "paths": paths})
}

/// What anybody may keep for an hour.
fn public(content_type: &str, body: Value) -> Answer {
    let mut answer = Answer::json(200, body);
    answer.set("cache-control", "public, max-age=3600");
    answer.set("content-type", content_type);
    answer
}
