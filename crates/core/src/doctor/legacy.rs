//! What legacy tokens there are that nobody will ever take away, and whether another may be made.

use std::time::Duration;

use serde_json::json;

use super::{Finding, Health, api_checks::ApiChecks};
use crate::{
    anchor::{
        legacy::{ACCOUNT, EXPIRATION, TYPE},
        list::Pages,
    },
    cluster::{Denial, Scope},
    error::Kind,
    names,
};

/// So many are named.
const NAMED: usize = 5;
const CHECK: &str = "legacy tokens";
/// For all pages.
const PATIENCE: Duration = Duration::from_secs(10);
/// So many pages are looked at.
const MOST_PAGES: usize = 20;

impl ApiChecks<'_> {
    /// Secrets with legacy tokens that neither expire nor belong to anything.
    pub(super) async fn about_forgotten_tokens(&self) -> Finding {
        let looked = tokio::time::timeout(PATIENCE, self.forgotten_tokens()).await;
        looked.unwrap_or_else(|_| {
            Finding::new(
                CHECK,
                Health::Unknown,
                "the API server takes too long to list Secrets",
            )
        })
    }

    async fn forgotten_tokens(&self) -> Finding {
        let check = CHECK;
        let namespace = &self.spec.namespace;
        let scope = Scope::Namespace(namespace.clone());
        let mut pages = Pages::forgotten(self.cluster, &scope);
        let (mut names, mut more, mut complete) = (Vec::new(), 0, false);
        for _ in 0..MOST_PAGES {
            match pages.next().await {
                Ok(Some(page)) => {
                    let room = NAMED - names.len();
                    more += page.anchors.len().saturating_sub(room);
                    names.extend(page.anchors.into_iter().take(room).map(|secret| secret.name));
                }
                Ok(None) => {
                    complete = true;
                    break;
                }
                Err(error) => {
                    let why = match error.kind() {
                        Kind::Refused => format!(
                            "this minter may not list Secrets in namespace {namespace}, as it should be"
                        ),
                        _ => error.what().to_owned(),
                    };
                    return Finding::new(check, Health::Unknown, why);
                }
            }
        }
        if names.is_empty() && complete {
            let said = format!("none in namespace {namespace} that nothing will ever delete");
            return Finding::new(check, Health::Ok, said);
        }
        let names = names.join(", ");
        let more = match (more, complete) {
            (0, true) => String::new(),
            (more, true) => format!(", and {more} more"),
            (more, false) => format!(", and {more} more at least"),
        };
        let said =
            format!("in namespace {namespace}, these neither expire nor belong to anything: {names}{more}");
        Finding::new(check, Health::Warning, said).fix(format!(
            "whoever has read one has it for ever. Delete those that nobody uses (label kubernetes.io/legacy-token-last-used), `jobpass \
             rotate` the others, and say when they are to go, for `jobpass sweep`:\n\n  \
             kubectl annotate secret NAME --namespace {namespace} {EXPIRATION}=SECONDS_AFTER_CREATION"
        ))
    }

    /// Whether the minter may create a legacy Secret, in a dry run.
    pub(super) async fn about_legacy_secrets(&self) -> Finding {
        let check = "policy for anchors";
        let Ok(name) = names::random_name() else {
            return Finding::new(check, Health::Unknown, "the system gives no random numbers");
        };
        let annotations = json!({ ACCOUNT: self.spec.service_account });
        let body = json!({"apiVersion": "v1", "kind": "Secret", "type": TYPE, "metadata": {"name": name, "annotations": annotations}});
        let path = format!("/api/v1/namespaces/{}/secrets?dryRun=All", self.spec.namespace);
        match self.post("try a legacy Secret", path, body).await {
            Ok((_, answer)) if answer.status == 201 => {
                Finding::new(check, Health::Ok, "none refuses the Secret of a legacy token")
            }
            Ok((_, answer)) if matches!(answer.denial(), Some(Denial::Policy(_))) => Finding::new(
                check,
                Health::Failed(Kind::Refused),
                "one refuses the Secrets of legacy tokens, as those of `jobpass setup` do on purpose",
            )
            .fix("use `type: bound`; or, where old tooling cannot do without, a minter to which no such policy applies"),
            Ok((_, answer)) => {
                let said = format!("the API server answered {} {}", answer.status, answer.message());
                Finding::new(check, Health::Unknown, said)
            }
            Err(error) => Finding::new(check, Health::Unknown, error.what()),
        }
    }
}
