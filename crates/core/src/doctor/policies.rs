//! Whether admission policies hold the minter to what it needs.

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
    /// Whether what a minter must not do is refused, asked in ways that change nothing: a Secret that is only tried, and a token
    /// that would be bound to what does not exist.
    pub(super) async fn about_policies(&self, user: &User, findings: &mut Vec<Finding>) {
        let fix = self.setup(user);
        let (anchors, tokens, roles, others) = tokio::join!(
            self.other_secrets(&fix),
            self.loose_tokens(&fix),
            self.other_roles(&fix),
            self.in_namespace()
        );
        findings.extend(tokens);
        findings.push(anchors);
        findings.extend(roles);
        findings.push(others);
    }

    /// A Secret that is no anchor.
    async fn other_secrets(&self, fix: &str) -> Finding {
        let call = enforcement::other_secret(&self.spec.namespace);
        let refused = "a Secret that is no anchor is refused";
        let taken = "none: this minter may create any Secret, and delete any";
        self.held("policy for anchors", call, refused, taken, fix).await
    }

    /// A Role that is no job's.
    async fn other_roles(&self, fix: &str) -> Option<Finding> {
        if self.spec.rules.is_empty() {
            return None;
        }
        let call = Ok(enforcement::other_role(&self.spec.namespace));
        let refused = "a Role that is no job's is refused";
        let taken = "none: this minter may make accounts that do whatever it may do itself";
        Some(self.held("policy for roles", call, refused, taken, fix).await)
    }

    /// A token that is bound to no anchor.
    async fn loose_tokens(&self, fix: &str) -> Vec<Finding> {
        let (exists, check) = ("ServiceAccount", "policy for tokens");
        let namespace = &self.spec.namespace;
        let (account, wrong) = match &*self.spec.rules {
            [] => (&*self.spec.service_account, Violation::Unpinned),
            // A job's own ServiceAccount does not exist yet. Every namespace has `default`, which no job is given.
            _ => ("default", Violation::Account),
        };
        let answer = match enforcement::token(namespace, account, wrong) {
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
                let said = format!("there is no {account} in {namespace}");
                return vec![
                    Finding::new(exists, Health::Failed(Kind::Refused), said).fix(format!(
                        "`kubectl create serviceaccount {account} --namespace {namespace}`"
                    )),
                ];
            }
            let is_there = matches!(
                Enforcement::by(&answer),
                Enforcement::Enforced | Enforcement::NotEnforced
            );
            findings
                .extend(is_there.then(|| Finding::new(exists, Health::Ok, format!("{account} is there"))));
        }
        let refused = match wrong {
            Violation::Account => "a token of a ServiceAccount that is not made for a job is refused",
            _ => "a token that is not bound to one Secret, with its uid, is refused",
        };
        let taken = match &*self.spec.rules {
            [] => "none: this minter may bind a token to a Secret without naming its uid",
            _ => "none: this minter may get tokens of any ServiceAccount of the namespace",
        };
        findings.push(finding(check, &answer, refused, taken, fix));
        findings
    }

    async fn held(
        &self,
        check: &'static str,
        call: Result<Call, Error>,
        refused: &str,
        taken: &str,
        fix: &str,
    ) -> Finding {
        let answer = match call {
            Ok(call) => self.cluster.send(&call, self.budget).await.map_err(Error::from),
            Err(error) => Err(error),
        };
        match answer {
            Ok(answer) => finding(check, &answer, refused, taken, fix),
            Err(error) => Finding::new(check, Health::Unknown, error.what()),
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
                return Finding::new(check, Health::Unknown, said);
            }
            Ok(answer) if answer.status == 200 => answer.parse::<List>(&call),
            Ok(answer) => return Finding::new(check, Health::Unknown, said(&answer)),
            Err(unanswered) => return Finding::new(check, Health::Unknown, unanswered.error.what()),
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
                    Health::Warning,
                    format!("this minter may list Secrets, so it can read them; the namespace {others}"),
                )
                .fix("take `list` away from it, and give the anchors a namespace that holds no other Secrets")
            }
            Err(error) => Finding::new(check, Health::Unknown, error.what()),
        }
    }
}

fn finding(check: &'static str, answer: &Answer, refused: &str, taken: &str, fix: &str) -> Finding {
    match Enforcement::by(answer) {
        Enforcement::Enforced => Finding::new(check, Health::Ok, refused),
        Enforcement::NotEnforced => Finding::new(check, Health::Warning, taken).fix(fix),
        Enforcement::Unknown => Finding::new(check, Health::Unknown, said(answer)),
    }
}

fn said(answer: &Answer) -> String {
    format!("the API server answered {} {}", answer.status, answer.message())
        .trim_end()
        .to_owned()
}
