use rstest::rstest;
use secrecy::ExposeSecret as _;

use super::*;
use crate::error::Kind;

const SERVER: &str = "https://k8s.example.com";

fn inputs(values: &[(Opt, &str)]) -> Inputs {
    values.iter().fold(Inputs::from([]), |inputs, (option, value)| {
        inputs.with(*option, *value)
    })
}

/// A kubeconfig whose user has `token`.
fn kubeconfig(server: &str, token: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: one\n\
         contexts: [{{name: one, context: {{cluster: c, user: u, namespace: team}}}}]\n\
         clusters: [{{name: c, cluster: {{server: '{server}'}}}}]\n\
         users: [{{name: u, user: {{token: {token}}}}}]\n"
    )
}

fn bearer(minter: &Minter) -> Option<&str> {
    minter.identity.bearer.as_ref().map(Token::expose)
}

/// `$KUBECONFIG` wins over `~/.kube/config`, and the inputs `kubeconfig` and `server` win over both.
#[tokio::test]
async fn a_minter_is_taken_from_the_nearest_place() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str, token: &str| {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        std::fs::write(&path, kubeconfig(SERVER, token)).expect("written");
        path.display().to_string()
    };
    file("home/.kube/config", "of-home");
    let home = folder.path().join("home").display().to_string();
    let at_home = Environment::from([("HOME", &*home)]);
    let in_variable = at_home
        .clone()
        .with("KUBECONFIG", Some(&file("variable", "of-variable")));
    let with_token = in_variable.clone().with("TOKEN", Some("of-server"));
    let server = inputs(&[(Opt::Server, SERVER), (Opt::BearerTokenEnv, "TOKEN")]);
    let input = inputs(&[(Opt::Kubeconfig, &kubeconfig(SERVER, "of-input"))]);
    for (inputs, environment, token) in [
        (&Inputs::from([]), &at_home, "of-home"),
        (&Inputs::from([]), &in_variable, "of-variable"),
        (&input, &in_variable, "of-input"),
        (&server, &with_token, "of-server"),
    ] {
        let minter = Minter::resolve(inputs, environment).await.expect("a minter");
        assert_eq!(bearer(&minter), Some(token));
    }
}

/// An option without an effect is a wrong input. So are two options that contradict each other.
#[rstest]
#[case::two_servers(&[(Opt::Server, SERVER), (Opt::Kubeconfig, "a")], "input `server` and input `kubeconfig` are both given")]
#[case::a_file(&[(Opt::BearerTokenFile, "a")], "input `bearer-token-file` is given without `server`")]
#[case::a_variable(&[(Opt::BearerTokenEnv, "A")], "input `bearer-token-env` is given without `server`")]
#[case::an_audience(&[(Opt::OidcAudience, "a")], "input `oidc-audience` is given without `server`")]
#[case::an_authority(&[(Opt::CertificateAuthority, "a")], "input `certificate-authority` is given without `server`")]
#[case::a_context(&[(Opt::Context, "a")], "input `context` is given without a kubeconfig")]
#[case::nothing(&[], "input `kubeconfig` is missing")]
#[tokio::test]
async fn options_that_lead_to_no_minter_are_refused(#[case] given: &[(Opt, &str)], #[case] why: &str) {
    let error = Minter::resolve(&inputs(given), &Environment::default())
        .await
        .err()
        .expect("refused");
    assert_eq!(error.kind(), Kind::Input);
    assert!(error.message().starts_with(why), "{error}");
}

/// A file that jobpass cannot read adds no mask, and does not stop the masks of other files.
#[test]
fn every_credential_that_can_be_read_is_masked() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("token");
    std::fs::write(&file, "of-file\n").expect("written");
    let file = file.display().to_string();
    let environment = Environment::from([("TOKEN", "of-variable")]);
    let credentials = |given: &[(Opt, &str)]| {
        let credentials = Minter::credentials(&inputs(given), &environment);
        credentials
            .iter()
            .map(|token| token.expose_secret().to_owned())
            .collect::<Vec<_>>()
    };
    let all = [
        (Opt::BearerTokenFile, &*file),
        (Opt::BearerTokenEnv, "TOKEN"),
        (Opt::Kubeconfig, &*kubeconfig(SERVER, "of-kubeconfig")),
    ];
    assert_eq!(credentials(&all), ["of-file", "of-variable", "of-kubeconfig"]);
    let gone = [
        (Opt::BearerTokenFile, "/nowhere"),
        all[1],
        (Opt::Kubeconfig, "/nowhere"),
    ];
    assert_eq!(credentials(&gone), ["of-variable"]);
}

fn by_variable() -> Auth {
    Auth::BearerTokenEnv { name: "TOKEN".into() }
}

fn by_text() -> Auth {
    Auth::Kubeconfig {
        paths: Vec::new(),
        context: "one".into(),
        exec: None,
    }
}

/// At the end of the job, the state names the server, and the inputs give the credential. If the state and
/// the inputs name different servers, somebody may want jobpass to send the credential elsewhere.
#[rstest]
#[case::the_same_server(by_variable(), &[(Opt::Server, SERVER)], Ok("t0ken"))]
#[case::written_differently(by_variable(), &[(Opt::Server, "HTTPS://k8s.example.com/")], Ok("t0ken"))]
#[case::no_server_any_more(by_variable(), &[], Ok("t0ken"))]
#[case::spoiled(by_variable(), &[(Opt::Server, "k8s")], Ok("t0ken"))]
#[case::another_server(by_variable(), &[(Opt::Server, "https://evil.example.com")], Err("input `server` names another API server"))]
#[case::the_same_kubeconfig(by_text(), &[(Opt::Kubeconfig, &*kubeconfig(SERVER, "t0ken"))], Ok("t0ken"))]
#[case::another_kubeconfig(by_text(), &[(Opt::Kubeconfig, &*kubeconfig("https://evil.example.com", "t0ken"))], Err("input `kubeconfig` names another API server"))]
#[case::no_kubeconfig(by_text(), &[], Err("input `kubeconfig` is missing now, but was set when jobpass minted the token"))]
#[case::no_file(Auth::BearerTokenFile { path: "/nowhere".into() }, &[], Err("input `bearer-token-file`"))]
#[tokio::test]
async fn a_credential_goes_to_the_recorded_server_alone(
    #[case] auth: Auth,
    #[case] given: &[(Opt, &str)],
    #[case] expected: Result<&str, &str>,
) {
    let recorded = Connection::new("server", SERVER, None).expect("a server");
    let environment = Environment::from([("TOKEN", "t0ken")]);
    match (
        Minter::from_recorded(&recorded, &auth, &inputs(given), &environment).await,
        expected,
    ) {
        (Ok(minter), Ok(token)) => {
            assert_eq!(
                (bearer(&minter), &*minter.connection.server),
                (Some(token), SERVER)
            );
        }
        (Err(error), Err(why)) => assert!(error.message().starts_with(why), "{error}"),
        (minter, expected) => panic!("{:?} instead of {expected:?}", minter.map(|_| ())),
    }
}

#[rstest]
#[case::of_the_minter(&[], Ok(None))]
#[case::its_own(&[(Opt::JobServer, "https://job.example.com")], Ok(Some("https://job.example.com")))]
#[case::without_a_server(&[(Opt::JobCertificateAuthority, "a")], Err("input `job-certificate-authority` is given without `job-server`"))]
#[case::without_tls(&[(Opt::JobServer, "http://job.example.com")], Err("input `job-server`"))]
fn a_job_may_have_a_server_of_its_own(
    #[case] given: &[(Opt, &str)],
    #[case] expected: Result<Option<&str>, &str>,
) {
    let server = Connection::of_job(&inputs(given), &Environment::default());
    match (server, expected) {
        (Ok(server), Ok(expected)) => assert_eq!(server.as_ref().map(|server| &*server.server), expected),
        (Err(error), Err(why)) => assert!(error.message().starts_with(why), "{error}"),
        (server, expected) => panic!("{:?} instead of {expected:?}", server.map(|_| ())),
    }
}
