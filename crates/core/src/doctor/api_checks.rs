//! The checks of the connection to the API server and to the job's server, of the API server's version and
//! clock, of the user, and of the minter's permissions.

use futures_util::future::join_all;
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

/// The greatest difference between two clocks without a warning, in seconds. A small difference may come from
/// the comparison: the Date header has whole seconds, and an answer takes some time to arrive.
const SKEW: i64 = 30;
/// The first minor release that jobpass supports.
const OLDEST: u32 = 27;
/// The first minor release in which ValidatingAdmissionPolicies are stable.
const WITH_POLICIES: u32 = 30;

/// The user to whom the API server maps the credential.
pub(super) struct User {
    name: Option<String>,
    /// Whether the user may read Secrets. No minter of bound tokens needs that.
    reads_secrets: bool,
}

/// The connection and the settings that the checks share.
pub(super) struct ApiChecks<'a> {
    pub(super) cluster: &'a Cluster,
    pub(super) spec: &'a Spec,
    pub(super) budget: &'a Budget,
}

/// Checks the connection to the job's server. Only a token could show whether that server accepts tokens.
pub(super) async fn check_job_server(server: &Connection, budget: &Budget) -> Finding {
    let cluster = match Cluster::other("the job's server", server, &Identity::default()) {
        Ok(cluster) => cluster,
        Err(error) => return Finding::failed("job server", &error),
    };
    match probe::ask(&cluster, budget).await {
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

    /// Checks the connection, the user and the permissions. Returns the user. Returns `None` if the
    /// connection or the authentication fails, or if another program answers, because the later checks are
    /// then impossible.
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
        // An admission webhook may refuse with any status and without a reason.
        let by_webhook = answer.denial().is_some();
        if let Some(step) = answer.refused_by_another()
            && !by_webhook
        {
            let said = format!("a program other than the API server answered {}", answer.status);
            findings.push(Finding::new("user", Health::Failed(Kind::Refused), said).fix(step));
            return None;
        }
        if answer.status == 401 && !by_webhook {
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

    /// Asks the API server for the user's name. Before Kubernetes 1.28, it can name the user only if an
    /// administrator enabled an alpha or beta API.
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
            401 if answer.denial().is_none() => Err(self.unauthenticated()),
            _ => Err(Finding::new("user", Health::Unknown, answer.in_words())),
        }
    }

    /// The finding for an answer of 401.
    fn unauthenticated(&self) -> Finding {
        let said = "the API server answered 401: it does not accept this credential";
        Finding::new("user", Health::Failed(Kind::Refused), said).fix(self.cluster.unauthorized())
    }

    /// Asks whether the minter has each permission that minting needs, all at the same time.
    async fn permissions(&self, user: &User) -> Vec<Finding> {
        let Spec {
            service_account,
            token_type,
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
        let reviews = needed.map(async |(check, verb, target, name)| {
            let permission = Permission::built_in(verb, target, name);
            self.may(check, &[permission], user).await
        });
        let (mut findings, role) = tokio::join!(join_all(reviews), self.role_of_one_job(user));
        findings.extend(role);
        findings
    }

    /// Asks whether the minter may create and delete the objects of a job's own role.
    async fn role_of_one_job(&self, user: &User) -> Option<Finding> {
        if self.spec.rules.is_empty() {
            return None;
        }
        let permissions = ["serviceaccounts", "roles", "rolebindings"]
            .map(|resource| ["create", "delete"].map(|verb| Permission::built_in(verb, resource, "")));
        let check = "may manage the role of one job";
        Some(self.may(check, permissions.as_flattened(), user).await)
    }

    /// The finding about permissions that minting needs. If some are missing, it lists only the missing ones.
    async fn may(&self, check: &'static str, permissions: &[Permission], user: &User) -> Finding {
        let namespace = &self.spec.namespace;
        let reviews = permissions
            .iter()
            .map(|permission| access::review(self.cluster, permission, namespace, self.budget));
        let reviews = join_all(reviews).await;
        let those = |wanted| {
            let those = permissions
                .iter()
                .zip(&reviews)
                .filter(|(_, (verdict, _))| *verdict == wanted)
                .map(|(permission, _)| permission.to_string());
            those.collect::<Vec<_>>().join(", ")
        };
        let missing = those(Verdict::Denied);
        if !missing.is_empty() {
            let said = format!("the minter may not {missing} in namespace {namespace}");
            let fix = format!("{}{}", self.whom().check(), self.setup(user));
            return Finding::new(check, Health::Failed(Kind::Refused), said).fix(fix);
        }
        match reviews.iter().find(|(verdict, _)| *verdict == Verdict::Unknown) {
            Some((_, why)) => {
                let unknown = those(Verdict::Unknown);
                Finding::new(
                    check,
                    Health::Unknown,
                    format!("{unknown} in namespace {namespace}: {why}"),
                )
            }
            None => {
                let all = those(Verdict::Allowed);
                Finding::new(check, Health::Ok, format!("{all} in namespace {namespace}"))
            }
        }
    }

    /// Makes text from the server safe to show. Otherwise the text could hold control characters, or echo the
    /// bearer token of the request.
    fn shown(&self, text: &str) -> String {
        harmless(&self.cluster.without_bearer(text))
    }

    /// The next step that gives the minter its permissions: the command for an administrator, or for legacy
    /// tokens a description of the account. If the user may read Secrets, or sends the token of a job, the
    /// command does not make that user the minter: it creates a separate account.
    pub(super) fn setup(&self, user: &User) -> String {
        let spec = self.spec;
        if spec.token_type == TokenType::Legacy {
            return "an administrator creates an account that may create, get and delete Secrets, in a \
                namespace that holds nothing else. Use the account for nothing else"
                .into();
        }
        let minter = user
            .name
            .as_deref()
            .filter(|_| !user.reads_secrets && !self.cluster.asks_as_a_job());
        let command = advice::command(&spec.namespace, self.whom(), minter);
        match user.reads_secrets {
            true => format!(
                "run `jobpass doctor` with the minter's own credential: this user may read Secrets, and a \
                 minter must not. An administrator creates a minter with `{command}`"
            ),
            false => format!("an administrator runs `{command}`"),
        }
    }

    fn whom(&self) -> For<'_> {
        match &*self.spec.rules {
            [] => For::Account(&self.spec.service_account),
            rules => For::Jobs(rules),
        }
    }
}

/// The answer to `GET /version`.
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

/// The next step for a release that is too old. `None` for other releases.
fn lacking(minor: u32) -> Option<String> {
    if minor < OLDEST {
        return Some(format!(
            "upgrade the cluster: jobpass supports Kubernetes 1.{OLDEST} and later"
        ));
    }
    (minor < WITH_POLICIES).then(|| {
        format!(
            "the admission policies of `jobpass setup` need Kubernetes 1.{WITH_POLICIES} or later. Without \
             them, nothing limits a minter to bound tokens and empty anchors"
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
    use crate::{
        cluster::{
            Identity,
            scripted::{self, Fate},
        },
        inputs::options::{Inputs, Opt},
    };

    /// The finding about a job's own role, if the API server answers each review with this status.
    async fn about_the_role_of_one_job(status: &str) -> Finding {
        let inputs = Inputs::from([(Opt::RoleRules, "get pods"), (Opt::Namespace, "ci")]);
        let spec = Spec::parse(&inputs, None).expect("a spec");
        let review = format!(r#"{{"kind":"SelfSubjectAccessReview","spec":{{}},"status":{status}}}"#);
        let (cluster, _) = scripted::cluster(&Identity::default(), [Fate::answer(201, review)]);
        let budget = Budget::new(std::time::Duration::from_secs(10));
        let checks = ApiChecks::new(&cluster, &spec, &budget);
        let user = User {
            name: Some("jane".into()),
            reads_secrets: false,
        };
        let findings = checks.permissions(&user).await;
        let about = |finding: &Finding| finding.check == "may manage the role of one job";
        let mut findings = findings.into_iter().filter(about);
        let finding = findings.next().expect("a finding");
        assert!(findings.next().is_none(), "one finding has one next step");
        finding
    }

    #[rstest]
    #[case::allowed(
        r#"{"allowed":true}"#,
        Health::Ok,
        "create serviceaccounts, delete serviceaccounts, create roles"
    )]
    #[case::denied(
        r#"{"allowed":false}"#,
        Health::Failed(Kind::Refused),
        "the minter may not create serviceaccounts, delete serviceaccounts, create roles"
    )]
    #[tokio::test]
    async fn a_role_of_one_job_is_one_finding(
        #[case] status: &str,
        #[case] health: Health,
        #[case] said: &str,
    ) {
        let finding = about_the_role_of_one_job(status).await;
        assert_eq!(finding.health, health);
        assert!(finding.said.starts_with(said), "{}", finding.said);
        assert!(finding.said.ends_with("in namespace ci"), "{}", finding.said);
        let check = "check input `namespace`. If it is right, an administrator runs `jobpass setup ";
        assert_eq!(finding.fix.starts_with(check), health != Health::Ok);
    }

    /// The command would create an account with a misspelt name.
    #[rstest]
    #[case::a_minter(false, "an administrator runs `jobpass setup --service-account scannr ")]
    #[case::an_administrator(true, "run `jobpass doctor` with the minter's own credential: ")]
    #[tokio::test]
    async fn the_inputs_are_checked_before_somebody_gets_permissions(
        #[case] reads_secrets: bool,
        #[case] then: &str,
    ) {
        let inputs = Inputs::from([(Opt::ServiceAccount, "scannr"), (Opt::Namespace, "ci")]);
        let spec = Spec::parse(&inputs, None).expect("a spec");
        let review = r#"{"kind":"SelfSubjectAccessReview","spec":{},"status":{"allowed":false}}"#;
        let (cluster, _) = scripted::cluster(&Identity::default(), [Fate::answer(201, review)]);
        let budget = Budget::new(std::time::Duration::from_secs(10));
        let checks = ApiChecks::new(&cluster, &spec, &budget);
        let user = User {
            name: Some("jane".into()),
            reads_secrets,
        };
        for finding in checks.permissions(&user).await {
            let expected =
                format!("check inputs `service-account` and `namespace`. If they are right, {then}");
            assert!(finding.fix.starts_with(&expected), "{}", finding.fix);
        }
    }

    /// A gateway's answer says that no later check is possible. A webhook refuses only the one request.
    #[rstest]
    #[case::a_gateway(403, "<html>", &["failed user: a program other than the API server answered 403"])]
    #[case::unauthorized(401, r#"{"kind":"Status","reason":"Unauthorized","code":401}"#, &[
        "failed user: the API server answered 401: it does not accept this credential",
    ])]
    #[case::a_webhook(403, WEBHOOK, &["unknown user: the API server answered 403 admission webhook \"a.b\" denied the request"])]
    #[case::a_webhook_that_says_401(401, WEBHOOK, &[
        "unknown user: the API server answered 401 admission webhook \"a.b\" denied the request",
    ])]
    #[tokio::test]
    async fn a_webhook_is_no_gateway(#[case] status: u16, #[case] body: &str, #[case] expected: &[&str]) {
        let inputs = Inputs::from([(Opt::ServiceAccount, "scanner"), (Opt::Namespace, "ci")]);
        let spec = Spec::parse(&inputs, None).expect("a spec");
        let (cluster, _) = scripted::cluster(&Identity::default(), [Fate::answer(status, body)]);
        let budget = Budget::new(std::time::Duration::from_secs(10));
        let mut findings = Vec::new();
        ApiChecks::new(&cluster, &spec, &budget)
            .check_access(&mut findings)
            .await;
        let of_user = findings.iter().filter(|finding| finding.check == "user");
        let said = of_user.map(|finding| format!("{} user: {}", finding.health.word(), finding.said));
        assert_eq!(said.collect::<Vec<_>>(), expected);
    }

    const WEBHOOK: &str =
        r#"{"kind":"Status","message":"admission webhook \"a.b\" denied the request","code":403}"#;

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
