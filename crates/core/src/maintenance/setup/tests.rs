use std::collections::BTreeSet;

use rstest::rstest;

use super::*;
use crate::text::{cel, quoted};

fn github() -> Wanted {
    Wanted {
        service_account: "scanner".into(),
        namespace: "ci".into(),
        duration: "1h".into(),
        repository_ids: vec!["2".into()],
        oidc_audience: Some("https://kubernetes.example.com".into()),
        git_ref: Some("refs/heads/main".into()),
        ..Wanted::default()
    }
}

fn some(text: &str) -> Option<String> {
    Some(text.to_owned())
}

fn refused(wanted: &Wanted) -> String {
    Setup::parse(wanted).map(|_| ()).expect_err("refused").to_string()
}

#[test]
fn what_a_maintainer_reviews() {
    let everything = Wanted {
        minters: vec![
            "user:jane doe".into(),
            "group:it's\\ci".into(),
            "serviceaccount:minter".into(),
            "serviceaccount:runners/runner".into(),
        ],
        audiences: "https://kubernetes.default.svc, vault".into(),
        sweeper_image: some("registry.example.com/jobpass:0.1.0"),
        example_rights: true,
        ..github()
    };
    let setup = Setup::parse(&everything).expect("parsed");
    insta::assert_snapshot!(setup.manifests());
}

#[test]
fn what_a_maintainer_reviews_where_jobs_bring_rules() {
    let wanted = |service_account: &str| Wanted {
        service_account: service_account.into(),
        rules: "get pods\ncreate pods/exec target-pod".into(),
        ..github()
    };
    let setup = Setup::parse(&wanted("")).expect("parsed");
    insta::assert_snapshot!(setup.manifests());
}

/// A set-up for an account and for jobs with rules equals two separate set-ups. So neither of the two removes
/// a permission of the other.
#[test]
fn set_ups_stand_side_by_side() {
    let documents = |service_account: &str, rules: &str| {
        let wanted = Wanted {
            service_account: service_account.into(),
            rules: rules.into(),
            ..github()
        };
        let setup = Setup::parse(&wanted).expect("parsed");
        let manifests = setup.manifests();
        manifests
            .split("---\n")
            .map(str::to_owned)
            .collect::<BTreeSet<_>>()
    };
    let (scanner, deployer) = (documents("scanner", ""), documents("deployer", ""));
    let jobs = documents("", "get pods");
    assert_eq!(documents("scanner", "get pods"), &scanner | &jobs);
    let in_common = [&scanner & &jobs, &scanner & &deployer];
    assert!(in_common.iter().all(|common| common.len() == 1), "{in_common:?}");
}

#[test]
fn what_the_api_server_reads() {
    insta::assert_snapshot!(
        Setup::parse(&github())
            .expect("parsed")
            .authentication()
            .expect("OIDC")
    );
    let gitlab = Wanted {
        repository_ids: vec![],
        project_ids: vec!["7".into(), "8".into()],
        owner_id: some("3"),
        issuer: some("https://gitlab.example.com/"),
        git_ref: some("protected"),
        environment: some("production: \"yes\""),
        ..github()
    };
    insta::assert_snapshot!(
        Setup::parse(&gitlab)
            .expect("parsed")
            .authentication()
            .expect("OIDC")
    );
}

/// Conditions on GitHub's jobs. Some allow several values of a claim.
#[test]
fn what_the_api_server_reads_about_workflows() {
    let workflows = Wanted {
        git_ref: None,
        environment: some("production"),
        workflow_refs: vec!["team/app/.github/workflows/deploy.yml@refs/heads/main".into()],
        job_workflow_refs: vec![
            "team/shared/.github/workflows/scan.yml@refs/tags/v1".into(),
            format!("team/shared/.github/workflows/scan.yml@{}", "0123abcd".repeat(5)),
        ],
        properties: vec!["env=prod: it's".into(), "team#1=a=b".into()],
        ..github()
    };
    let file = Setup::parse(&workflows).expect("parsed").authentication();
    insta::assert_snapshot!(file.expect("OIDC"));
}

/// Everybody who may push to a branch may edit its jobs. So setup warns if every branch may mint.
#[rstest]
#[case::every_branch(Wanted { git_ref: None, ..github() }, "jobs of every branch may mint")]
#[case::a_branch(github(), "")]
#[case::callers(
    Wanted { git_ref: None, job_workflow_refs: vec![WORKFLOW.into()], ..github() },
    "every branch may call the workflow"
)]
#[case::a_caller(
    Wanted { git_ref: None, workflow_refs: vec![WORKFLOW.into()], job_workflow_refs: vec![WORKFLOW.into()], ..github() },
    ""
)]
fn an_administrator_is_told_how_many_may_mint(#[case] wanted: Wanted, #[case] note: &str) {
    let notes = Setup::parse(&wanted).expect("parsed").notes();
    let notes = notes.iter().filter(|note| note.contains("every branch"));
    let notes = notes.collect::<Vec<_>>();
    assert_eq!(notes.len(), usize::from(!note.is_empty()), "{notes:?}");
    assert!(notes.iter().all(|said| said.starts_with(note)), "{notes:?}");
}

const WORKFLOW: &str = "team/app/.github/workflows/scan.yml@refs/heads/main";

/// Each instance of GitHub numbers its repositories independently. A repository with the same id on another
/// instance must not become the same user.
#[test]
fn the_same_id_of_two_issuers_is_two_users() {
    let issuers = [
        None,
        some("https://ghes.example.com/_services/token"),
        some("https://ghes.example.com:8443/_services/token"),
        some("https://token.actions.corp.ghe.com"),
        some("https://it's.example.com/_services/token"),
    ];
    let users = issuers.map(|issuer| {
        let setup = Setup::parse(&Wanted { issuer, ..github() }).expect("parsed");
        let expression = setup.authentication().expect("OIDC");
        let minters = setup.minters.clone();
        assert!(
            matches!(&*minters, [MinterSubject::User(user)] if expression.contains(&quoted(&format!("{} + claims.repository_id", cel(user.strip_suffix('2').expect("its id")))))),
            "{minters:?}\n{expression}"
        );
        format!("{minters:?}")
    });
    assert_eq!(users[0], r#"[User("ci:github:2")]"#);
    assert_eq!(users[1], r#"[User("ci:github:ghes.example.com:2")]"#);
    assert_eq!(BTreeSet::from(users).len(), 5);
}

/// The cases are names that YAML could read as another type, and text that tries to end its own quotes.
#[test]
fn no_value_leaves_its_place() {
    let hostile = Wanted {
        service_account: "null".into(),
        namespace: "0x1f".into(),
        minters: vec!["user:a'] || true || ['\"\\: {b} #c".into()],
        ..github()
    };
    let objects = Setup::parse(&hostile).expect("parsed").objects().expect("YAML");
    let titles = objects.iter().map(SetupObject::title).collect::<Vec<_>>();
    assert_eq!(titles[0], "Namespace 0x1f");
    assert_eq!(titles[1], "ServiceAccount 0x1f/null");
    let yaml = Setup::parse(&hostile).expect("parsed").manifests();
    // A CEL string inside a YAML string.
    assert!(
        yaml.contains(r#"in ['a\\'] || true || [\\'\"\\\\: {b} #c', 'ci:github:2']""#),
        "{yaml}"
    );
}

#[rstest]
#[case("user:system:masters", "begin with `system:`")]
#[case("group:system:authenticated", "begin with `system:`")]
#[case("user:", "which is empty or too long, has invisible characters")]
#[case("user:a\nb", "which is empty or too long, has invisible characters")]
#[case("jane", "does not begin with `user:`")]
#[case("role:jane", "does not begin with `user:`")]
#[case("serviceaccount:a/b/c", "which jobpass cannot use as a name")]
#[case("group:system:serviceaccounts:ci", "the jobs' own ServiceAccount")]
#[case("serviceaccount:scanner", "the jobs' own ServiceAccount")]
#[case("serviceaccount:jobpass-aaaaaaaaaaaaaaaaaaaa", "the accounts of single jobs")]
#[case("serviceaccount:jobpass-sweeper", "may read every Secret")]
fn minters_that_are_refused(#[case] minter: &str, #[case] why: &str) {
    let error = refused(&Wanted {
        minters: vec![minter.into()],
        ..github()
    });
    assert!(
        error.starts_with("input `minter`") && error.contains(why),
        "{error}"
    );
}

#[rstest]
#[case::names(Wanted { repository_ids: vec!["team/app".into()], ..github() }, "not an id")]
#[case::number(Wanted { owner_id: some("1; x"), ..github() }, "not an id")]
#[case::branch(Wanted { git_ref: some("main"), ..github() }, "not the whole name of a ref")]
#[case::audience(Wanted { oidc_audience: None, ..github() }, "input `oidc-audience` is missing")]
#[case::spaces(Wanted { oidc_audience: some("a b"), ..github() }, "an audience has no spaces")]
#[case::http(Wanted { issuer: some("http://ghes.example.com/_services/token"), ..github() }, "not the https URL")]
#[case::host(Wanted { issuer: some("https://ghes.example.com"), ..github() }, "`https://HOST/_services/token`")]
#[case::both(Wanted { project_ids: vec!["7".into()], ..github() }, "are both given")]
#[case::for_nobody(Wanted { repository_ids: vec![], ..github() }, "without `repository-id`")]
#[case::workflow_for_nobody(Wanted { repository_ids: vec![], oidc_audience: None, git_ref: None, workflow_refs: vec![WORKFLOW.into()], ..github() }, "input `workflow-ref` is given without `repository-id`")]
#[case::workflow_of_gitlab(Wanted { repository_ids: vec![], project_ids: vec!["7".into()], job_workflow_refs: vec![WORKFLOW.into()], ..github() }, "GitLab's ID tokens have no such claim")]
#[case::file(Wanted { workflow_refs: vec!["scan.yml".into()], ..github() }, "not the name of a workflow in an ID token")]
#[case::short_ref(Wanted { workflow_refs: vec!["team/app/.github/workflows/scan.yml@main".into()], ..github() }, "not the name of a workflow in an ID token")]
#[case::no_ref(Wanted { job_workflow_refs: vec!["team/app/.github/workflows/scan.yml".into()], ..github() }, "not the name of a workflow in an ID token")]
#[case::folder(Wanted { job_workflow_refs: vec!["team/app/workflows/scan.yml@refs/heads/main".into()], ..github() }, "not the name of a workflow in an ID token")]
#[case::no_value(Wanted { properties: vec!["env".into()], ..github() }, "not a custom property with a value")]
#[case::property_name(Wanted { properties: vec!["my env=prod".into()], ..github() }, "not a custom property with a value")]
#[case::empty(Wanted { properties: vec!["env=".into()], ..github() }, "which is empty or too long, has invisible characters")]
#[case::two_values(Wanted { properties: vec!["env=prod".into(), "env=test".into()], ..github() }, "this property is given twice")]
#[case::latest(Wanted { sweeper_image: some("registry:5000/jobpass"), ..github() }, "a tag or a digest")]
#[case::image(Wanted { sweeper_image: some("a:b\", x: \"c"), ..github() }, "a tag or a digest")]
#[case::namespace(Wanted { namespace: "Ci".into(), ..github() }, "which jobpass cannot use as a name")]
#[case::no_account(Wanted { service_account: String::new(), ..github() }, "is missing")]
#[case::account_of_a_job(Wanted { service_account: "jobpass-aaaaaaaaaaaaaaaaaaaa".into(), ..github() }, "the accounts of single jobs")]
#[case::sweeper(Wanted { service_account: "jobpass-sweeper".into(), ..github() }, "may read every Secret")]
#[case::audiences(Wanted { audiences: "two words".into(), ..github() }, "an audience has no spaces")]
#[case::any_pod(Wanted { rules: "create pods".into(), ..github() }, "which jobs cannot get")]
#[case::example(Wanted { service_account: String::new(), rules: "get pods".into(), example_rights: true, ..github() }, "is given without `service-account`")]
#[case::rules(Wanted { rules: "get pods -A".into(), ..github() }, "reaches beyond the namespace")]
#[case::duration(Wanted { duration: "30s".into(), ..github() }, "less than 10 minutes")]
fn what_is_refused_before_anything_is_printed(#[case] wanted: Wanted, #[case] why: &str) {
    let error = refused(&wanted);
    assert!(error.starts_with("input `") && error.contains(why), "{error}");
}

#[test]
fn nobody_mints() {
    let error = refused(&Wanted {
        service_account: "scanner".into(),
        namespace: "ci".into(),
        ..Wanted::default()
    });
    assert!(error.contains("nobody could request a token"), "{error}");
}
