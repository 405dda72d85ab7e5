//! Bad input: a clear message and the right exit code. jobpass creates nothing, and shows no secret.

use rstest::rstest;

use crate::{
    cluster::{Cluster, claims_of},
    github::step::{Ended, Step},
    support,
};

/// Runs main, which must fail, and then post. Returns the output of main.
fn refused(cluster: &Cluster, step: &Step, code: i32) -> Ended {
    let before = cluster.secrets(cluster.namespace()).len();
    let main = step.main();
    assert_eq!(main.code(), code, "{}", main.log);
    assert!(main.log.contains("::error title=jobpass::"), "{}", main.log);
    let post = step.post().succeeded();
    assert_eq!(
        post.log,
        "jobpass: nothing to revoke: the main step left no token\n"
    );
    assert_eq!(
        cluster.secrets(cluster.namespace()).len(),
        before,
        "something was left behind:\n{}",
        main.log
    );
    assert!(step.outputs().is_empty() && step.left_in_temp().is_empty());
    main
}

fn says(ended: &Ended, texts: &[&str]) {
    for text in texts {
        assert!(ended.log.contains(text), "no `{text}` in:\n{}", ended.log);
    }
}

/// A wrong input is an error before jobpass sends any request.
#[rstest]
#[case::no_service_account("service-account", "", &["input `service-account` is missing"])]
#[case::short("duration", "30s", &["input `duration` is `30s`", "less than 10 minutes", "revokes the token when the job ends"])]
#[case::no_duration("duration", "abc", &["input `duration` is `abc`", "`1h30m`"])]
#[case::negative("duration", "-5m", &["input `duration` is `-5m`", "negative"])]
#[case::empty("duration", "", &["input `duration` is empty", "leave it out for `1h`"])]
#[case::magic("duration", "3607", &["input `duration` is `3607`", "a year"])]
#[case::context("context", "other", &["input `context` is `other`", "the kubeconfig has `"])]
#[case::verify("verify-revocation", "maybe", &["input `verify-revocation` is `maybe`", "`off`, `quick` or `wait`"])]
#[case::flag("fail-on-revoke-error", "yes", &["input `fail-on-revoke-error` is `yes`", "`true` or `false`"])]
#[case::job_server("job-certificate-authority", "ca.pem", &["input `job-certificate-authority` is given without `job-server`"])]
#[case::no_kubeconfig("kubeconfig-file", "", &["input `kubeconfig-file` is empty", "leave it out for `true`"])]
#[case::no("kubeconfig-file", "no", &["input `kubeconfig-file` is `no`", "use `true`, `false` or a path"])]
#[case::export("export-kubeconfig", "on", &["input `export-kubeconfig` is `on`", "`true` or `false`"])]
#[case::folder("token-file", "/dev/null/token", &["input `token-file`", "whose folder jobpass cannot create"])]
#[case::lines("token-file", "x\n::error::y", &["input `token-file` is the path `", "which has control characters"])]
#[case::audience("audiences", "a b", &["input `audiences` has `a b`"])]
#[case::both("server", "https://10.0.0.1", &["input `server` and input `kubeconfig` are both given"])]
fn a_wrong_input_is_named_and_nothing_is_asked(
    #[case] input: &str,
    #[case] value: &str,
    #[case] texts: &[&str],
) {
    let cluster = Cluster::start();
    let kubeconfig = support::minter(&cluster);
    let mut step = Step::scanner(&kubeconfig, &[]);
    step.input(input, value);
    says(&refused(&cluster, &step, 2), texts);
    assert!(cluster.requests().is_empty(), "{:?}", cluster.requests());
}

/// Only the server for the job needs the system's certificate authorities. jobpass would connect to this
/// server last, but must name the missing authorities before its first request.
#[test]
fn a_server_for_the_job_without_certificates_is_named_before_anything_is_asked() {
    let cluster = Cluster::start();
    let mut step = Step::scanner(
        &support::minter(&cluster),
        &[("job-server", "https://10.0.0.1:6443")],
    );
    step.env("SSL_CERT_FILE", "/nowhere")
        .env("SSL_CERT_DIR", "/nowhere");
    let texts = [
        "cannot connect to `https://10.0.0.1:6443`: this system has no certificate authorities",
        "`job-certificate-authority`",
    ];
    says(&refused(&cluster, &step, 2), &texts);
    assert!(cluster.requests().is_empty(), "{:?}", cluster.requests());
}

/// A person gives an opaque secret to the wrong input.
#[rstest]
#[case("service-account")]
#[case("namespace")]
#[case("duration")]
#[case("require")]
#[case("anchor-labels")]
#[case("context")]
#[case("kubeconfig")]
#[case("job-server")]
#[case("escape-check")]
#[case("certificate-authority")]
#[case("bearer-token-file")]
#[case("bearer-token-env")]
fn a_secret_in_the_wrong_input_is_not_shown(#[case] input: &str) {
    let cluster = Cluster::start();
    for secret in [
        "Zq8vXk2pLw9tRb4nYc7m",
        "ci+/Zq8vXk2pLw9tRb4nYc7m==\n",
        "opaque-secret-token-1234567890",
    ] {
        // This secret is a valid name of an object, so jobpass cannot recognize it as a secret.
        if ["service-account", "namespace"].contains(&input) && secret.starts_with("opaque") {
            continue;
        }
        let mut step = Step::scanner(&support::minter(&cluster), &[]);
        if ["certificate-authority", "bearer-token-file", "bearer-token-env"].contains(&input) {
            step.input("kubeconfig", "");
            step.input("server", "https://127.0.0.1:1");
            step.input("namespace", "ci");
            if input == "certificate-authority" {
                step.input("bearer-token-file", "/etc/hostname");
            }
        }
        step.input(input, secret);
        let main = refused(&cluster, &step, 2);
        assert!(main.log.contains(input), "{}", main.log);
        assert!(!main.log.contains(secret.trim()), "{}", main.log);
    }
}

#[rstest]
#[case("service-account", "nobody", &["there is no ServiceAccount `nobody` in namespace `NAMESPACE`", "kubectl create serviceaccount nobody --namespace NAMESPACE"])]
#[case("namespace", "nowhere", &["there is no namespace `nowhere`", "kubectl create namespace nowhere"])]
fn what_the_cluster_does_not_have(#[case] input: &str, #[case] value: &str, #[case] texts: &[&str]) {
    let cluster = Cluster::start();
    let mut step = Step::scanner(&cluster.admin_kubeconfig(), &[("namespace", cluster.namespace())]);
    support::minter(&cluster);
    step.input(input, value);
    let main = refused(&cluster, &step, 4);
    for text in texts {
        says(&main, &[&text.replace("NAMESPACE", cluster.namespace())]);
    }
}

/// In each case, the minter's Role lacks a rule. The error shows the permission that is missing, and the
/// command that gives the minter all permissions that it needs.
#[rstest]
#[case::anchor(
    "{apiGroups: [\"\"], resources: [\"serviceaccounts/token\"], verbs: [create]}",
    "cannot create the anchor",
    "the minter may not create secrets"
)]
#[case::token(
    "{apiGroups: [\"\"], resources: [secrets], verbs: [create, delete]}",
    "cannot get a token",
    "the minter may not create serviceaccounts/token scanner"
)]
fn a_missing_permission_is_shown_with_the_command_that_gives_it(
    #[case] only: &str,
    #[case] what: &str,
    #[case] right: &str,
) {
    let cluster = Cluster::start();
    let kubeconfig = support::minter(&cluster);
    cluster.apply(&format!(
        "apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {{name: jobpass-minter, namespace: NAMESPACE}}\nrules: [{only}]\n"
    ));
    let step = Step::scanner(&kubeconfig, &[]);
    let main = refused(&cluster, &step, 4);
    let namespace = cluster.namespace();
    let command = format!(
        "\n  jobpass setup --service-account scanner --namespace {namespace} --minter serviceaccount:{namespace}/minter --apply\n"
    );
    says(
        &main,
        &[
            what,
            "403",
            &format!("{right} in namespace {namespace}"),
            &command,
        ],
    );

    // The pasted command is enough.
    support::run_advice(&cluster, &main.log);
    cluster.wait_for_rbac("Role");
    step.main().succeeded();
    step.post().succeeded();
}

#[test]
fn an_unreachable_server() {
    let cluster = Cluster::start();
    let nobody = std::net::TcpListener::bind("127.0.0.1:0")
        .and_then(|l| l.local_addr())
        .expect("a free port");
    let kubeconfig = support::minter(&cluster).replace(&cluster.url(), &format!("https://{nobody}"));
    let step = Step::scanner(&kubeconfig, &[]);
    let main = refused(&cluster, &step, 3);
    says(
        &main,
        &["Connection refused", "4 attempts", "check the server's address"],
    );
    assert!(
        !main.log.contains("kubectl delete"),
        "there is nothing to delete:\n{}",
        main.log
    );
}

#[test]
fn another_certificate_authority() {
    let (cluster, other) = (Cluster::start(), Cluster::start());
    let mut step = Step::with(&[
        ("service-account", "scanner"),
        ("namespace", cluster.namespace()),
        ("server", &cluster.url()),
        ("certificate-authority", &other.ca_pem()),
        ("bearer-token-env", "KUBE_TOKEN"),
    ]);
    step.env("KUBE_TOKEN", &support::minter_token(&cluster));
    let main = refused(&cluster, &step, 3);
    says(
        &main,
        &[
            "not come from a trusted certificate authority",
            "1 attempt",
            "as `certificate-authority`",
        ],
    );
    assert!(cluster.requests().is_empty());
}

#[rstest]
#[case::cut_off(|yaml: String| yaml.replace("users:", "users: ["), &["is not a kubeconfig", "line "])]
#[case::what_the_parser_panics_on(|yaml: String| yaml + "more: [!,\n", &["is not a kubeconfig"])]
#[case::not_yaml(|yaml: String| yaml.replace("clusters:", "clusters: }{"), &["is not a kubeconfig", "line "])]
#[case::wrong_shape(|yaml: String| yaml.replace("users:\n", "users: no-list\nx:\n"), &["has a `users` that is not a list"])]
fn a_malformed_kubeconfig_shows_no_token(#[case] break_it: fn(String) -> String, #[case] why: &[&str]) {
    let cluster = Cluster::start();
    let minter = support::minter_token(&cluster);
    let kubeconfig = break_it(cluster.kubeconfig(&minter, cluster.namespace()));
    let step = Step::scanner(&kubeconfig, &[]);
    let main = refused(&cluster, &step, 2);
    says(&main, &["input `kubeconfig` "]);
    says(&main, why);
    assert!(!main.log.contains("a defect"), "{}", main.log);
    assert!(
        minter.split('.').all(|part| !main.log.contains(part)),
        "{}",
        main.log
    );
}

/// The minter's kubeconfig, with a token that expired an hour ago.
fn expired(cluster: &Cluster) -> String {
    let mut claims = claims_of(&support::minter_token(cluster));
    for time in ["exp", "iat", "nbf"] {
        claims[time] = (claims[time].as_i64().expect("a time") - 3 * 3600).into();
    }
    cluster.kubeconfig(&cluster.sign(&claims), cluster.namespace())
}

#[test]
fn an_expired_minter() {
    let cluster = Cluster::start();
    let step = Step::scanner(&expired(&cluster), &[]);
    says(
        &refused(&cluster, &step, 4),
        &[
            "401",
            "the token of the minter expired",
            " ago: give the job a new one",
        ],
    );
}

#[test]
fn a_minter_that_expires_during_the_job_is_explained_in_post() {
    let cluster = Cluster::start();
    let minter = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(minter.path(), support::minter(&cluster)).expect("written");
    let step = Step::scanner(minter.path().to_str().expect("text"), &[]);
    step.main().succeeded();
    std::fs::write(minter.path(), expired(&cluster)).expect("written");
    let post = step.post().succeeded();
    says(
        &post,
        &[
            "::warning title=jobpass::the token is not revoked",
            "401",
            "kubectl delete secret",
        ],
    );
    assert_eq!(cluster.anchors().len(), 1);
}
