//! The minter's credential, which the CI platform keeps for the end of the job if the credential exists only
//! in the inputs or variables of one step.
//!
//! GitHub's runner evaluates the inputs of a step again at the end of the job. If the step is inside two
//! nested composite actions, its inputs are then empty. The platform does not have to keep a credential in a
//! file, an ID token, or the token of the in-cluster account: jobpass can get these again.

use zeroize::Zeroizing;

use super::{Auth, kubeconfig};
use crate::{
    inputs::options::{Inputs, Opt},
    process::environment::Environment,
};

/// The greatest length of a credential, in bytes. The runner passes the credential on in a variable, which
/// Linux limits to 128 KiB. With a longer variable, the end of the job would not start.
const LONGEST: usize = 120 << 10;

/// A credential that the platform keeps until the end of the job. Not `Debug`: it is a secret.
pub enum Kept {
    /// The context of a kubeconfig that jobpass used, as JSON on one line, so that one mask hides it.
    Kubeconfig(Zeroizing<String>),
    /// The bearer token from a variable.
    Bearer(Zeroizing<String>),
}

impl Kept {
    /// The credential of a minter with `auth`. `None` if the end of the job can find the credential
    /// elsewhere, or if the credential is too long for a variable.
    pub fn of(auth: &Auth, inputs: &Inputs, environment: &Environment) -> Option<Self> {
        let kept = match auth {
            Auth::Kubeconfig { paths, context, .. } if paths.is_empty() => {
                let text = inputs.get(Opt::Kubeconfig)?;
                let found = kubeconfig::find(Some(text), environment).ok()??;
                Some(Self::Kubeconfig(found.only(context)?.into()))
            }
            Auth::BearerTokenEnv { name } => {
                Some(Self::Bearer(environment.get(name)?.trim().to_owned().into()))
            }
            Auth::Kubeconfig { .. }
            | Auth::BearerTokenFile { .. }
            | Auth::IdToken { .. }
            | Auth::InCluster => None,
        };
        kept.filter(|kept| kept.expose().len() <= LONGEST)
    }

    /// Puts the credential where [`super::Minter::from_recorded`] looks for it, and replaces the value there.
    /// For a kubeconfig, `auth` may be unknown. For a bearer token without the `auth` of a variable, changes
    /// nothing.
    pub fn restore(
        self,
        auth: Option<&Auth>,
        inputs: Inputs,
        environment: Environment,
    ) -> (Inputs, Environment) {
        match (self, auth) {
            (Self::Kubeconfig(text), _) => (inputs.with(Opt::Kubeconfig, text.to_string()), environment),
            (Self::Bearer(text), Some(Auth::BearerTokenEnv { name })) => {
                let environment = environment.with(name, Some(&text));
                (inputs, environment)
            }
            (Self::Bearer(_), _) => (inputs, environment),
        }
    }

    /// The secret itself, which a log must not show.
    pub fn expose(&self) -> &str {
        match self {
            Self::Kubeconfig(text) | Self::Bearer(text) => text,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::minter::Minter;

    const KUBECONFIG: &str = "
current-context: b
clusters:
- {name: a, cluster: {server: 'https://a:6443'}}
- {name: b, cluster: {server: 'https://b:6443', proxy-url: 'http://me:proxy-password@p:3128'}}
users:
- {name: a, user: {token: token-of-a}}
- {name: b, user: {token: \"token-of-b\", as: somebody}}
contexts:
- {name: a, context: {cluster: a, user: a}}
- {name: b, context: {cluster: b, user: b, namespace: ci}}
";

    async fn resolve(inputs: &Inputs, environment: &Environment) -> Minter {
        Minter::resolve(inputs, environment).await.expect("a minter")
    }

    #[tokio::test]
    async fn a_kubeconfig_of_an_input_is_kept_without_its_other_contexts() {
        let inputs = Inputs::from([(Opt::Kubeconfig, KUBECONFIG)]);
        let minter = resolve(&inputs, &Environment::default()).await;
        let kept = Kept::of(&minter.auth, &inputs, &Environment::default()).expect("kept");
        let text = kept.expose();
        assert!(!text.contains('\n') && text.contains("token-of-b"), "{text}");
        assert!(
            !text.contains("token-of-a") && !text.contains("https://a"),
            "{text}"
        );

        // At the end of the job, the runner may evaluate the input to any of these.
        for later in ["", &KUBECONFIG.replace("token-of-b", "token-of-c")] {
            let kept = Kept::of(&minter.auth, &inputs, &Environment::default()).expect("kept");
            let later = Inputs::from([(Opt::Kubeconfig, later)]);
            let (inputs, environment) = kept.restore(Some(&minter.auth), later, Environment::default());
            let again = Minter::from_recorded(&minter.connection, &minter.auth, &inputs, &environment).await;
            let again = again.expect("a minter");
            assert_eq!(again.identity.bearer.expect("a bearer").expose(), "token-of-b");
            assert_eq!(again.identity.impersonate.as_deref(), Some("somebody"));
            assert_eq!(again.connection.server, "https://b:6443");
        }
    }

    #[tokio::test]
    async fn a_bearer_token_of_a_variable_is_kept() {
        let inputs = Inputs::from([(Opt::Server, "https://a"), (Opt::BearerTokenEnv, "KUBE_TOKEN")]);
        let environment = Environment::from([("KUBE_TOKEN", " a-token\n")]);
        let minter = resolve(&inputs, &environment).await;
        let kept = Kept::of(&minter.auth, &inputs, &environment).expect("kept");
        assert_eq!(kept.expose(), "a-token");
        let (inputs, environment) =
            kept.restore(Some(&minter.auth), Inputs::default(), Environment::default());
        let again = Minter::from_recorded(&minter.connection, &minter.auth, &inputs, &environment).await;
        assert_eq!(
            again
                .expect("a minter")
                .identity
                .bearer
                .expect("a bearer")
                .expose(),
            "a-token"
        );
    }

    /// Another process may have written the state, and another step may have changed an input. So jobpass
    /// sends the credential only if both name the same server.
    #[tokio::test]
    async fn a_credential_is_for_no_other_server_than_the_recorded_one() {
        let inputs = Inputs::from([(Opt::Kubeconfig, KUBECONFIG)]);
        let minter = resolve(&inputs, &Environment::default()).await;
        let mut connection = minter.connection.clone();
        connection.server = "https://evil.example.com".into();
        let again = Minter::from_recorded(&connection, &minter.auth, &inputs, &Environment::default()).await;
        let error = again.err().expect("refused").to_string();
        assert!(error.contains("names another API server"), "{error}");

        let inputs = Inputs::from([(Opt::Server, "https://a/"), (Opt::BearerTokenEnv, "KUBE_TOKEN")]);
        let environment = Environment::from([("KUBE_TOKEN", "a-token")]);
        let minter = resolve(&inputs, &environment).await;
        assert!(
            Minter::from_recorded(&minter.connection, &minter.auth, &inputs, &environment)
                .await
                .is_ok()
        );
        let again = Minter::from_recorded(&connection, &minter.auth, &inputs, &environment).await;
        assert!(
            again
                .err()
                .expect("refused")
                .to_string()
                .contains("input `server` names another API server")
        );
    }

    #[tokio::test]
    async fn a_credential_in_a_file_stays_there() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), KUBECONFIG).expect("written");
        let path = file.path().to_string_lossy();
        let inputs = Inputs::from([(Opt::Kubeconfig, &*path)]);
        let minter = resolve(&inputs, &Environment::default()).await;
        assert!(Kept::of(&minter.auth, &inputs, &Environment::default()).is_none());
        std::fs::write(file.path(), "a-token").expect("written");
        let inputs = Inputs::from([(Opt::Server, "https://a"), (Opt::BearerTokenFile, &*path)]);
        let minter = resolve(&inputs, &Environment::default()).await;
        assert!(Kept::of(&minter.auth, &inputs, &Environment::default()).is_none());
    }
}
