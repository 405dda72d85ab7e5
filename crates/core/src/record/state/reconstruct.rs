//! A state from an anchor's name, where the recorded one cannot be read.

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

/// The label of an anchor that holds the id of the run or pipeline.
const RUN_ID: &str = "jobpass.dev/run-id";

impl State {
    /// A state that can revoke the token of `anchor` (`NAMESPACE/NAME`). The inputs say where the API server is.
    ///
    /// # Errors
    /// If `anchor` is not the name of an anchor, no minter is found, or a signal comes. The text is that of [`lost`].
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
                "what was recorded is not the name of an anchor",
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
            // For the proof alone: one that is wrong now must not keep the token alive.
            job_server: Connection::of_job(inputs, environment).unwrap_or_default(),
            receipt: Receipt {
                anchor_uid: uid.map(str::to_owned),
                ..Receipt::new(&service_account, namespace, name)
            },
            for_api_server: inputs.get(Opt::Audiences).is_none(),
            // Templates pass an empty list if there are no rules.
            role: inputs.get(Opt::Rules).is_some_and(|rules| rules != "[]"),
            renewal: None,
            files: Files::default(),
            options: BTreeMap::new(),
            environment: BTreeMap::new(),
        })
    }
}

/// The namespace and the name of an anchor, as they are recorded: `NAMESPACE/NAME`.
fn parse(anchor: &str) -> Option<(&str, &str)> {
    let (namespace, name) = anchor.split_once('/')?;
    (names::is_ours(name) && names::is_dns_label(namespace)).then_some((namespace, name))
}

/// The failure to revoke for want of a state, with the commands that end the token without jobpass: by the name of its `anchor`, or
/// by the run that it was made in.
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
            "# the tokens of this run, those of its other jobs among them\n  \
             kubectl get secrets --all-namespaces --label-columns jobpass.dev/job \\\n    \
             --selector app.kubernetes.io/managed-by=jobpass,{RUN_ID}={run}\n  \
             # the one of this job\n  \
             kubectl delete secret NAME --namespace NAMESPACE",
            run = harmless(run_id.unwrap_or("RUN_ID")),
        ),
    };
    error.help(format!(
        "until then it works, if it was minted (a legacy one for ever); revoke it by hand:\n\n  {commands}"
    ))
}
