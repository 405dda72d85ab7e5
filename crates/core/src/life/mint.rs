//! Minting: from the recorded state to the token in the job's hands, or to nothing at all.

use std::{cell::RefCell, panic::AssertUnwindSafe, path::Path, time::Duration};

use futures_util::FutureExt as _;
use jiff::{SignedDuration, Timestamp};
use tokio::task::JoinHandle;

use crate::{
    access::{self, Holder, Verdict},
    anchor::{self, Origin, legacy, role},
    claims::{Claims, account::Account},
    cluster::{Budget, Cluster, NoAnswer, probe},
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
    rbac::Permission,
    record::state::State,
    refusal::{RequiredPermission, advice},
    text::{harmless, time},
};

/// A CI runner kills a cancelled job after 7.5 s at the earliest (GitHub): be done before.
const CLEAN_UP: Duration = Duration::from_secs(3);
/// Within that, for a delivery that is under way.
const LAST_WRITES: Duration = Duration::from_secs(1);

/// What is to be minted, by whom, and where it goes. Nothing has been created yet.
pub struct Plan {
    /// As it will be recorded first.
    pub state: State,
    minter: Minter,
    cluster: Cluster,
    spec: Spec,
}

/// A token that its job has.
pub struct HandedOver {
    /// What the end of the job needs, as it was recorded last.
    pub state: State,
    /// What the person should know, the server's warnings included; harmless text.
    pub warnings: Vec<String>,
    /// The API server, asked as the minter.
    pub cluster: Cluster,
}

/// What only the front end knows how to do.
pub struct Handover<R, D> {
    /// Records the state: before the anchor is created, and again when more is known. `None`: nothing is left
    /// to revoke.
    pub record: R,
    /// Masks the token, before anything of it is written anywhere.
    pub mask: fn(&Minted) -> Result<(), Error>,
    /// Delivers it, once its files are written. Runs on a thread of its own, as masking does, so that a
    /// reader who does not read cannot keep a signal from being obeyed.
    pub deliver: D,
}

impl Plan {
    /// Reads the inputs, those too that only the end of the job needs: what is wrong fails before anything is
    /// created. `folder` is where relative paths begin. An exec plugin of the minter runs here, and a CI
    /// platform is asked for an ID token.
    ///
    /// # Errors
    /// The first input that is wrong, a minter that is not there, or a signal.
    pub async fn make(
        inputs: &Inputs,
        folder: &Path,
        environment: &Environment,
        interrupt: &mut Interrupt,
    ) -> Result<Self, Error> {
        verify_revocation(inputs)?;
        inputs.flag(Opt::FailOnRevokeError)?;
        // Before an exec plugin runs, which may take a while.
        Spec::parse(inputs, None)?;
        let minter = tokio::select! {
            interrupted = interrupt.wait() => return Err(interrupted),
            minter = Minter::resolve(inputs, environment) => minter?,
        };
        let spec = Spec::parse(inputs, minter.namespace.as_deref())?;
        let state = State::new(&minter, &spec, inputs, folder, environment)?;
        // What cannot be recorded must not come to be.
        state.json()?;
        Ok(Self {
            state,
            cluster: Cluster::connect(&minter)?,
            minter,
            spec,
        })
    }

    /// Mints a token and hands it over. Either that succeeds, or no anchor is left behind: whatever fails,
    /// panics or interrupts after the state was recorded, the anchor is deleted before this returns.
    ///
    /// # Errors
    /// Whatever went wrong first, with what else is wrong if that may be the cause; if the anchor could not
    /// be deleted then, that too, with the command to do it by hand.
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
        } = self;
        let mut origin = origin.clone();
        if let (None, Some(bearer)) = (&origin.check_run_id, &minter.identity.bearer) {
            // A runner that does not know it may have been given an ID token that does.
            origin.check_run_id = oidc::check_run_id(bearer);
        }
        state.receipt.check_run_id.clone_from(&origin.check_run_id);
        match mint(&cluster, &spec, &origin, state, handover, interrupt).await {
            Ok((state, mut warnings)) => {
                warnings.extend(outlived(minter.expires(), &state));
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

/// The warning that the minter's credential ends before the token does.
fn outlived(minter: Option<Timestamp>, state: &State) -> Option<String> {
    let receipt = &state.receipt;
    let renewed = receipt
        .minted
        .zip(state.renewal.as_ref())
        .and_then(|(minted, renewal)| {
            let seconds = i64::try_from(renewal.seconds).ok()?;
            minted.checked_add(SignedDuration::from_secs(seconds)).ok()
        });
    let token = receipt.expires.or(receipt.swept).max(renewed)?;
    let minter = minter.filter(|minter| *minter < token)?;
    Some(format!(
        "the minter's credential expires at {}, and the token at {}: a job that ends in between cannot \
         revoke its token; use a credential that lasts for as long as the job, or a shorter `duration`",
        time(minter),
        time(token)
    ))
}

async fn mint<R, D>(
    cluster: &Cluster,
    spec: &Spec,
    origin: &Origin,
    state: State,
    Handover {
        mut record,
        mask,
        deliver,
    }: Handover<R, D>,
    interrupt: &mut Interrupt,
) -> Result<(State, Vec<String>), Error>
where
    R: FnMut(Option<&State>) -> Result<(), Error>,
    D: FnOnce(&Minted, &State) -> Result<(), Error> + Send + 'static,
{
    let progress = RefCell::new(Progress {
        state,
        creation: Creation::Impossible,
    });
    let work = AssertUnwindSafe(work(cluster, spec, origin, &progress, &mut record)).catch_unwind();
    let minted = tokio::select! {
        biased;
        interrupted = interrupt.wait() => Err(interrupted),
        minted = work => minted.unwrap_or_else(|_| Err(Error::new(Kind::Internal, "jobpass panicked"))),
    };
    let Progress { state, creation } = progress.into_inner();
    let delivery = match minted {
        Ok(minted) => {
            let (warnings, state) = (minted.warnings.clone(), state.clone());
            let delivery = tokio::task::spawn_blocking(move || {
                mask(&minted)?;
                let warning = state
                    .files
                    .write(&minted.token, state.for_job(), &state.receipt)?;
                deliver(&minted, &state).inspect_err(|_| drop(state.files.remove()))?;
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
    // A delivery that failed has removed what it wrote; what else may be there is not ours.
    let removed = match &delivery {
        Delivery::Interrupted(_) => state.files.remove(),
        _ => Ok(()),
    };
    let revoked = match creation {
        Creation::Impossible => Ok(()),
        Creation::Possible => revoke::undo(cluster, &state, Budget::to_the_end(CLEAN_UP)).await,
    };
    let certain = is_certain(&delivery, creation, &state);
    let left = revoked
        .and(removed)
        .and_then(|()| if certain { record(None) } else { Ok(()) });
    Err(match left {
        Ok(()) => error,
        Err(left) => error.help(left.to_string()),
    })
}

/// Whether nothing can come to be any more. A delivery that is stuck may write its files later, and the API
/// server may create an anchor later whose creation it did not answer: then the end of the job needs the
/// state once more.
fn is_certain(delivery: &Delivery, creation: Creation, state: &State) -> bool {
    let may_come = creation == Creation::Possible && state.receipt.anchor_uid.is_none();
    !matches!(delivery, Delivery::Stuck(_)) && !may_come
}

enum Delivery {
    /// With the warnings.
    Done(Vec<String>),
    Failed(Error),
    /// Interrupted, by a signal or a panic, and at an end: its files may be there.
    Interrupted(Error),
    /// Interrupted, and its thread does not come back.
    Stuck(Error),
}

async fn finish_or_stop(
    mut delivery: JoinHandle<Result<Vec<String>, Error>>,
    interrupt: &mut Interrupt,
) -> Delivery {
    let interrupted = tokio::select! {
        biased;
        delivered = &mut delivery => {
            return match delivered {
                Ok(Ok(warnings)) => Delivery::Done(warnings),
                Ok(Err(error)) => Delivery::Failed(error),
                // It may have written its files by then.
                Err(_) => Delivery::Interrupted(Error::new(Kind::Internal, "jobpass panicked while it delivered the token")),
            };
        }
        interrupted = interrupt.wait() => interrupted,
    };
    // What it has begun to write can only be removed once it has stopped writing.
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

#[derive(Clone, Copy, PartialEq)]
enum Creation {
    /// The anchor was not asked for, or the API server refused it.
    Impossible,
    /// The anchor was asked for.
    Possible,
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
    progress.borrow_mut().creation = Creation::Possible;
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
            let minted = request_token(cluster, spec, &name, &uid, account, &budget).await?;
            let mut minted = minted.ok_or_else(|| {
                Error::new(
                    Kind::Refused,
                    "cannot get a token: the anchor was gone as soon as it was there",
                )
                .help("something in the cluster deletes Secrets of type jobpass.dev/anchor: find out what")
            })?;
            minted.warnings.extend(minted.claims.verify(spec, &uid, account)?);
            progress.borrow_mut().state.receipt.minted(&minted.claims);
            minted
        }
        TokenType::Legacy => {
            let permission = RequiredPermission::minting(spec);
            let filled = legacy::filled(cluster, &spec.namespace, &name, &uid, &permission, &budget).await?;
            let claims = Claims::decode(&filled.token)?;
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

/// The warning that the minter may do everything, asked as the minter. Nothing is known if nobody answers in time.
async fn mighty_minter(cluster: &Cluster, spec: &Spec, budget: &Budget) -> Option<String> {
    if spec.checks.escape == EscapeCheck::Off {
        return None;
    }
    let patience = budget.at_most(access::WARN);
    let (verdict, _) = access::review(cluster, &Permission::everything(), &spec.namespace, &patience).await;
    (verdict == Verdict::Allowed).then(|| format!("{}; {}", advice::MIGHTY, advice::lesser_minter(spec)))
}

/// Asks with the token itself what it may do. One for others than the API server can ask nothing, and do nothing there.
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
    // One question more, and only where something is not known. A 401 of a gateway counts: the job meets it
    // as well.
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

/// The failure of a token that its job could not use.
fn not_accepted(server: &str) -> Error {
    let server = harmless(server);
    Error::new(
        Kind::Refused,
        format!("the cluster issued the token, and `{server}` does not accept it: it answers 401"),
    )
    .help(
        "a proxy before the API server may accept the minter, and no ServiceAccount tokens: Rancher before \
         2.9, GitLab's KAS, GKE's DNS endpoint without `enableK8sTokensViaDns`, Teleport. Give the API \
         server's own address as `job-server`, with `job-certificate-authority`. If this is the API server \
         itself, its log says why",
    )
}

#[cfg(test)]
mod tests;
