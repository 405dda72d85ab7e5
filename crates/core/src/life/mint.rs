//! Minting: all steps, from recording the state to handing the token over. If a step fails, jobpass deletes
//! what the earlier steps created.

use std::{cell::RefCell, panic::AssertUnwindSafe, path::Path, time::Duration};

use futures_util::FutureExt as _;
use jiff::{SignedDuration, Timestamp};
use tokio::task::JoinHandle;

use crate::{
    access::{self, Holder, Verdict},
    anchor::{self, Origin, legacy, role},
    claims::{Claims, account::Account},
    cluster::{Budget, Cluster, Identity, NoAnswer, probe},
    doctor,
    error::{Error, Kind},
    inputs::{
        checks::EscapeCheck,
        options::{Inputs, Opt},
        revocation::verify_revocation,
        spec::{Spec, TokenType},
    },
    life::{
        revoke,
        token_request::{MINT, Minted, request_token},
    },
    minter::Minter,
    oidc,
    process::{environment::Environment, interrupt::Interrupt},
    proxy::Door,
    rbac::Permission,
    record::{filter::FilterJournal, state::State},
    refusal::{RequiredPermission, advice},
    text::{harmless, time},
    token::Token,
};

/// The time limit for deleting the anchor after a failure or a signal. GitHub's runner sends SIGINT to a
/// cancelled step, SIGTERM 7.5 s later, and kills the step after another 2.5 s.
const CLEAN_UP: Duration = Duration::from_secs(3);
/// The time for which jobpass waits after a signal for the end of a delivery that has begun.
const LAST_WRITES: Duration = Duration::from_secs(1);

/// A token to mint, with everything that minting needs. jobpass has created nothing yet, except missing
/// folders for the files that it will write.
pub struct Plan {
    /// The state that jobpass records first.
    pub state: State,
    minter: Minter,
    cluster: Cluster,
    spec: Spec,
    /// The journal of the filter that masks the output of this process.
    filter: Option<FilterJournal>,
}

/// A token that jobpass has handed over to its job.
pub struct HandedOver {
    /// The state that jobpass recorded last. The end of the job needs it.
    pub state: State,
    /// Warnings for a person, including the warnings of the API server. Harmless text.
    pub warnings: Vec<String>,
    /// The API server, with the minter's identity.
    pub cluster: Cluster,
}

/// The steps of a hand-over that only the front end can do, and the time that only the front end knows.
pub struct Handover<R, D> {
    /// The time by which the front end has revoked the token, however long the job runs. `None` if the front
    /// end does not know when the CI platform ends the job, or if later jobs get the token.
    pub revoked_by: Option<Timestamp>,
    /// Records the state: before jobpass creates the anchor, after the creation, and after the API server
    /// issued the token. jobpass passes `None` after a failure that leaves nothing to revoke.
    pub record: R,
    /// For a state with a proxy, opens the proxy that keeps the token. The job, `mask` and `deliver` get the
    /// bearer of the proxy in place of the token.
    pub open: Open,
    /// Masks the token in the job's log, if the platform has a command for this. jobpass calls this before it
    /// writes the token into the job's files.
    pub mask: fn(&Minted) -> Result<(), Error>,
    /// Delivers the token, after jobpass has written the token's files. `open`, `mask` and `deliver` run on a
    /// separate thread: a write to the log can block, which must not delay the reaction to a signal.
    pub deliver: D,
}

/// Opens the proxy that a state records, with the job's token.
pub type Open = Box<dyn FnOnce(&State, &Token) -> Result<Door, Error> + Send>;

impl Plan {
    /// Reads the inputs, including those for the end of the job, so that a wrong input fails before jobpass
    /// creates anything in the cluster. Relative paths of the token's files begin at `folder`. Runs the
    /// minter's exec plugin, or requests an ID token from the CI platform, if the minter's credential comes
    /// from the plugin or the platform.
    ///
    /// # Errors
    /// If an input or a variable is wrong, if jobpass finds no minter or gets no credential for it, if the
    /// journal of the log filter is gone or open to another user, or if a signal arrives.
    pub async fn make(
        inputs: &Inputs,
        folder: &Path,
        environment: &Environment,
        interrupt: &mut Interrupt,
    ) -> Result<Self, Error> {
        verify_revocation(inputs)?;
        inputs.flag(Opt::FailOnRevokeError)?;
        let filter = FilterJournal::of(environment)?;
        // An exec plugin may take a while, so wrong inputs fail before it runs.
        Spec::parse(inputs, None)?;
        let minter = tokio::select! {
            interrupted = interrupt.wait() => return Err(interrupted),
            minter = Minter::resolve(inputs, environment) => minter?,
        };
        let spec = Spec::parse(inputs, minter.namespace.as_deref())?;
        let state = State::new(&minter, &spec, inputs, folder, environment)?;
        // jobpass must not mint a token whose state it cannot record.
        state.json()?;
        // If jobpass cannot use the certificates for `job-server`, this must fail before jobpass creates
        // anything.
        if let Some(server) = &state.job_server {
            Cluster::connect_as(server, &Identity::default())?;
        }
        Ok(Self {
            state,
            cluster: Cluster::connect(&minter)?,
            minter,
            spec,
            filter,
        })
    }

    /// Mints a token and hands it over. After an error, a panic or a signal, deletes the anchor before it
    /// returns.
    ///
    /// # Errors
    /// The first failure. doctor adds a likely cause, if it finds one. If jobpass could not delete the
    /// anchor, the error also has the command that deletes the anchor by hand. In that case, if the API
    /// server may have issued the token, the error is of [`Kind::Revoke`].
    pub async fn mint<R, D>(
        self,
        origin: &Origin,
        handover: Handover<R, D>,
        interrupt: &mut Interrupt,
    ) -> Result<HandedOver, Error>
    where
        R: FnMut(Option<&State>) -> Result<(), Error>,
        D: FnOnce(&Minted, &State) -> Result<(), Error> + Send + 'static,
    {
        let Self {
            mut state,
            minter,
            cluster,
            spec,
            filter,
        } = self;
        let mut origin = origin.clone();
        if let (None, Some(bearer)) = (&origin.check_run_id, &minter.identity.bearer) {
            // Some runners do not tell the job this id. The job's ID token contains the id as a claim.
            origin.check_run_id = oidc::check_run_id(bearer);
        }
        state.receipt.check_run_id.clone_from(&origin.check_run_id);
        let revoked_by = handover.revoked_by;
        match mint(&cluster, &spec, &origin, state, filter, handover, interrupt).await {
            Ok((state, mut warnings)) => {
                warnings.extend(outlived(minter.expires(), revoked_by, &state));
                Ok(HandedOver {
                    state,
                    warnings,
                    cluster,
                })
            }
            Err(error) => Err(doctor::explained(error, &minter, &spec, interrupt).await),
        }
    }
}

/// Warns if the minter's credential expires before the token and before the front end revokes it: the end of
/// the job may then fail to revoke.
fn outlived(minter: Option<Timestamp>, revoked_by: Option<Timestamp>, state: &State) -> Option<String> {
    let receipt = &state.receipt;
    let renewed = receipt
        .minted
        .zip(state.renewal.as_ref())
        .and_then(|(minted, renewal)| {
            let seconds = i64::try_from(renewal.seconds).ok()?;
            minted.checked_add(SignedDuration::from_secs(seconds)).ok()
        });
    let end = receipt.expires.or(receipt.swept).max(renewed)?;
    let minter = minter.filter(|minter| *minter < revoked_by.map_or(end, |by| by.min(end)))?;
    let (until, input) = match (renewed, receipt.expires) {
        (Some(_), _) if state.proxy.is_some() => ("jobpass renews the token until", "duration"),
        (Some(_), _) => ("jobpass renews the token until", "renew-for"),
        (None, Some(_)) => ("the token expires at", "duration"),
        (None, None) => ("`jobpass sweep` deletes the token after", "duration"),
    };
    Some(format!(
        "the minter's credential expires at {}, and {until} {}: a job that ends in between cannot revoke its \
         token. Use a credential that lasts for as long as the job, or a shorter `{input}`",
        time(minter),
        time(end)
    ))
}

async fn mint<R, D>(
    cluster: &Cluster,
    spec: &Spec,
    origin: &Origin,
    state: State,
    filter: Option<FilterJournal>,
    Handover {
        mut record,
        open,
        mask,
        deliver,
        ..
    }: Handover<R, D>,
    interrupt: &mut Interrupt,
) -> Result<(State, Vec<String>), Error>
where
    R: FnMut(Option<&State>) -> Result<(), Error>,
    D: FnOnce(&Minted, &State) -> Result<(), Error> + Send + 'static,
{
    // A signal drops `work` in the middle. The progress decides what to clean up, so it lives outside of
    // `work`.
    let progress = RefCell::new(Progress {
        state,
        creation: Creation::Impossible,
    });
    let work = AssertUnwindSafe(work(cluster, spec, origin, &progress, &mut record)).catch_unwind();
    let minted = tokio::select! {
        // If both are ready, the signal takes precedence: the runner wants the job to end, so the job gets no
        // token.
        biased;
        interrupted = interrupt.wait() => Err(interrupted),
        minted = work => minted.unwrap_or_else(|_| Err(Error::defect("jobpass panicked while it minted the token"))),
    };
    let Progress { state, creation } = progress.into_inner();
    let delivery = match minted {
        Ok(mut minted) => {
            let (warnings, state) = (minted.warnings.clone(), state.clone());
            let delivery = tokio::task::spawn_blocking(move || {
                let door = state.proxy.as_ref().map(|_| open(&state, &minted.token));
                let door = door.transpose()?;
                if let Some(door) = &door {
                    minted.token = door.bearer.clone();
                }
                let connection = door.as_ref().map_or(state.for_job(), |door| &door.connection);
                // Removing the files also closes the proxy.
                let undo = || drop(state.files.remove());
                let announced = filter.map_or(Ok(()), |filter| filter.announce(&minted.token));
                let written = announced
                    .and_then(|()| mask(&minted))
                    .and_then(|()| state.files.write(&minted.token, connection, &state.receipt));
                let warning = match door {
                    Some(_) => written.inspect_err(|_| undo())?,
                    None => written?,
                };
                deliver(&minted, &state).inspect_err(|_| undo())?;
                Ok(warnings.into_iter().chain(warning).collect())
            });
            finish_or_stop(delivery, interrupt).await
        }
        Err(error) => Delivery::Failed(error),
    };
    let error = match &delivery {
        Delivery::Done(warnings) => return Ok((state, warnings.clone())),
        Delivery::Failed(error) | Delivery::Interrupted(error) | Delivery::Stuck(error) => error.clone(),
    };
    // A failed delivery has removed its own files. Other files at those paths belong to somebody else.
    let removed = match &delivery {
        Delivery::Interrupted(_) => state.files.remove(),
        _ => Ok(()),
    };
    let revoked = match creation {
        Creation::Impossible => Ok(()),
        Creation::OfAnchor | Creation::OfToken => {
            revoke::undo(cluster, &state, Budget::to_the_end(CLEAN_UP)).await
        }
    };
    if let Err(unrevoked) = revoked {
        return Err(match creation {
            Creation::OfToken => error.and_unrevoked(&unrevoked),
            Creation::Impossible | Creation::OfAnchor => error.help(unrevoked.to_string()),
        });
    }
    let certain = is_certain(&delivery, creation, &state);
    let left = removed.and_then(|()| if certain { record(None) } else { Ok(()) });
    Err(match left {
        Ok(()) => error,
        Err(left) => error.help(left.to_string()),
    })
}

/// Whether it is certain that no file and no anchor appears later. A stuck delivery may still write its
/// files. An API server that did not answer may still create the anchor. In both cases, the end of the job
/// needs the state.
fn is_certain(delivery: &Delivery, creation: Creation, state: &State) -> bool {
    let may_come = creation != Creation::Impossible && state.receipt.anchor_uid.is_none();
    !matches!(delivery, Delivery::Stuck(_)) && !may_come
}

enum Delivery {
    /// The delivery succeeded, with these warnings.
    Done(Vec<String>),
    Failed(Error),
    /// A signal arrived, or the delivery panicked. The delivery's thread has ended, and its files may exist.
    Interrupted(Error),
    /// A signal stopped the wait, but the delivery's thread still runs. It may write its files later.
    Stuck(Error),
}

async fn finish_or_stop(
    mut delivery: JoinHandle<Result<Vec<String>, Error>>,
    interrupt: &mut Interrupt,
) -> Delivery {
    let interrupted = tokio::select! {
        // If both are ready, the delivery takes precedence: the job has its token, and the next caller of
        // `interrupt` gets the signal.
        biased;
        delivered = &mut delivery => {
            return match delivered {
                Ok(Ok(warnings)) => Delivery::Done(warnings),
                Ok(Err(error)) => Delivery::Failed(error),
                // A delivery that panicked may have written its files.
                Err(_) => Delivery::Interrupted(Error::defect("jobpass panicked while it delivered the token")),
            };
        }
        interrupted = interrupt.wait() => interrupted,
    };
    // jobpass can remove the files only after the delivery has stopped writing them.
    match tokio::time::timeout(LAST_WRITES, delivery).await {
        Ok(Ok(Err(_))) => Delivery::Failed(interrupted),
        Ok(_) => Delivery::Interrupted(interrupted),
        Err(_) => Delivery::Stuck(interrupted),
    }
}

struct Progress {
    state: State,
    creation: Creation,
}

/// The objects that the API server may have created so far.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Creation {
    /// No object: no request for the anchor reached the API server, or the API server refused it.
    Impossible,
    /// The anchor, and perhaps the job's own role, but no token.
    OfAnchor,
    /// The anchor, perhaps the job's own role, and the token.
    OfToken,
}

async fn work<R>(
    cluster: &Cluster,
    spec: &Spec,
    origin: &Origin,
    progress: &RefCell<Progress>,
    record: &mut R,
) -> Result<Minted, Error>
where
    R: FnMut(Option<&State>) -> Result<(), Error>,
{
    let budget = Budget::new(MINT);
    record(Some(&progress.borrow().state))?;
    progress.borrow_mut().creation = match spec.token_type {
        TokenType::Bound => Creation::OfAnchor,
        // The cluster's token controller writes the token into this anchor at once.
        TokenType::Legacy => Creation::OfToken,
    };
    let name = progress.borrow().state.receipt.anchor.clone();
    let created = anchor::create(cluster, spec, origin, &name, &budget).await;
    let (uid, mut warnings) = created.map_err(|NoAnswer { error, maybe_done }| {
        if !maybe_done {
            progress.borrow_mut().creation = Creation::Impossible;
        }
        error
    })?;
    progress.borrow_mut().state.receipt.anchor_uid = Some(uid.clone());
    record(Some(&progress.borrow().state))?;

    let mut account = None;
    if !spec.rules.is_empty() {
        let made = role::create(cluster, spec, &uid, &budget).await?;
        warnings.extend(made.warnings);
        account = made.account_uid;
    }
    let account = account.as_deref();
    let mut minted = match spec.token_type {
        TokenType::Bound => {
            progress.borrow_mut().creation = Creation::OfToken;
            let permission = RequiredPermission::minting(spec);
            let minted = request_token(cluster, spec, &name, &uid, account, &permission, &budget).await?;
            let mut minted = minted.ok_or_else(|| {
                Error::new(
                    Kind::Refused,
                    "cannot get a token: another program deleted the anchor right after jobpass created it",
                )
                .help("find out which program deletes Secrets of type jobpass.dev/anchor in this cluster")
            })?;
            minted.warnings.extend(minted.claims.verify(spec, &uid, account)?);
            progress.borrow_mut().state.receipt.minted(&minted.claims);
            minted
        }
        TokenType::Legacy => {
            let permission = RequiredPermission::minting(spec);
            let filled = legacy::filled(cluster, &spec.namespace, &name, &uid, &permission, &budget).await?;
            let claims = Claims::of_legacy_secret(&filled.token, &spec.namespace, &name)?;
            claims.verify_legacy(&spec.namespace, &spec.service_account, &name)?;
            let receipt = &mut progress.borrow_mut().state.receipt;
            receipt.legacy(filled.created, spec.lifetime);
            Minted {
                token: filled.token,
                claims,
                access: None,
                warnings: Vec::new(),
            }
        }
    };
    warnings.append(&mut minted.warnings);
    minted.warnings = warnings;
    // If somebody kills jobpass during the checks below, the end of the job must know that a token exists.
    record(Some(&progress.borrow().state))?;
    let as_job = progress.borrow().state.as_job(cluster, &minted.token)?;
    let (mighty, checked) = tokio::join!(
        mighty_minter(cluster, spec, &budget),
        check(&as_job, spec, &mut minted, &budget)
    );
    checked?;
    minted.warnings.extend(mighty);
    Ok(minted)
}

/// Asks the API server, as the minter, whether the minter has all permissions. Returns a warning if so. Asks
/// nothing if `escape-check` is `off`. Gives no warning if no answer comes in time.
async fn mighty_minter(cluster: &Cluster, spec: &Spec, budget: &Budget) -> Option<String> {
    if spec.checks.escape == EscapeCheck::Off {
        return None;
    }
    let patience = budget.at_most(access::WARN);
    let (verdict, _) = access::review(cluster, &Permission::everything(), &spec.namespace, &patience).await;
    (verdict == Verdict::Allowed).then(|| format!("{}; {}", advice::MIGHTY, advice::lesser_minter(spec)))
}

/// Asks the API server for the token's permissions, with the token itself. Does not ask if the inputs demand
/// no check and no role, or if the input `audiences` is given: the API server answers 401 to a token for
/// other audiences.
///
/// # Errors
/// If a check fails, or if the job's server does not accept the token.
async fn check(as_job: &Cluster, spec: &Spec, minted: &mut Minted, budget: &Budget) -> Result<(), Error> {
    if spec.checks.is_empty() && spec.rules.is_empty() || !spec.audiences.is_empty() {
        return Ok(());
    }
    let holder = Holder {
        namespace: spec.namespace.clone(),
        account: Some(Account {
            namespace: spec.namespace.clone(),
            name: spec.service_account.clone(),
        }),
    };
    minted
        .warnings
        .extend(role::in_effect(as_job, spec, budget).await);
    let report = spec.checks.ask(as_job, &holder, budget).await;
    // jobpass sends this request only if a verdict is unknown. If a gateway answers 401, minting fails as
    // well, because the job would get the same answer.
    if report.is_partly_unknown()
        && let Ok(answer) = probe::ask(as_job, budget).await
        && answer.status == 401
    {
        return Err(not_accepted(as_job.server()));
    }
    if let Err(error) = report.verdict() {
        return Err(error.reporting(report.text(), report.markdown()));
    }
    minted.warnings.extend(report.warnings());
    minted.access = Some(report);
    Ok(())
}

/// The error for a token that the cluster issued, but that the job's server does not accept.
fn not_accepted(server: &str) -> Error {
    let server = harmless(server);
    Error::new(
        Kind::Refused,
        format!("the cluster issued the token, but `{server}` answers 401 to it"),
    )
    .help(
        "a proxy in front of the API server may accept the minter, but no ServiceAccount tokens: Rancher before 2.9, GitLab's KAS, GKE's DNS \
         endpoint without `enableK8sTokensViaDns`, Teleport. Give the API server's own address as `job-server`, with \
         `job-certificate-authority`. If this is the API server itself, its log says why",
    )
}

#[cfg(test)]
mod tests;
