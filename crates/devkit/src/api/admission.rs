//! What is refused although the object is as it should be.

use serde_json::Value;

use super::Call;
use crate::rbac::{self, Rule};
use crate::resources::{
    CLUSTER_ROLE_BINDINGS, CLUSTER_ROLES, PODS, ROLE_BINDINGS, ROLES, Resource, SERVICE_ACCOUNTS,
};
use crate::status::{Result, Status};
use crate::store::text;

impl Call<'_> {
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
