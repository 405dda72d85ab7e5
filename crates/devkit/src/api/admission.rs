//! What is refused although the object is as it should be.

use serde_json::{Value, json};

use super::{Call, typed};
use crate::admission::{self, Review};
use crate::rbac::{self, Rule};
use crate::resources::{
    CLUSTER_ROLE_BINDINGS, CLUSTER_ROLES, PODS, ROLE_BINDINGS, ROLES, Resource, SERVICE_ACCOUNTS,
};
use crate::status::{Result, Status};
use crate::store::text;

/// What a request would do to an object.
pub(super) enum Change<'a> {
    Create(&'a Value),
    Update {
        old: &'a Value,
        new: &'a Value,
    },
    /// With the `DeleteOptions`.
    Delete(&'a Value, Value),
}

impl Call<'_> {
    /// Asks the admission policies. `kind` is what the object in the request is, which for a subresource is not `resource`.
    pub(super) fn ask_policies(
        &mut self,
        resource: &'static Resource,
        kind: &'static Resource,
        name: &str,
        change: &Change<'_>,
    ) -> Result<()> {
        let (operation, object, old, options) = match change {
            Change::Create(object) => ("CREATE", Some(*object), None, json!({"kind": "CreateOptions"})),
            Change::Update { old, new } => {
                ("UPDATE", Some(*new), Some(*old), json!({"kind": "UpdateOptions"}))
            }
            Change::Delete(old, options) => ("DELETE", None, Some(*old), options.clone()),
        };
        let shown = |object: Option<&Value>| object.map_or(Value::Null, |object| typed(kind, object.clone()));
        let target = self.target;
        let mut request = json!({
            "uid": crate::random::uid(),
            "kind": {"group": kind.group, "version": kind.version, "kind": kind.kind},
            "resource": {"group": resource.group, "version": resource.version, "resource": resource.plural},
            "requestKind": {"group": kind.group, "version": kind.version, "kind": kind.kind},
            "requestResource": {"group": resource.group, "version": resource.version, "resource": resource.plural},
            "operation": operation,
            "userInfo": self.user.to_json(),
            "dryRun": self.dry_run(),
            "options": options,
        });
        request["options"]["apiVersion"] = "meta.k8s.io/v1".into();
        for (field, value) in [
            ("name", name),
            ("namespace", &target.namespace),
            ("subResource", &target.subresource),
        ] {
            if !value.is_empty() {
                request[field] = value.into();
            }
        }
        let review = Review {
            operation,
            group: resource.group,
            version: resource.version,
            resource: resource.plural,
            subresource: &target.subresource,
            namespace: if resource.is_namespaced() {
                &target.namespace
            } else {
                ""
            },
            name,
            object: shown(object),
            old: shown(old),
            request,
        };
        let warnings = admission::review(&self.state.store, &review)?;
        self.warnings.extend(warnings);
        Ok(())
    }

    /// What admission and the RBAC storage look at: references to what must exist, and rights that are given away.
    pub(super) fn admit(&self, resource: &Resource, object: &Value) -> Result<()> {
        let namespace = text(object, "namespace");
        let name = text(object, "name");
        let store = &self.state.store;
        if resource == &PODS && self.cluster.controllers {
            let account = object["spec"]["serviceAccountName"].as_str().unwrap_or_default();
            if store.get(&SERVICE_ACCOUNTS, namespace, account).is_none() {
                let why = format!(
                    "error looking up service account {namespace}/{account}: serviceaccount \"{account}\" not found"
                );
                return Err(Status::forbidden("", "pods", name, &why));
            }
        }
        if self.user.is_master() {
            return Ok(());
        }
        let forbidden = |why: String| Status::forbidden(resource.group, resource.plural, name, &why);
        let may = |verb: &str, resource: &str, name: &str| {
            let wanted = rbac::Attributes {
                verb: verb.to_owned(),
                path: None,
                group: ROLES.group.to_owned(),
                resource: resource.to_owned(),
                subresource: String::new(),
                namespace: namespace.to_owned(),
                name: name.to_owned(),
            };
            rbac::authorize(store, self.user, &wanted).allowed
        };
        let given: Vec<Rule> = if resource == &ROLES || resource == &CLUSTER_ROLES {
            if may("escalate", resource.plural, name) {
                return Ok(());
            }
            rbac::parse_rules(object)
        } else if resource == &ROLE_BINDINGS || resource == &CLUSTER_ROLE_BINDINGS {
            let role = &object["roleRef"];
            let referred = if role["kind"] == "Role" {
                &ROLES
            } else {
                &CLUSTER_ROLES
            };
            let role_name = role["name"].as_str().unwrap_or_default();
            if may("bind", referred.plural, role_name) {
                return Ok(());
            }
            rbac::role_rules(store, role, namespace).map_err(|_| Status::not_found(referred, role_name))?
        } else {
            return Ok(());
        };
        rbac::confirm_no_escalation(store, self.user, namespace, &given).map_err(forbidden)
    }
}
