//! The checks that send requests: the connection to the API server, its version and clock, the user, and the
//! minter's permissions.

use jiff::Timestamp;
use serde::Deserialize;

use super::{Finding, Health};
use crate::{
    access::{self, SelfReview, Verdict},
    cluster::{Answer, Budget, Call, Cluster, Connection, Identity, probe},
    error::{Error, Kind},
    inputs::spec::{Spec, TokenType},
    rbac::Permission,
    refusal::advice::{self, For},
    text::{harmless, in_words},
};

/// The greatest difference between two clocks without a warning, in seconds. Such a difference proves
/// nothing: the Date header has no fractions, and an answer takes some time to arrive.
const SKEW: i64 = 30;
/// The first minor release that jobpass supports.
const OLDEST: u32 = 27;
/// The first minor release with ValidatingAdmissionPolicies.
const WITH_POLICIES: u32 = 30;

/// The user to whom the API server maps the credential.
pub(super) struct User {
    name: Option<String>,
    /// Whether the user may read Secrets. No minter needs that.
    reads_secrets: bool,
}

/// The checks that send requests, and the values that they share.
pub(super) struct ApiChecks<'a> {
    pub(super) cluster: &'a Cluster,
    pub(super) spec: &'a Spec,
    pub(super) budget: &'a Budget,
}

/// Checks the connection to the job's server. Only a token could show whether that server accepts tokens.
pub(super) async fn check_job_server(server: &Connection, budget: &Budget) -> Finding {
    let answered = async {
        let cluster = Cluster::other("the job's server", server, &Identity::default())?;
        probe::ask(&cluster, budget).await
    };
    match answered.await {
        Ok(_) => Finding::new("job server", Health::Ok, harmless(&server.server)),
        Err(error) => Finding::new("job server", Health::Warning, error.message())
            .fix(error.next_step().unwrap_or_default()),
    }
}

impl<'a> ApiChecks<'a> {
    pub(super) fn new(cluster: &'a Cluster, spec: &'a Spec, budget: &'a Budget) -> Self {
        Self {
            cluster,
            spec,
            budget,
        }
    }

    /// Checks the connection, the user and the permissions. Returns the user. Returns `None` if minting is
    /// certain to fail at an earlier point.
    pub(super) async fn check_access(&self, findings: &mut Vec<Finding>) -> Option<User> {
        let answer = match self.reach().await {
            Ok(answer) => answer,
            Err(error) => {
                findings.push(Finding::failed("reachable", &error));
                return None;
            }
        };
        findings.push(Finding::new(
            "reachable",
            Health::Ok,
            "the API server answers, and its certificate is valid",
        ));
        findings.push(version(&answer, |text| self.shown(text)));
        let now = Timestamp::now();
        findings.extend(answer.date.map(|server| clock(server, now)));
        if let Some(step) = answer.refused_by_another() {
            let said = format!("a program other than the API server answered {}", answer.status);
            findings.push(Finding::new("user", Health::Failed(Kind::Refused), said).fix(step));
            return None;
        }
        if answer.status == 401 {
            findings.push(self.unauthenticated());
            return None;
        }
        let name = match self.user_name().await {
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
        findings.extend(self.everything().await);
        let user = User {
            name,
            reads_secrets: verdict == Verdict::Allowed,
        };
        findings.extend(self.permissions(&user).await);
        Some(user)
    }

    /// The finding for a minter that may do everything, such as an administrator.
    async fn everything(&self) -> Option<Finding> {
        let all = Permission::everything();
        let (verdict, _) = access::review(self.cluster, &all, &self.spec.namespace, self.budget).await;
        (verdict == Verdict::Allowed).then(|| {
            Finding::new("rights", Health::Warning, advice::MIGHTY).fix(advice::lesser_minter(self.spec))
        })
    }

    async fn reach(&self) -> Result<Answer, Error> {
        let call = Call::get("reach the API server", "/version")?;
        Ok(self.cluster.send(&call, self.budget).await?)
    }

    /// Asks the API server for the user's name. Kubernetes 1.27 cannot return the name.
    async fn user_name(&self) -> Result<String, Finding> {
        let asked = SelfReview::ask(self.cluster, self.budget).await;
        let answer = match asked.map_err(|error| Finding::failed("user", &error))? {
            SelfReview::User(user) => return Ok(self.shown(&user.username.unwrap_or_default())),
            SelfReview::Unsupported => {
                return Err(Finding::new(
                    "user",
                    Health::Unknown,
                    "the API server cannot name the user, because it is older than Kubernetes 1.28",
                ));
            }
            SelfReview::Refused(_, answer) => answer,
        };
        match answer.status {
            401 => Err(self.unauthenticated()),
            _ => Err(Finding::new("user", Health::Unknown, answer.in_words())),
        }
    }

    /// The finding for an answer of 401.
    fn unauthenticated(&self) -> Finding {
        let said = "the API server answered 401: it does not know this credential";
        Finding::new("user", Health::Failed(Kind::Refused), said).fix(self.cluster.unauthorized())
    }

    /// Asks whether the minter has each permission that minting needs, all at the same time.
    async fn permissions(&self, user: &User) -> Vec<Finding> {
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
                ["create", "delete"].map(|verb| {
                    (
                        "may create a ServiceAccount and a Role for one job",
                        verb,
                        resource,
                        "",
                    )
                })
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

    /// Makes text from the server safe to show. Otherwise the text could hold control characters, or echo the
    /// bearer token of the request.
    fn shown(&self, text: &str) -> String {
        harmless(&self.cluster.without_bearer(text))
    }

    /// The command with which an administrator gives the minter its permissions. If the user may read
    /// Secrets, the command does not make that user the minter: it creates a separate account.
    pub(super) fn setup(&self, user: &User) -> String {
        let spec = self.spec;
        if spec.token_type == TokenType::Legacy {
            return "an administrator creates an account that may create, get and delete Secrets, in a \
                namespace that holds nothing else. Use the account for nothing else"
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
                "this user may read Secrets, and a minter must not: run `jobpass doctor` with the minter's \
                 own credential. An administrator creates a minter with `{command}`"
            ),
            false => format!("an administrator runs `{command}`"),
        }
    }
}

/// `GET /version`.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Version {
    major: String,
    minor: String,
    git_version: String,
}

/// The finding about the API server's release. `shown` makes its text safe to show.
fn version(answer: &Answer, shown: impl Fn(&str) -> String) -> Finding {
    let check = "version";
    let version = serde_json::from_slice::<Version>(&answer.body).unwrap_or_default();
    // Some providers write `27+`.
    let minor = version.minor.trim_end_matches('+').parse::<u32>();
    let (true, Ok(minor)) = (answer.status == 200 && version.major == "1", minor) else {
        let said = "the API server does not tell its version to this minter";
        return Finding::new(check, Health::Unknown, said);
    };
    let said = format!(
        "Kubernetes {}",
        shown(version.git_version.trim_start_matches('v'))
    );
    match lacking(minor) {
        None => Finding::new(check, Health::Ok, said),
        Some(fix) => Finding::new(check, Health::Warning, said).fix(fix),
    }
}

/// The features that a release lacks, if any.
fn lacking(minor: u32) -> Option<String> {
    if minor < OLDEST {
        return Some(format!(
            "upgrade the cluster: jobpass supports Kubernetes 1.{OLDEST} and later"
        ));
    }
    (minor < WITH_POLICIES).then(|| {
        format!(
            "admission policies need Kubernetes 1.{WITH_POLICIES} or later. Without them nothing limits a \
             minter to bound tokens and empty anchors"
        )
    })
}

/// The finding about the clocks of the API server and of this machine.
fn clock(server: Timestamp, here: Timestamp) -> Finding {
    let ahead = server.as_second() - here.as_second();
    if ahead.abs() <= SKEW {
        let said = format!("agrees with the API server's clock, within {SKEW} s");
        return Finding::new("clock", Health::Ok, said);
    }
    let direction = if ahead > 0 { "behind" } else { "ahead of" };
    let words = in_words(ahead.unsigned_abs());
    let said = format!("this machine's clock is {words} {direction} the API server's");
    let fix = "correct the wrong clock: a token that is valid by one clock is expired, or not valid yet, by \
        the other";
    Finding::new("clock", Health::Warning, said).fix(fix)
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::new(
        200,
        r#"{"major":"1","minor":"37","gitVersion":"v1.37.0","new":1}"#,
        "ok: Kubernetes 1.37.0"
    )]
    #[case::provider(
        200,
        r#"{"major":"1","minor":"30+","gitVersion":"v1.30.1-eks"}"#,
        "ok: Kubernetes 1.30.1-eks"
    )]
    #[case::no_policies(
        200,
        r#"{"major":"1","minor":"29","gitVersion":"v1.29.3"}"#,
        "warning: Kubernetes 1.29.3"
    )]
    #[case::too_old(
        200,
        r#"{"major":"1","minor":"26","gitVersion":"v1.26.0"}"#,
        "warning: Kubernetes 1.26.0"
    )]
    #[case::major(
        200,
        r#"{"major":"2","minor":"0","gitVersion":"v2.0.0"}"#,
        "unknown: the API server does not tell"
    )]
    #[case::forbidden(
        403,
        r#"{"kind":"Status","code":403}"#,
        "unknown: the API server does not tell"
    )]
    #[case::something_else(200, "<html>", "unknown: the API server does not tell")]
    fn a_release_has_what_jobpass_needs(#[case] status: u16, #[case] body: &str, #[case] expected: &str) {
        let answer = Answer::new(status, Some(body.as_bytes().to_vec().into()));
        let finding = version(&answer, str::to_owned);
        let text = format!("{}: {}", finding.health.word(), finding.said);
        assert!(text.starts_with(expected), "{text}");
        assert_eq!(finding.fix.is_empty(), finding.health != Health::Warning);
    }

    #[rstest]
    #[case(0, "ok: agrees with the API server's clock, within 30 s")]
    #[case(-30, "ok: agrees with the API server's clock, within 30 s")]
    #[case(31, "warning: this machine's clock is 31 s behind the API server's")]
    #[case(-600, "warning: this machine's clock is 10 min ahead of the API server's")]
    fn clocks_agree_within_half_a_minute(#[case] ahead: i64, #[case] expected: &str) {
        let here = Timestamp::from_second(1_800_000_000).expect("a time");
        let finding = clock(here + SignedDuration::from_secs(ahead), here);
        assert_eq!(format!("{}: {}", finding.health.word(), finding.said), expected);
    }
}
