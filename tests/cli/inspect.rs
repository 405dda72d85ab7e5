//! `jobpass inspect` and `jobpass whoami`.

use std::{
    fs,
    io::Write as _,
    process::{Command, Stdio},
    time::Duration,
};

use jobpass_devkit::{Fault, FaultKind};
use rstest::rstest;
use serde_json::{Value, json};

use super::Desk;
use crate::{github::step::Ended, leaks::assert_absent, support};

impl Desk {
    fn pipe(&self, token: &str, arguments: &[&str]) -> Ended {
        let mut command = support::scrubbed(Command::new(support::binary("jobpass")));
        let child = command
            .current_dir(self.folder.path())
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let mut child = child.expect("jobpass starts");
        let mut stdin = child.stdin.take().expect("a pipe");
        writeln!(stdin, "{token}").expect("it reads");
        drop(stdin);
        Ended::of(child)
    }

    /// Mints into `scan.yaml` and returns the token.
    fn minted(&self, more: &[&str]) -> String {
        self.mint(&[&["--kubeconfig-file", "scan.yaml"], more].concat())
            .succeeded();
        fs::write(self.path("ca.pem"), self.cluster.ca_pem()).expect("written");
        self.cluster.issued().remove(0)
    }

    fn revoked(&self, token: &str) {
        self.run(&["revoke", "--kubeconfig-file", "scan.yaml"])
            .succeeded();
        self.cluster.wait_until_refused(token);
    }
}

fn answer(ended: &Ended) -> Value {
    serde_json::from_str(&ended.log).unwrap_or_else(|_| panic!("one line of JSON: {}", ended.log))
}

const AS_MINTER: [&str; 6] = [
    "inspect",
    "--token-file",
    "-",
    "--kubeconfig",
    "minter.yaml",
    "--verify",
];

#[test]
fn a_token_is_looked_at_wherever_it_is_from() {
    let desk = Desk::new();
    let token = desk.minted(&[]);
    fs::write(desk.path("token"), &token).expect("written");
    for looked in [
        desk.pipe(&token, &["inspect"]),
        desk.pipe(
            &token,
            &["inspect", "--token-file", "-", "--kubeconfig", "minter.yaml"],
        ),
        desk.run(&["inspect", "--token-file", "token"]),
        desk.run(&["inspect", "--kubeconfig", "scan.yaml"]),
    ] {
        let log = &looked.succeeded().log;
        assert!(
            log.contains(&desk.here("system:serviceaccount:NAMESPACE:scanner"))
                // A bar is for terminals.
                && log.contains(" expires in ")
                && !log.contains(['░', '█']),
            "{log}"
        );
        assert!(!log.contains("unusual"), "{log}");
        assert_absent(&token, "what inspect printed", log);
    }
}

/// The token comes from standard input, so the variables of the job do not describe it.
#[test]
fn a_variable_is_not_what_was_asked_about() {
    let desk = Desk::new();
    let minter =
        desk.cluster
            .service_account_token(desk.cluster.namespace(), "minter", Duration::from_secs(3600));
    let token = desk.minted(&[]);
    let look = format!("echo {minter} | $JOBPASS inspect --output json");
    let shell = support::scrubbed(Command::new("sh"))
        .args(["-c", &look])
        .env("JOBPASS", support::binary("jobpass"))
        .env("JOBPASS_KUBECONFIG", desk.path("scan.yaml"))
        .env("JOBPASS_TOKEN_FILE", desk.path("scan.yaml.token"))
        .output()
        .expect("sh starts");
    let looked: Value = serde_json::from_slice(&shell.stdout).expect("JSON");
    assert_eq!(
        looked["claims"]["sub"],
        desk.here("system:serviceaccount:NAMESPACE:minter")
    );
    assert_eq!(looked["unusual"][0]["kind"], "unbound");
    assert_absent(&token, "its output", &looked.to_string());
}

#[test]
fn a_cluster_says_whether_a_token_works_and_is_its_own() {
    let desk = Desk::new();
    let token = desk.minted(&[]);
    let verify = [
        "inspect",
        "--kubeconfig",
        "scan.yaml",
        "--verify",
        "--output",
        "json",
    ];
    let live = answer(&desk.run(&verify).succeeded());
    assert_eq!(live["verified"]["accepted"], true);
    assert_eq!(live["verified"]["signature"]["result"], "good");

    let url = desk.cluster.url();
    let at_server = [
        "inspect",
        "--server",
        &url,
        "--certificate-authority",
        "ca.pem",
        "--verify",
    ];
    let live = desk.pipe(&token, &at_server).succeeded();
    assert!(live.log.contains("neither expired nor revoked"), "{}", live.log);

    let (start, end) = token.split_at(token.len() - 20);
    // No credential of this test may read the cluster's keys, so jobpass cannot tell a forged token from a
    // revoked one.
    let forged = desk.pipe(&format!("{start}{}", end.to_uppercase()), &at_server);
    assert_eq!(forged.code(), 4, "{}", forged.log);
    let forged = desk.pipe(&format!("{start}{}", end.to_uppercase()), &AS_MINTER);
    assert_eq!(forged.code(), 5, "{}", forged.log);
    assert!(forged.log.contains("altered, or forged"), "{}", forged.log);

    desk.revoked(&token);
    let dead = desk.pipe(&token, &AS_MINTER);
    assert_eq!(dead.code(), 4, "{}", dead.log);
    assert!(
        dead.log.contains("it is revoked: its bound object"),
        "{}",
        dead.log
    );
    for log in [live.log, forged.log, dead.log] {
        assert_absent(&token, "what inspect printed", &log);
    }
}

#[test]
fn an_expired_token_is_told_from_a_revoked_one() {
    let desk = Desk::new();
    let token = desk.minted(&[]);
    let mut claims = crate::cluster::claims_of(&token);
    let now = claims["iat"].as_i64().expect("a time");
    for (claim, before) in [("iat", 4000), ("nbf", 4000), ("exp", 400)] {
        claims[claim] = (now - before).into();
    }
    let dead = desk.pipe(&desk.cluster.sign(&claims), &AS_MINTER);
    assert_eq!(dead.code(), 4, "{}", dead.log);
    assert!(
        dead.log.contains("refuses the token: it has expired"),
        "{}",
        dead.log
    );
    // By this machine's clock, the minted token is new. The API server's clock decides.
    desk.cluster.move_date(Duration::from_secs(3601));
    let late = desk.pipe(&token, &AS_MINTER).succeeded();
    assert!(
        late.log
            .contains("the token has expired, and the API server still accepts it"),
        "{}",
        late.log
    );
}

/// A token for another audience gets 401 from the API server, which proves nothing about the token.
#[test]
fn a_token_for_others_is_known_by_its_signature() {
    let desk = Desk::new();
    let token = desk.minted(&["--audiences", "vault"]);
    let looked = desk.pipe(&token, &AS_MINTER).succeeded();
    assert!(
        looked.log.contains("it is for vault, not for the API server")
            && looked.log.contains("signature      good"),
        "{}",
        looked.log
    );
}

#[rstest]
#[case(&["--token-file", "minter.yaml"], "input `token-file` holds no token")]
#[case(&["--token-file", "opaque"], "input `token-file` holds no Kubernetes token")]
#[case(&["--token-file", "gone"], "names the file `gone`")]
#[case(&[], "input `standard input` holds no token")]
#[case(&["--kubeconfig", "admin.yaml"], "the user has a client certificate, or no credential")]
#[case(&["--kubeconfig", "gone.yaml"], "names no file that exists")]
fn what_is_no_token_is_refused_unseen(#[case] arguments: &[&str], #[case] why: &str) {
    let desk = Desk::new();
    fs::write(desk.path("opaque"), "c2VjcmV0").expect("written");
    fs::write(desk.path("admin.yaml"), desk.cluster.admin_kubeconfig()).expect("written");
    let looked = desk.run(&[&["inspect"], arguments].concat());
    assert_eq!(looked.code(), 2, "{}", looked.log);
    assert!(
        looked.log.contains(why) && !looked.log.contains("c2VjcmV0"),
        "{}",
        looked.log
    );
}

#[rstest]
#[case::by_a_review(true, "api-server")]
#[case::before_kubernetes_1_28(false, "token")]
fn the_api_server_says_who_somebody_is(#[case] knows_reviews: bool, #[case] source: &str) {
    let desk = Desk::new();
    if !knows_reviews {
        // The server has version `v1` of the API without this resource, and no other version.
        let status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "reason": "NotFound", "details": {},
            "message": "the server could not find the requested resource", "code": 404,
        });
        for (version, body) in [("/v1/", &*status.to_string()), ("/v1", "404 page not found\n")] {
            desk.cluster.inject(Fault {
                method: "POST",
                path_contains: format!("/authentication.k8s.io{version}"),
                times: 9,
                kind: FaultKind::Answer {
                    status: 404,
                    headers: Vec::new(),
                    body: body.to_owned(),
                },
            });
        }
    }
    let token = desk.minted(&[]);
    let who = desk
        .run(&["whoami", "--kubeconfig", "scan.yaml", "--output", "json"])
        .succeeded();
    let answer = answer(&who);
    assert_eq!(
        answer["username"],
        desk.here("system:serviceaccount:NAMESPACE:scanner")
    );
    assert_eq!(answer["source"], source);
    let groups = [
        "system:serviceaccounts",
        &desk.here("system:serviceaccounts:NAMESPACE"),
        "system:authenticated",
    ];
    assert_eq!(answer["groups"], json!(groups));
    assert!(answer["uid"].is_string(), "{answer}");
    assert_absent(&token, "what whoami printed", &who.log);

    // A server of any release answers 401 to a user that it does not know.
    desk.cluster.heal();
    desk.revoked(&token);
    let nobody = desk.run(&["whoami", "--kubeconfig", "scan.yaml"]);
    assert_eq!(nobody.code(), 2, "its files are gone: {}", nobody.log);
    fs::write(desk.path("dead"), &token).expect("written");
    let url = desk.cluster.url();
    let at_server = [
        "whoami",
        "--server",
        &url,
        "--certificate-authority",
        "ca.pem",
        "--bearer-token-file",
        "dead",
    ];
    let nobody = desk.run(&at_server);
    assert_eq!(nobody.code(), 4, "{}", nobody.log);
    assert!(nobody.log.contains("the token is revoked"), "{}", nobody.log);
    assert_absent(&token, "what whoami printed", &nobody.log);
}

#[test]
fn a_client_certificate_is_somebody_too() {
    let desk = Desk::new();
    fs::write(desk.path("admin.yaml"), desk.cluster.admin_kubeconfig()).expect("written");
    let who = desk.run(&["whoami", "--kubeconfig", "admin.yaml"]).succeeded();
    assert!(
        who.log.contains("kubernetes-admin") && who.log.contains("system:masters"),
        "{}",
        who.log
    );
}

/// A company may install the cluster's authority in its images. kubectl then finds it there.
#[test]
fn the_system_s_authorities_count_where_the_kubeconfig_has_none() {
    let desk = Desk::new();
    let cluster = json!({"server": desk.cluster.url()});
    let token =
        desk.cluster
            .service_account_token(desk.cluster.namespace(), "scanner", Duration::from_secs(600));
    let config = json!({
        "current-context": "c", "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": cluster}], "users": [{"name": "u", "user": {"token": token}}],
    });
    fs::write(desk.path("system.yaml"), config.to_string()).expect("written");
    fs::write(desk.path("ca.pem"), desk.cluster.ca_pem()).expect("written");
    fs::create_dir(desk.path("certs")).expect("made");
    // OpenSSL looks for a file named after the hash of the subject. Go reads every file in the folder.
    fs::copy(desk.path("ca.pem"), desk.path("certs/0a1b2c3d.0")).expect("copied");
    let whoami = ["whoami", "--kubeconfig", "system.yaml"];
    for (variable, value) in [("SSL_CERT_FILE", "ca.pem"), ("SSL_CERT_DIR", "certs")] {
        let who = Ended::of(desk.start_with(&whoami, &[(variable, value)])).succeeded();
        assert!(who.log.contains("scanner"), "{variable}: {}", who.log);
    }
    let nobody = desk.run(&whoami);
    assert!(nobody.log.contains("certificate"), "{}", nobody.log);
    assert_eq!(nobody.code(), 3, "{}", nobody.log);
}
