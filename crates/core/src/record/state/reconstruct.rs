//! Builds a state from the name of an anchor, if jobpass cannot read the recorded state.

use std::collections::BTreeMap;

use crate::{
    cluster::Connection,
    error::{Error, Kind},
    inputs::options::{Inputs, Opt},
    minter::Minter,
    names,
    process::{environment::Environment, interrupt::Interrupt},
    record::{receipt::Receipt, state::State, token_files::Files},
    text::harmless,
};

/// The anchor's label for the id of the run or pipeline.
const RUN_ID: &str = "jobpass.dev/run-id";

impl State {
    /// A state that can revoke the token of `anchor` (`NAMESPACE/NAME`). The inputs name the API server.
    ///
    /// # Errors
    /// If `anchor` is not the name of an anchor, if jobpass cannot find the minter and its credential, or
    /// after a signal. The error comes from [`lost`].
    pub async fn reconstruct(
        anchor: &str,
        uid: Option<&str>,
        inputs: &Inputs,
        environment: &Environment,
        run_id: Option<&str>,
        interrupt: &mut Interrupt,
    ) -> Result<Self, Error> {
        let lost = |cause| lost(&cause, anchor, run_id);
        let (namespace, name) = parse(anchor).ok_or_else(|| {
            lost(Error::new(
                Kind::Revoke,
                "the recorded text is not the name of an anchor",
            ))
        })?;
        let minter = tokio::select! {
            interrupted = interrupt.wait() => Err(interrupted),
            minter = Minter::resolve(inputs, environment) => minter,
        };
        let minter = minter.map_err(lost)?;
        let service_account = harmless(inputs.get(Opt::ServiceAccount).unwrap_or_default());
        Ok(Self {
            connection: minter.connection,
            auth: minter.auth,
            // This server matters only for the proof, so a wrong value must not keep the token alive.
            job_server: Connection::of_job(inputs, environment).unwrap_or_default(),
            receipt: Receipt {
                anchor_uid: uid.map(str::to_owned),
                ..Receipt::new(&service_account, namespace, name)
            },
            for_api_server: inputs.get(Opt::Audiences).is_none(),
            // Templates pass an empty list if there are no rules.
            role: inputs.get(Opt::RoleRules).is_some(),
            renewal: None,
            proxy: None,
            files: Files::default(),
            options: BTreeMap::new(),
            environment: BTreeMap::new(),
        })
    }
}

/// Parses the namespace and the name of an anchor: `NAMESPACE/NAME`.
fn parse(anchor: &str) -> Option<(&str, &str)> {
    let (namespace, name) = anchor.split_once('/')?;
    (names::is_ours(name) && names::is_dns_label(namespace)).then_some((namespace, name))
}

/// The failure to revoke without a state. The error has the commands that revoke the token without jobpass:
/// by the name of the `anchor`, or by the run of the job.
pub fn lost(cause: &Error, anchor: &str, run_id: Option<&str>) -> Error {
    let error = Error::new(
        Kind::Revoke,
        format!("the token is not revoked: {}", cause.message()),
    );
    let error = match cause.next_step() {
        Some(step) => error.help(step),
        None => error,
    };
    let commands = match parse(anchor) {
        Some((namespace, name)) => format!("kubectl delete secret {name} --namespace {namespace}"),
        None => format!(
            "# the tokens of this run, of all its jobs\n  \
             kubectl get secrets --all-namespaces --label-columns jobpass.dev/job \\\n    \
             --selector app.kubernetes.io/managed-by=jobpass,{RUN_ID}={run}\n  \
             # the token of this job\n  \
             kubectl delete secret NAME --namespace NAMESPACE",
            run = harmless(run_id.unwrap_or("RUN_ID")),
        ),
    };
    error.help(format!(
        "if jobpass minted a token, that token works until it expires. A legacy token never expires. Revoke \
         the token by hand:\n\n  {commands}"
    ))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const ANCHOR: &str = "ci/jobpass-aaaaaaaaaaaaaaaaaaaa";

    async fn reconstruct(anchor: &str, inputs: &[(Opt, &str)]) -> Result<State, Error> {
        let server = [
            (Opt::Server, "https://k8s.example.com"),
            (Opt::BearerTokenEnv, "KUBE_TOKEN"),
        ];
        let inputs = server
            .iter()
            .chain(inputs)
            .fold(Inputs::from([]), |inputs, (option, value)| {
                inputs.with(*option, *value)
            });
        let environment = Environment::from([("KUBE_TOKEN", "t0ken")]);
        let mut interrupt = Interrupt::listen().expect("signals");
        State::reconstruct(
            anchor,
            Some("u-1"),
            &inputs,
            &environment,
            Some("77"),
            &mut interrupt,
        )
        .await
    }

    /// The options decide whether objects other than the anchor belong to the token, and whether a 401 to the
    /// token is a proof.
    #[rstest]
    #[case::shared_account(&[(Opt::ServiceAccount, "scanner")], "scanner", false, true)]
    #[case::for_others(&[(Opt::ServiceAccount, "scanner"), (Opt::Audiences, "vault")], "scanner", false, false)]
    #[case::account_of_the_job(&[(Opt::RoleRules, "get pods")], "", true, true)]
    #[tokio::test]
    async fn a_state_comes_from_the_name_of_an_anchor_and_the_options(
        #[case] inputs: &[(Opt, &str)],
        #[case] account: &str,
        #[case] role: bool,
        #[case] for_api_server: bool,
    ) {
        let state = reconstruct(ANCHOR, inputs).await.expect("a state");
        let receipt = &state.receipt;
        assert_eq!(format!("{}/{}", receipt.namespace, receipt.anchor), ANCHOR);
        assert_eq!(receipt.anchor_uid.as_deref(), Some("u-1"));
        assert_eq!(
            (&*receipt.service_account, state.role, state.for_api_server),
            (account, role, for_api_server)
        );
        assert_eq!(state.connection.server, "https://k8s.example.com");
        assert_eq!(
            state.auth,
            crate::minter::Auth::BearerTokenEnv {
                name: "KUBE_TOKEN".into()
            }
        );
    }

    /// Without the job's server, jobpass can still delete the anchor. It only cannot prove that the token is
    /// dead.
    #[tokio::test]
    async fn a_wrong_job_server_does_not_keep_the_token_alive() {
        let state = reconstruct(ANCHOR, &[(Opt::JobServer, "http://job.example.com")]).await;
        assert!(state.expect("a state").job_server.is_none());
    }

    /// jobpass deletes an object only if the name has the form of an anchor's name. For another name, jobpass
    /// does not suggest a command that deletes the object.
    #[rstest]
    #[case::nothing("")]
    #[case::no_namespace("jobpass-aaaaaaaaaaaaaaaaaaaa")]
    #[case::another_secret("ci/database-password")]
    #[case::of_the_shell("ci; rm -rf ~/jobpass-aaaaaaaaaaaaaaaaaaaa")]
    #[case::a_path("../ci/jobpass-aaaaaaaaaaaaaaaaaaaa")]
    #[tokio::test]
    async fn only_an_anchor_is_revoked(#[case] anchor: &str) {
        let error = reconstruct(anchor, &[]).await.err().expect("refused");
        assert_eq!(error.kind(), Kind::Revoke);
        let help = error.next_step().expect("a next step");
        assert!(
            help.contains("--selector app.kubernetes.io/managed-by=jobpass,jobpass.dev/run-id=77"),
            "{help}"
        );
        assert!(
            !help.contains("database-password") && !help.contains("rm -rf"),
            "{help}"
        );
    }

    #[test]
    fn a_lost_token_is_revoked_by_name_if_its_name_is_known() {
        let cause = Error::new(Kind::Unreachable, "no route").help("check the network");
        let error = lost(&cause, ANCHOR, Some("77"));
        assert_eq!(
            (error.kind(), error.message()),
            (Kind::Revoke, "the token is not revoked: no route")
        );
        let help = error.next_step().expect("a next step");
        assert!(help.starts_with("check the network\n"), "{help}");
        assert!(
            help.ends_with("kubectl delete secret jobpass-aaaaaaaaaaaaaaaaaaaa --namespace ci"),
            "{help}"
        );
    }
}
