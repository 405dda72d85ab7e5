//! What only the API server knows.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Finding, Health};
use crate::{
    access::{self, Verdict},
    cluster::{Answer, Budget, Call, Cluster},
    error::{Error, Kind},
    inputs::spec::{Spec, TokenType},
    rbac::Permission,
    refusal::advice::{self, For},
    text::{harmless, in_words},
};

/// Seconds by which two clocks may differ: the API server says only the second, and answers take a while.
const SKEW: i64 = 30;
/// The first minor release that jobpass works with, and the first with admission policies.
const OLDEST: u32 = 27;
const WITH_POLICIES: u32 = 30;

/// The user of the credential that `doctor` was given, as the API server knows it.
pub(super) struct User {
    name: Option<String>,
    /// Whether it may read Secrets, as no minter needs to.
    reads_secrets: bool,
}

pub(super) struct ApiChecks<'a> {
    pub(super) cluster: &'a Cluster,
    pub(super) spec: &'a Spec,
    pub(super) budget: &'a Budget,
}

impl<'a> ApiChecks<'a> {
    pub(super) fn new(cluster: &'a Cluster, spec: &'a Spec, budget: &'a Budget) -> Self {
        Self {
            cluster,
            spec,
            budget,
        }
    }

    /// Whether the API server can be reached and knows us, and what it lets us do. Gives the user, if it knows one.
    pub(super) async fn about_access(&self, findings: &mut Vec<Finding>) -> Option<User> {
        let version_call = Call {
            doing: "reach the API server",
            method: http::Method::GET,
            path: "/version".into(),
            body: None,
        };
        let answer = match self.cluster.send(&version_call, self.budget).await {
            Ok(answer) => answer,
            Err(unanswered) => {
                findings.push(Finding::failed("reachable", &unanswered.error));
                return None;
            }
        };
        findings.push(Finding::new(
            "reachable",
            Health::Ok,
            "the API server answers, with a certificate that counts",
        ));
        findings.push(self.version(&answer));
        findings.extend(clock(&answer));
        if answer.status == 401 {
            findings.push(self.unknown_to_it());
            return None;
        }
        let user = self.who_am_i().await;
        let name = match user {
            Ok(name) => {
                findings.push(Finding::new("user", Health::Ok, &name));
                Some(name)
            }
            Err(finding) => {
                let failed = matches!(finding.health, Health::Failed(_));
                findings.push(finding);
                if failed {
                    return None;
                }
                None
            }
        };
        let read = Permission::built_in("get", "secrets", "");
        let (verdict, _) = access::review(self.cluster, &read, &self.spec.namespace, self.budget).await;
        let user = User {
            name,
            reads_secrets: verdict == Verdict::Allowed,
        };
        findings.extend(self.rights(&user).await);
        Some(user)
    }

    pub(super) async fn post(
        &self,
        doing: &'static str,
        path: String,
        body: Value,
    ) -> Result<(Call, Answer), Error> {
        let call = Call {
            doing,
            method: http::Method::POST,
            path,
            body: Some(body),
        };
        let answer = self.cluster.send(&call, self.budget).await?;
        Ok((call, answer))
    }

    /// Kubernetes 1.27 does not say.
    async fn who_am_i(&self) -> Result<String, Finding> {
        #[derive(Deserialize)]
        struct Review {
            status: Status,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Status {
            user_info: UserInfo,
        }
        #[derive(Deserialize)]
        struct UserInfo {
            username: String,
        }
        let body = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"});
        let path = "/apis/authentication.k8s.io/v1/selfsubjectreviews".to_owned();
        let asked = self.post("ask who this is", path, body).await;
        let (call, answer) = asked.map_err(|error| Finding::failed("user", &error))?;
        match answer.status {
            201 => {
                let review: Review = answer
                    .parse(&call)
                    .map_err(|error| Finding::failed("user", &error))?;
                Ok(self.shown(&review.status.user_info.username))
            }
            401 => Err(self.unknown_to_it()),
            404 => Err(Finding::new(
                "user",
                Health::Unknown,
                "this API server does not say; Kubernetes 1.28 and later do",
            )),
            status => Err(Finding::new(
                "user",
                Health::Unknown,
                format!("the API server answered {status} {}", answer.message()),
            )),
        }
    }

    fn unknown_to_it(&self) -> Finding {
        let said = "the API server answered 401: it does not know this credential";
        Finding::new("user", Health::Failed(Kind::Refused), said).fix(self.cluster.unauthorized())
    }

    /// Whether this minter may do what it takes, all asked at the same time.
    async fn rights(&self, user: &User) -> Vec<Finding> {
        let Spec {
            service_account,
            token_type,
            rules,
            namespace,
            ..
        } = self.spec;
        let needed = [
            ("may create anchors", "create", "secrets", ""),
            ("may delete anchors", "delete", "secrets", ""),
            match token_type {
                TokenType::Bound => (
                    "may create tokens",
                    "create",
                    "serviceaccounts/token",
                    &**service_account,
                ),
                TokenType::Legacy => ("may read Secrets", "get", "secrets", ""),
            },
        ];
        let for_one_job = ["serviceaccounts", "roles", "rolebindings"]
            .into_iter()
            .flat_map(|resource| {
                ["create", "delete"].map(|verb| ("may make a role for one job", verb, resource, ""))
            });
        let for_one_job = for_one_job.filter(|_| !rules.is_empty());
        let reviews = needed
            .into_iter()
            .chain(for_one_job)
            .map(async |(check, verb, target, name)| {
                let permission = Permission::built_in(verb, target, name);
                let what = format!("{permission} in namespace {namespace}");
                match access::review(self.cluster, &permission, namespace, self.budget).await {
                    (Verdict::Allowed, _) => Finding::new(check, Health::Ok, what),
                    (Verdict::Denied, _) => {
                        let said = format!("no: {what}");
                        Finding::new(check, Health::Failed(Kind::Refused), said).fix(self.setup(user))
                    }
                    (Verdict::Unknown, why) => Finding::new(check, Health::Unknown, format!("{what}: {why}")),
                }
            });
        futures_util::future::join_all(reviews).await
    }

    /// A server may say anything, and what it was sent among it.
    fn shown(&self, text: &str) -> String {
        harmless(&self.cluster.without_bearer(text))
    }

    fn version(&self, answer: &Answer) -> Finding {
        #[derive(Default, Deserialize)]
        #[serde(rename_all = "camelCase", default)]
        struct Version {
            major: String,
            minor: String,
            git_version: String,
        }
        let check = "version";
        let version = serde_json::from_slice::<Version>(&answer.body).unwrap_or_default();
        // Providers write `27+`.
        let minor = version.minor.trim_end_matches('+').parse::<u32>();
        let (true, Ok(minor)) = (answer.status == 200 && version.major == "1", minor) else {
            return Finding::new(check, Health::Unknown, "the API server does not tell this minter");
        };
        let said = format!(
            "Kubernetes {}",
            self.shown(version.git_version.trim_start_matches('v'))
        );
        match lacking(minor) {
            None => Finding::new(check, Health::Ok, said),
            Some(fix) => Finding::new(check, Health::Warning, said).fix(fix),
        }
    }

    /// The command that makes it right. It makes no minter of a user who may read Secrets.
    pub(super) fn setup(&self, user: &User) -> String {
        let spec = self.spec;
        if spec.token_type == TokenType::Legacy {
            return "an administrator: an account for nothing else that may create, get and delete Secrets, in a namespace that holds \
                    nothing else"
                .into();
        }
        let whom = match &*spec.rules {
            [] => For::Account(&spec.service_account),
            rules => For::Jobs(rules),
        };
        let minter = user
            .name
            .as_deref()
            .filter(|_| !user.reads_secrets && !self.cluster.asks_as_a_job());
        let command = advice::command(&spec.namespace, whom, minter);
        match user.reads_secrets {
            true => format!(
                "this user may read Secrets, as no minter should: run `jobpass doctor` with the minter's own credential. An \
                 administrator makes a minter with `{command}`"
            ),
            false => format!("an administrator: `{command}`"),
        }
    }
}

fn lacking(minor: u32) -> Option<String> {
    if minor < OLDEST {
        return Some(format!("jobpass is made for 1.{OLDEST} and later"));
    }
    (minor < WITH_POLICIES).then(|| {
        format!(
            "admission policies, which hold a minter to bound tokens and empty anchors, are there from 1.{WITH_POLICIES} on"
        )
    })
}

fn clock(answer: &Answer) -> Option<Finding> {
    let ahead = answer.date?.as_second() - jiff::Timestamp::now().as_second();
    let words = in_words(ahead.unsigned_abs());
    if ahead.abs() <= SKEW {
        let said = format!("as the API server's, to within {SKEW} s");
        return Some(Finding::new("clock", Health::Ok, said));
    }
    let which = if ahead > 0 { "behind" } else { "ahead of" };
    let said = format!("this machine's is {words} {which} the API server's");
    let fix = "tokens begin and end by the clock of who looks at them: set this machine's, or the API server's, right";
    Some(Finding::new("clock", Health::Warning, said).fix(fix))
}
