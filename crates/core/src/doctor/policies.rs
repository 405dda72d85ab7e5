//! Whether admission policies hold the minter to what it needs.

use serde::Deserialize;
use serde_json::json;

use super::{
    Finding, Result,
    asking::{Asking, User},
};
use crate::{
    anchor,
    cluster::{Answer, Call},
    error::Kind,
};

impl Asking<'_> {
    /// Whether what a minter must not do is refused, asked in ways that change nothing: a Secret that is only tried, and a token
    /// that would be bound to what does not exist.
    pub(super) async fn about_policies(&self, user: &User, findings: &mut Vec<Finding>) {
        let fix = self.setup(user);
        let (anchors, tokens, others) = tokio::join!(
            self.other_secrets(&fix),
            self.loose_tokens(&fix),
            self.in_namespace()
        );
        findings.extend(tokens);
        findings.push(anchors);
        findings.push(others);
    }

    /// A Secret that is no anchor, in a dry run.
    async fn other_secrets(&self, fix: &str) -> Finding {
        let check = "policy for anchors";
        let Ok(name) = anchor::random_name() else {
            return Finding::new(check, Result::Unknown, "the system gives no random numbers");
        };
        let body =
            json!({"apiVersion": "v1", "kind": "Secret", "type": "Opaque", "metadata": {"name": name}});
        let path = format!("/api/v1/namespaces/{}/secrets?dryRun=All", self.spec.namespace);
        match self.post("try a Secret that is no anchor", path, body).await {
            Ok((_, answer)) if is_by_policy(&answer) => {
                Finding::new(check, Result::Ok, "a Secret that is no anchor is refused")
            }
            Ok((_, answer)) if answer.status == 201 => Finding::new(
                check,
                Result::Warning,
                "none: this minter may create any Secret, and delete any",
            )
            .fix(fix),
            Ok((_, answer)) => Finding::new(check, Result::Unknown, said(&answer)),
            Err(error) => Finding::new(check, Result::Unknown, error.what()),
        }
    }

    /// A token that is bound to a Secret which does not exist: no API server issues it (recorded, `token-bound-missing-secret`).
    /// Policies are asked before the Secret is looked up. A dry run would be no help: it gives a live token.
    async fn loose_tokens(&self, fix: &str) -> Vec<Finding> {
        let (exists, check) = ("ServiceAccount", "policy for tokens");
        let account = &self.spec.service_account;
        // It is made for the job; there is none to ask about.
        if !self.spec.rules.is_empty() {
            let said = "with `rules`, it shows only when a job's ServiceAccount is there";
            return vec![Finding::new(check, Result::Unknown, said)];
        }
        let there = Finding::new(exists, Result::Ok, format!("{account} is there"));
        let Ok(name) = anchor::random_name() else {
            return vec![Finding::new(
                check,
                Result::Unknown,
                "the system gives no random numbers",
            )];
        };
        let body = json!({
            "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
            "spec": {"boundObjectRef": {"apiVersion": "v1", "kind": "Secret", "name": name}},
        });
        let path = format!(
            "/api/v1/namespaces/{}/serviceaccounts/{account}/token",
            self.spec.namespace
        );
        let answer = match self.post("try a token that nobody issues", path, body).await {
            Ok((_, answer)) => answer,
            Err(error) => return vec![Finding::new(check, Result::Unknown, error.what())],
        };
        match answer.status {
            404 if answer.message().starts_with("serviceaccounts ") => {
                let (namespace, said) = (
                    &self.spec.namespace,
                    format!("there is no {account} in {}", self.spec.namespace),
                );
                vec![
                    Finding::new(exists, Result::Failed(Kind::Refused), said).fix(format!(
                        "`kubectl create serviceaccount {account} --namespace {namespace}`"
                    )),
                ]
            }
            404 if answer.is_secret_not_found() => {
                let said = "none: this minter may bind a token to a Secret without naming its uid";
                vec![there, Finding::new(check, Result::Warning, said).fix(fix)]
            }
            _ if is_by_policy(&answer) => {
                let said = "a token that is not bound to one Secret, with its uid, is refused";
                vec![there, Finding::new(check, Result::Ok, said)]
            }
            _ => vec![Finding::new(check, Result::Unknown, said(&answer))],
        }
    }

    /// Whether the namespace of the anchors holds other Secrets. Only metadata is asked for.
    async fn in_namespace(&self) -> Finding {
        #[derive(Deserialize)]
        struct List {
            #[serde(default)]
            items: Vec<serde::de::IgnoredAny>,
        }
        let check = "other Secrets";
        let call = Call {
            doing: "list Secrets",
            method: http::Method::GET,
            path: format!(
                "/api/v1/namespaces/{}/secrets?limit=1&fieldSelector=type%21%3D{}",
                self.spec.namespace,
                anchor::TYPE.replace('/', "%2F")
            ),
            body: None,
        };
        let listed = match self.cluster.list(&call, self.budget).await {
            Ok(answer) if answer.status == 403 => {
                let said = "this minter may not list Secrets, as it should be: whether there are others is not known";
                return Finding::new(check, Result::Unknown, said);
            }
            Ok(answer) if answer.status == 200 => answer.parse::<List>(&call),
            Ok(answer) => return Finding::new(check, Result::Unknown, said(&answer)),
            Err(unanswered) => return Finding::new(check, Result::Unknown, unanswered.error.what()),
        };
        match listed {
            Ok(list) => {
                let others = if list.items.is_empty() {
                    "holds anchors alone"
                } else {
                    "holds other Secrets"
                };
                Finding::new(
                    check,
                    Result::Warning,
                    format!("this minter may list Secrets, so it can read them; the namespace {others}"),
                )
                .fix("take `list` away from it, and give the anchors a namespace that holds no other Secrets")
            }
            Err(error) => Finding::new(check, Result::Unknown, error.what()),
        }
    }
}

/// A refusal of an admission policy names it (recorded).
pub(super) fn is_by_policy(answer: &Answer) -> bool {
    matches!(answer.status, 403 | 422) && answer.message().contains("ValidatingAdmissionPolicy")
}

fn said(answer: &Answer) -> String {
    format!("the API server answered {} {}", answer.status, answer.message())
        .trim_end()
        .to_owned()
}
