//! The checks of the admission policies: whether they refuse requests that a minter must not make.

use k8s_openapi::api::core::v1::Secret;
use kube::api::ListParams;
use serde::Deserialize;

use super::{
    Finding, Health,
    api_checks::{ApiChecks, User},
};
use crate::{
    anchor,
    cluster::{Answer, Call},
    error::{Error, Kind},
    maintenance::setup::enforcement::{self, Enforcement, Violation},
};

impl ApiChecks<'_> {
    /// Sends requests that the policies must refuse and that change nothing: dry runs, and the request for a
    /// token that is bound to a Secret that does not exist.
    pub(super) async fn check_policies(&self, user: &User, findings: &mut Vec<Finding>) {
        let fix = self.setup(user);
        let (anchors, tokens, roles, others) = tokio::join!(
            self.other_secrets(&fix),
            self.unbound_tokens(&fix),
            self.other_roles(&fix),
            self.listed_secrets()
        );
        findings.extend(tokens);
        findings.push(anchors);
        findings.extend(roles);
        findings.push(others);
    }

    /// Creates a Secret that is not an anchor.
    async fn other_secrets(&self, fix: &str) -> Finding {
        let call = enforcement::other_secret(&self.spec.namespace);
        let refused = "a policy refuses a Secret that is not an anchor";
        let allowed = "no policy limits this minter: it may create and delete any Secret";
        self.probe("policy for anchors", call, refused, allowed, fix)
            .await
    }

    /// Creates a Role that belongs to no job.
    async fn other_roles(&self, fix: &str) -> Option<Finding> {
        if self.spec.rules.is_empty() {
            return None;
        }
        let call = enforcement::other_role(&self.spec.namespace);
        let refused = "a policy refuses a Role that belongs to no job";
        let allowed =
            "no policy limits this minter: it may give all its own permissions to accounts that it makes";
        Some(self.probe("policy for roles", call, refused, allowed, fix).await)
    }

    /// Requests a token that is not bound to an anchor.
    async fn unbound_tokens(&self, fix: &str) -> Vec<Finding> {
        let (exists, check) = ("ServiceAccount", "policy for tokens");
        let namespace = &self.spec.namespace;
        let (account, violation) = match &*self.spec.rules {
            [] => (&*self.spec.service_account, Violation::Unpinned),
            // A job's own ServiceAccount does not exist yet. Every namespace has `default`, and no job gets a
            // token of that.
            _ => ("default", Violation::Account),
        };
        let answer = match enforcement::token(namespace, account, violation) {
            Ok(call) => self.cluster.send(&call, self.budget).await.map_err(Error::from),
            Err(error) => Err(error),
        };
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => return vec![Finding::new(check, Health::Unknown, error.what())],
        };
        let mut findings = Vec::new();
        if self.spec.rules.is_empty() {
            if answer.status == 404 && answer.message().starts_with("serviceaccounts ") {
                let said = format!("{account} does not exist in namespace {namespace}");
                return vec![
                    Finding::new(exists, Health::Failed(Kind::Refused), said).fix(format!(
                        "`kubectl create serviceaccount {account} --namespace {namespace}`"
                    )),
                ];
            }
            let exists_there = matches!(
                Enforcement::by(&answer),
                Enforcement::Enforced | Enforcement::NotEnforced
            );
            findings
                .extend(exists_there.then(|| Finding::new(exists, Health::Ok, format!("{account} exists"))));
        }
        let refused = match violation {
            Violation::Account => "a policy refuses a token of a ServiceAccount that was not made for a job",
            _ => "a policy refuses a token that is not bound to a Secret with its uid",
        };
        let allowed = match &*self.spec.rules {
            [] => {
                "no policy limits this minter: it may bind a token to a Secret without naming the Secret's uid"
            }
            _ => "no policy limits this minter: it may get a token of any ServiceAccount in the namespace",
        };
        findings.push(finding(check, &answer, refused, allowed, fix));
        findings
    }

    /// Sends one request that a policy must refuse.
    async fn probe(
        &self,
        check: &'static str,
        call: Result<Call, Error>,
        refused: &str,
        allowed: &str,
        fix: &str,
    ) -> Finding {
        let answer = match call {
            Ok(call) => self.cluster.send(&call, self.budget).await.map_err(Error::from),
            Err(error) => Err(error),
        };
        match answer {
            Ok(answer) => finding(check, &answer, refused, allowed, fix),
            Err(error) => Finding::new(check, Health::Unknown, error.what()),
        }
    }

    /// Lists the metadata of one Secret that is not an anchor, in the namespace of the anchors.
    async fn listed_secrets(&self) -> Finding {
        #[derive(Deserialize)]
        struct List {
            #[serde(default)]
            items: Vec<serde::de::IgnoredAny>,
        }
        let check = "other Secrets";
        let others = ListParams::default()
            .fields(&format!("type!={}", anchor::TYPE))
            .limit(1);
        let call = match Call::list_metadata::<Secret>("list Secrets", Some(&self.spec.namespace), &others) {
            Ok(call) => call,
            Err(error) => return Finding::new(check, Health::Unknown, error.what()),
        };
        let listed = match self.cluster.send(&call, self.budget).await {
            Ok(answer) if answer.status == 403 => {
                let said =
                    "this minter may not list Secrets, which is right: whether there are others is unknown";
                return Finding::new(check, Health::Unknown, said);
            }
            Ok(answer) if answer.status == 200 => answer.parse::<List>(&call),
            Ok(answer) => return Finding::new(check, Health::Unknown, unexpected(&answer)),
            Err(unanswered) => return Finding::new(check, Health::Unknown, unanswered.error.what()),
        };
        match listed {
            Ok(list) => {
                let others = if list.items.is_empty() {
                    "holds only anchors"
                } else {
                    "holds other Secrets"
                };
                Finding::new(
                    check,
                    Health::Warning,
                    format!("this minter may list Secrets, so it can read them, and the namespace {others}"),
                )
                .fix("remove `list` from the minter's role, and keep no other Secrets in the namespace of the anchors")
            }
            Err(error) => Finding::new(check, Health::Unknown, error.what()),
        }
    }
}

fn finding(check: &'static str, answer: &Answer, refused: &str, allowed: &str, fix: &str) -> Finding {
    match Enforcement::by(answer) {
        Enforcement::Enforced => Finding::new(check, Health::Ok, refused),
        Enforcement::NotEnforced => Finding::new(check, Health::Warning, allowed).fix(fix),
        Enforcement::Unknown => Finding::new(check, Health::Unknown, unexpected(answer)),
    }
}

fn unexpected(answer: &Answer) -> String {
    format!("the API server answered {} {}", answer.status, answer.message())
        .trim_end()
        .to_owned()
}
