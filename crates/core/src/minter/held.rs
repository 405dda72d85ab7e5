//! The minter's credential in the memory of a process. The process may outlive the files of the credential.
//!
//! A CI runner removes the files of a job's variables when the job ends. A job's own commands can remove,
//! empty or edit any file.

use super::{Auth, in_cluster, kubeconfig};
use crate::{
    inputs::options::{Inputs, Opt},
    process::environment::Environment,
    token::Token,
};

/// The variable for a bearer token that jobpass read from a file. The value exists only in memory: no process
/// has this variable in its environment.
const BEARER: &str = "JOBPASS_HELD_BEARER_TOKEN";

/// The arguments of [`super::Minter::from_recorded`], with the credential itself instead of the names of its
/// files. Not `Debug`: it is a secret.
#[derive(Clone)]
pub struct Held {
    /// The way in which jobpass finds the credential in `inputs` and `environment`.
    pub auth: Auth,
    /// The inputs, with a kubeconfig that needs no other file.
    pub inputs: Inputs,
    /// The variables. The credential is among them if it is a bearer token.
    pub environment: Environment,
}

impl Held {
    /// Reads the credential of a minter with `auth`. `None` if jobpass cannot read it, for a bearer token in
    /// a variable, and for an ID token.
    ///
    /// For an exec plugin, there is no credential to hold yet: jobpass runs the plugin again later, with the
    /// variables of this process. The files that the plugin reads stay files.
    pub fn of(auth: &Auth, inputs: &Inputs, environment: &Environment) -> Option<Self> {
        let bearer = |token: Token| Self {
            auth: Auth::BearerTokenEnv { name: BEARER.into() },
            // The server of the state counts, not the input.
            inputs: inputs.clone().without(Opt::Server),
            environment: environment.clone().with(BEARER, Some(token.expose())),
        };
        match auth {
            Auth::Kubeconfig { paths, context, exec } => {
                let found = kubeconfig::recorded(paths, inputs).ok()?;
                let text = found.with_files().only(context)?;
                let auth = Auth::Kubeconfig {
                    paths: Vec::new(),
                    context: context.clone(),
                    exec: exec.clone(),
                };
                Some(Self {
                    auth,
                    inputs: inputs.clone().with(Opt::Kubeconfig, text),
                    environment: environment.clone(),
                })
            }
            Auth::BearerTokenFile { path } => Token::from_file(Opt::BearerTokenFile.name(), path)
                .ok()
                .map(bearer),
            Auth::InCluster => in_cluster::bearer().ok().map(bearer),
            Auth::BearerTokenEnv { .. } | Auth::IdToken { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use rstest::rstest;

    use super::*;
    use crate::minter::Minter;

    const CLUSTER: &str = "
current-context: one
contexts: [{name: one, context: {cluster: c, user: u}}]
clusters: [{name: c, cluster: {server: 'https://k8s:6443'}}]
";
    const USER: &str = "users: [{name: u, user: {token: a-token}}]\n";

    fn one_file(folder: &Path) -> (Inputs, Environment) {
        fs::write(folder.join("config"), CLUSTER.to_owned() + USER).expect("written");
        (given(Opt::Kubeconfig, folder, "config"), Environment::default())
    }

    fn several_files(folder: &Path) -> (Inputs, Environment) {
        fs::write(folder.join("config"), CLUSTER).expect("written");
        fs::write(folder.join("users"), USER).expect("written");
        let list = std::env::join_paths([folder.join("config"), folder.join("users")]).expect("a list");
        let list = list.into_string().expect("text");
        (Inputs::default(), Environment::from([("KUBECONFIG", &*list)]))
    }

    fn file_of_a_token(folder: &Path) -> (Inputs, Environment) {
        fs::write(folder.join("token"), "a-token\n").expect("written");
        let yaml = CLUSTER.to_owned() + "users: [{name: u, user: {tokenFile: token}}]\n";
        fs::write(folder.join("config"), yaml).expect("written");
        (given(Opt::Kubeconfig, folder, "config"), Environment::default())
    }

    fn text_that_names_a_file(folder: &Path) -> (Inputs, Environment) {
        let (_, environment) = file_of_a_token(folder);
        let yaml = fs::read_to_string(folder.join("config")).expect("written");
        let yaml = yaml.replace(
            "tokenFile: token",
            &format!("tokenFile: {}/token", folder.display()),
        );
        (Inputs::from([(Opt::Kubeconfig, &*yaml)]), environment)
    }

    fn bearer_token_file(folder: &Path) -> (Inputs, Environment) {
        fs::write(folder.join("token"), "a-token\n").expect("written");
        let inputs = given(Opt::BearerTokenFile, folder, "token");
        (
            inputs.with(Opt::Server, "https://k8s:6443"),
            Environment::default(),
        )
    }

    fn given(option: Opt, folder: &Path, name: &str) -> Inputs {
        Inputs::from([(option, &*folder.join(name).to_string_lossy())])
    }

    type Given = fn(&Path) -> (Inputs, Environment);

    /// Each case changes the files of the credential: the runner removes them, or a script rewrites them.
    #[rstest]
    #[case::one_file(one_file)]
    #[case::several_files(several_files)]
    #[case::file_of_a_token(file_of_a_token)]
    #[case::text_that_names_a_file(text_that_names_a_file)]
    #[case::bearer_token_file(bearer_token_file)]
    #[tokio::test]
    async fn a_credential_works_whatever_becomes_of_its_files(
        #[case] given: Given,
        #[values(None, Some(""), Some("users: [{name: u, user: {token: another}}]"), Some("{"))]
        becomes: Option<&str>,
    ) {
        let folder = tempfile::tempdir().expect("a folder");
        let (inputs, environment) = given(folder.path());
        let minter = Minter::resolve(&inputs, &environment).await.expect("a minter");
        let held = Held::of(&minter.auth, &inputs, &environment).expect("held");
        for file in fs::read_dir(folder.path()).expect("a folder").flatten() {
            match becomes {
                Some(content) => fs::write(file.path(), content).expect("written"),
                None => fs::remove_file(file.path()).expect("removed"),
            }
        }
        let Held {
            auth,
            inputs,
            environment,
        } = held;
        let again = Minter::from_recorded(&minter.connection, &auth, &inputs, &environment).await;
        let again = again.expect("a minter");
        assert_eq!(again.identity.bearer.expect("a bearer").expose(), "a-token");
        assert_eq!(again.connection.server, "https://k8s:6443");
    }

    /// The variables of a process do not change when other processes change theirs.
    #[tokio::test]
    async fn a_credential_of_a_variable_is_held_by_the_process_itself() {
        let inputs = Inputs::from([(Opt::Server, "https://k8s"), (Opt::BearerTokenEnv, "KUBE_TOKEN")]);
        let environment = Environment::from([("KUBE_TOKEN", "a-token")]);
        let minter = Minter::resolve(&inputs, &environment).await.expect("a minter");
        assert!(Held::of(&minter.auth, &inputs, &environment).is_none());
    }
}
