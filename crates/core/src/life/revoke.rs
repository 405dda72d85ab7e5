//! The revocation: jobpass deletes the anchor, then proves that the token is dead.

mod by_anchor;

use std::{cell::Cell, future::ready, sync::Arc, time::Duration};

use futures_util::FutureExt as _;
use tokio::time::Instant;

use crate::{
    anchor::{self, Deletion, held, role},
    claims::Claims,
    cluster::{
        Answer, Budget, Call, Cluster,
        probe::{self, WATCH_LAG},
    },
    error::{Error, Kind},
    inputs::{
        options::Inputs,
        revocation::{Verify, verify_revocation},
    },
    life::proxy,
    minter::Minter,
    process::{environment::Environment, interrupt::Interrupt},
    record::{
        journal::{Entry, Reader},
        receipt::Proof,
        state::State,
        token_files::Files,
    },
    refusal::RequiredPermission,
    token::Token,
};

pub use self::by_anchor::{AnchorName, by_anchor};

/// The time limit for the deletion of the anchor, its retries, and the proof together.
pub const REVOKE: Duration = Duration::from_secs(40);
/// The time that remains for the deletion after a signal.
const HURRY: Duration = Duration::from_secs(5);

/// The time limit for reading and removing the token's files. The deletion of the anchor runs at the same
/// time.
const READ_AND_REMOVE: Duration = Duration::from_secs(5);

/// The time limit for deleting the RoleBinding of a job's own role. jobpass deletes the anchor afterwards.
const HEAD_START: Duration = Duration::from_secs(1);
/// The time limit for deleting the ServiceAccount, the Role and the RoleBinding of a job's own role.
const TIDY: Duration = Duration::from_secs(8);

/// The time for which kube-apiserver still accepts a token from its cache
/// (`pkg/kubeapiserver/options/authentication.go`, `TokenSuccessCacheTTL`).
pub const SUCCESS_CACHE: Duration = Duration::from_secs(10);
/// The time in which every replica of the API server learns of the deletion through its own watch. It
/// includes a margin.
const SLACK: Duration = Duration::from_secs(5);
/// The waits before each further deletion of an anchor whose creation was interrupted: the API server may
/// create the anchor a moment after the runner killed the job.
const LATE_CREATION: &[Duration] = &[
    Duration::from_millis(300),
    Duration::from_millis(700),
    Duration::from_secs(1),
];

/// The waits before jobpass repeats a refused deletion: an API server that has just started may allow it a
/// moment later.
const SECOND_THOUGHTS: &[Duration] = &[Duration::from_secs(1), Duration::from_secs(2)];

/// The outcome of a revocation.
#[derive(Debug, Clone)]
pub struct Revoked {
    /// The proof that the token is dead, or [`Proof::NotAsked`].
    pub proof: Proof,
    /// Whether jobpass found a Secret with the anchor's name and another uid, and left it alone.
    pub left_alone: bool,
    /// Notes for a person. Harmless text.
    pub notes: Vec<String>,
}

/// Ends the token's life: removes its files, deletes the anchor, proves that the token is dead, and completes
/// the receipt.
///
/// Connects only to the servers in the state. The inputs and the environment may have changed since minting,
/// so jobpass takes only credentials and `verify-revocation` from them.
///
/// `handed_over` is the token, if the caller has received it from another job. jobpass ignores a token that
/// is not bound to the anchor. After a signal, 5 s are left for the deletion.
///
/// The caller may repeat the call: a missing anchor counts as revoked. The deletion uses background
/// propagation, which sets no finalizer. While a finalizer holds the Secret, the API server still accepts a
/// bound token for up to a minute.
///
/// # Errors
/// If the anchor may still exist, if jobpass cannot prove that the token is dead, if a signal arrives first,
/// or if jobpass cannot remove one of the token's files. If only a file is left, the receipt has the time of
/// the revocation. If jobpass could not delete the anchor, the error has the command that deletes the anchor
/// by hand.
pub async fn at_end_of_job(
    state: &mut State,
    handed_over: Option<Token>,
    inputs: &Inputs,
    environment: &Environment,
    interrupt: &mut Interrupt,
) -> Result<Revoked, Error> {
    state.job_server = state
        .job_server
        .take()
        .map(|server| server.with_credentials_of_proxy(environment));
    let closed = proxy::close(state).await;
    let leftovers = Leftovers::take(state.files.clone()).shared();
    let token = async {
        let in_file = leftovers.clone().await.token.clone();
        in_file.or(handed_over).filter(|token| is_proof(token, state))
    };
    // A wrong word in this input must not keep jobpass from revoking.
    let verify = verify_revocation(inputs).unwrap_or(Verify::Quick);
    let deleted = Cell::new(false);
    let work = async {
        let cluster = connect(state, inputs, environment)
            .await
            .map_err(|error| by_hand(error, state))?;
        let revocation = Revocation {
            cluster: &cluster,
            state,
            budget: Budget::to_the_end(REVOKE),
            deleted: &deleted,
            proxy_closed: closed.as_ref().is_some_and(|closed| closed.is_certain),
        };
        revocation.run(token, verify).await
    };
    let interrupted = async {
        let interrupted = interrupt.wait().await;
        // After a signal, jobpass waits for the deletion, but not for the proof.
        if !deleted.get() {
            tokio::time::sleep(HURRY).await;
        }
        interrupted
    };
    let revoked = tokio::select! {
        revoked = work => revoked,
        interrupted = interrupted => {
            Err(if deleted.get() { interrupted.into_unproven() } else { by_hand(interrupted, state) })
        }
    };
    let leftovers = leftovers.await;
    let journal = closed
        .as_ref()
        .map_or(&leftovers.journal, |closed| &closed.journal);
    // The receipt tells about the renewals even if the revocation failed.
    let not_renewed = state.settle_renewals(journal, jiff::Timestamp::now());
    let mut revoked = revoked?;
    revoked.notes.splice(..0, not_renewed);
    state.receipt.revoked = jiff::Timestamp::from_second(jiff::Timestamp::now().as_second()).ok();
    state.receipt.proof = Some(revoked.proof);
    let removed = leftovers.removed.clone().map_err(|error| {
        let what = format!("the token is revoked, but jobpass {}", error.message());
        Error::new(error.kind(), what).help("nobody can use the token any more: remove the file by hand")
    });
    removed.map(|()| revoked)
}

/// The contents of the token's files. jobpass needs them for the proof and the receipt, and removes the
/// files.
struct Leftovers {
    token: Option<Token>,
    journal: Vec<Entry>,
    removed: Result<(), Error>,
}

impl Leftovers {
    /// Begins to read and remove the files, on a separate thread. Any step of the job can replace one of
    /// these files by a link to a FUSE file system that hangs. A read that hangs must not delay the deletion
    /// of the anchor.
    fn take(files: Files) -> impl Future<Output = Arc<Self>> {
        let until = Instant::now() + READ_AND_REMOVE;
        let taking = tokio::task::spawn_blocking(move || {
            let journal = files.journal.as_deref().map(Reader::new);
            let token = files.token();
            let removed = files.remove();
            // The renewer writes to the journal until jobpass removes it. So this reads the journal last.
            let journal = journal.map(|mut journal| journal.news()).unwrap_or_default();
            Self {
                token,
                journal,
                removed,
            }
        });
        async move {
            let taken = tokio::time::timeout_at(until, taking).await;
            Arc::new(taken.ok().and_then(Result::ok).unwrap_or_else(|| {
                let what = format!(
                    "cannot remove the token's files: the file system does not answer within {} s",
                    READ_AND_REMOVE.as_secs()
                );
                Self {
                    token: None,
                    journal: Vec::new(),
                    removed: Err(Error::new(Kind::Revoke, what)),
                }
            }))
        }
    }
}

/// Connects as the minter to the API server that issued the token.
async fn connect(state: &State, inputs: &Inputs, environment: &Environment) -> Result<Cluster, Error> {
    let environment = state.pinned(environment)?;
    let minter = Minter::from_recorded(&state.connection, &state.auth, inputs, &environment).await?;
    Cluster::connect(&minter)
}

/// Deletes the anchor after minting or the hand-over failed. Does not ask for a proof.
///
/// # Errors
/// If the anchor may still exist.
pub(crate) async fn undo(cluster: &Cluster, state: &State, budget: Budget) -> Result<(), Error> {
    let revocation = Revocation {
        cluster,
        state,
        budget,
        deleted: &Cell::new(false),
        proxy_closed: false,
    };
    revocation.run(ready(None), Verify::Off).await.map(|_| ())
}

/// Whether a 401 to `token` proves that the token of `state` is dead. The 401 proves nothing if a step of the
/// job put another token into the file. It also proves nothing if the token is for another audience, because
/// the API server answers 401 to every such token.
///
/// jobpass compares only the claims. So it does not notice a forged token with the same claims.
fn is_proof(token: &Token, state: &State) -> bool {
    let Ok(claims) = Claims::decode(token) else {
        return false;
    };
    if !state.for_api_server {
        return false;
    }
    if claims.is_of_secret(&state.receipt.namespace, &state.receipt.anchor) {
        return true;
    }
    let secret = claims.kubernetes.and_then(|private| private.secret);
    secret.is_some_and(|secret| secret.uid.is_some() && secret.uid == state.receipt.anchor_uid)
}

/// Turns an error into a failure to revoke, and adds the command that revokes the token without jobpass.
fn by_hand(error: Error, state: &State) -> Error {
    let (anchor, namespace) = (&state.receipt.anchor, &state.receipt.namespace);
    let why = if state.receipt.minted.is_some() {
        "the token may still work"
    } else {
        "the anchor may exist"
    };
    let help = format!(
        "{why}; delete the anchor by hand:\n\n  kubectl delete secret {anchor} --namespace {namespace}"
    );
    error.into_unrevoked().help(help)
}

/// The waits that are left before each further deletion of the anchor.
struct Retries {
    /// The waits that are left while a missing anchor may still appear.
    late: std::slice::Iter<'static, Duration>,
    second_thoughts: std::slice::Iter<'static, Duration>,
}

impl Retries {
    /// Starts with all waits. If the uid is known, leaves out the waits for a late anchor: the anchor exists
    /// already.
    fn new(is_uid_known: bool) -> Self {
        Self {
            late: match is_uid_known {
                true => [].iter(),
                false => LATE_CREATION.iter(),
            },
            second_thoughts: SECOND_THOUGHTS.iter(),
        }
    }

    /// The wait after an answer. `None` if the answer is final, or if no wait is left.
    fn after(&mut self, deletion: &Deletion) -> Option<Duration> {
        match deletion {
            Deletion::Gone { .. } => self.late.next().copied(),
            Deletion::Refused(_, answer) if matches!(answer.status, 401 | 403) => {
                self.second_thoughts.next().copied()
            }
            Deletion::Done | Deletion::Held | Deletion::AnotherUid | Deletion::Refused(..) => None,
        }
    }
}

/// The API server's answer to a request with the job's token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Said {
    Unauthorized,
    LetIn,
    /// A proxy on the way refused the request. That says nothing about the token.
    Nothing,
}

impl Said {
    fn of(answer: &Answer) -> Self {
        match answer.status {
            _ if answer.refused_by_another().is_some() => Self::Nothing,
            401 => Self::Unauthorized,
            _ => Self::LetIn,
        }
    }
}

struct Revocation<'a> {
    cluster: &'a Cluster,
    state: &'a State,
    budget: Budget,
    /// Whether the API server has accepted the deletion of the anchor, or has answered that the anchor is
    /// gone. From then on, a signal ends the other work at once.
    deleted: &'a Cell<bool>,
    /// Whether only jobpass's proxy held the token, and that proxy is closed.
    proxy_closed: bool,
}

impl Revocation<'_> {
    async fn run(
        &self,
        token: impl Future<Output = Option<Token>>,
        verify: Verify,
    ) -> Result<Revoked, Error> {
        self.unbind().await;
        let revoke = async {
            let deletion = self.delete().await.map_err(|error| by_hand(error, self.state))?;
            self.deleted.set(true);
            let deleted = Instant::now();
            let proof = match verify {
                Verify::Off => Ok(Proof::NotAsked),
                // No cache of an API server matters, because nobody can send the token.
                Verify::Quick | Verify::Wait if self.proxy_closed => {
                    self.must_be_gone().await.map(|()| Proof::ProxyClosed)
                }
                Verify::Quick => self.ask_once(token.await.as_ref()).await,
                Verify::Wait => self.ask_until_certain(token.await.as_ref(), deleted).await,
            };
            proof.map(|proof| (deletion, proof)).map_err(Error::into_unproven)
        };
        let (revoked, left) = tokio::join!(revoke, self.delete_role());
        let (deletion, proof) = revoked?;
        let left_alone = matches!(deletion, Deletion::AnotherUid);
        let other = left_alone.then(|| {
            let name = &self.state.receipt.anchor;
            format!(
                "the anchor is gone, and another Secret has its name `{name}` now. jobpass left that \
                 Secret alone"
            )
        });
        Ok(Revoked {
            proof,
            left_alone,
            notes: other.into_iter().chain(left).collect(),
        })
    }

    /// Removes the job's own permissions before jobpass deletes the anchor. An API server may cache a token
    /// for 10 s, but it looks up permissions at each request. The removal must not delay the deletion of the
    /// anchor for long.
    async fn unbind(&self) {
        let receipt = &self.state.receipt;
        if self.state.role {
            let unbind = role::unbind(self.cluster, &receipt.namespace, &receipt.anchor, &self.budget);
            let _ = tokio::time::timeout(HEAD_START, unbind).await;
        }
    }

    /// Deletes the job's ServiceAccount, Role and RoleBinding. The anchor owns them, but in some clusters the
    /// garbage collector deletes owned objects late.
    async fn delete_role(&self) -> Option<String> {
        let receipt = &self.state.receipt;
        if !self.state.role {
            return None;
        }
        let delete = role::delete(self.cluster, &receipt.namespace, &receipt.anchor, &self.budget);
        let why = match tokio::time::timeout(TIDY, delete).await {
            Ok(Ok(())) => return None,
            Ok(Err(error)) => error.message().to_owned(),
            Err(_) => format!("cannot delete the job's role within {} s", TIDY.as_secs()),
        };
        Some(format!(
            "{why}; the cluster's garbage collector deletes the rest of the role"
        ))
    }

    async fn delete(&self) -> Result<Deletion, Error> {
        let mut retries = Retries::new(self.state.receipt.anchor_uid.is_some());
        loop {
            let deletion = self.ask_to_delete().await?;
            match (retries.after(&deletion), deletion) {
                (Some(wait), _) => tokio::time::sleep(wait).await,
                (None, Deletion::Refused(call, answer)) => return Err(self.refused(&call, &answer)),
                (None, deletion) => return Ok(deletion),
            }
        }
    }

    async fn ask_to_delete(&self) -> Result<Deletion, Error> {
        let receipt = &self.state.receipt;
        let uid = receipt.anchor_uid.as_deref();
        let deletion = anchor::delete(
            self.cluster,
            &receipt.namespace,
            &receipt.anchor,
            uid,
            &self.budget,
        );
        Ok(deletion.await?)
    }

    /// The error for a refused deletion of the anchor.
    fn refused(&self, call: &Call, answer: &Answer) -> Error {
        let receipt = &self.state.receipt;
        let permission =
            RequiredPermission::revoking(&receipt.namespace, &receipt.service_account, self.state.role);
        let error = self.cluster.refused(call, answer, &permission);
        match answer.status {
            // The minter of a deleted set-up gets one of these answers. After such an answer, a 401 to the
            // token proves nothing: an API server in trouble answers 401 to everybody.
            401 | 403 => error.help(
                "if somebody deleted the set-up with `jobpass setup --delete --revoke`, the token is revoked \
                 already",
            ),
            _ => error,
        }
    }

    async fn ask_once(&self, token: Option<&Token>) -> Result<Proof, Error> {
        // A 401 to the token is not enough: a step of the job may have put a forged token into the token's
        // file.
        self.must_be_gone().await?;
        let Some(token) = token else {
            return Ok(Proof::AnchorGone);
        };
        tokio::time::sleep(WATCH_LAG).await;
        Ok(match self.ask(&self.state.as_job(self.cluster, token)?).await? {
            Said::Unauthorized => Proof::Unauthorized,
            // An API server that saw the token just before may accept it from its cache for 10 s.
            Said::LetIn | Said::Nothing => Proof::AnchorGone,
        })
    }

    async fn ask_until_certain(&self, token: Option<&Token>, deleted: Instant) -> Result<Proof, Error> {
        self.must_be_gone().await?;
        let as_token = token
            .map(|token| self.state.as_job(self.cluster, token))
            .transpose()?;
        tokio::time::sleep(WATCH_LAG).await;
        loop {
            let said = match &as_token {
                Some(cluster) => self.ask(cluster).await?,
                None => Said::Nothing,
            };
            let age = deleted.elapsed();
            if said != Said::LetIn && age >= SUCCESS_CACHE {
                self.must_be_gone().await?;
                return Ok(match said {
                    Said::Unauthorized => Proof::LongUnauthorized,
                    Said::LetIn | Said::Nothing => Proof::AnchorLongGone,
                });
            }
            if age >= SUCCESS_CACHE + SLACK {
                let what = format!(
                    "the API server still accepts the token {} s after jobpass deleted its anchor",
                    age.as_secs()
                );
                return Err(Error::new(Kind::Revoke, what).help(
                    "report this to the cluster's administrator: one of the API servers has not learned that \
                     the anchor is gone, or a proxy in front of them checks tokens from a longer cache",
                ));
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }

    async fn ask(&self, as_token: &Cluster) -> Result<Said, Error> {
        Ok(Said::of(&probe::ask(as_token, &self.budget).await?))
    }

    /// Deletes the anchor once more, to learn whether it is gone, because the minter may delete Secrets, but
    /// not read them.
    async fn must_be_gone(&self) -> Result<(), Error> {
        match self.ask_to_delete().await? {
            Deletion::Gone { .. } | Deletion::AnotherUid => Ok(()),
            Deletion::Held => {
                let receipt = &self.state.receipt;
                Err(held(&receipt.namespace, &receipt.anchor))
            }
            Deletion::Done => {
                let what =
                    "the anchor existed again after jobpass deleted it. jobpass deleted it a second time";
                Err(Error::new(Kind::Revoke, what).help(
                    "find out which program restores Secrets in this namespace, such as a backup or a GitOps \
                     tool",
                ))
            }
            Deletion::Refused(call, answer) => {
                let what = format!(
                    "jobpass cannot tell whether the anchor is gone: {}",
                    answer.in_words()
                );
                let error = Error::new(Kind::Revoke, what);
                Err(match self.refused(&call, &answer).next_step() {
                    Some(step) => error.help(step),
                    None => error,
                })
            }
        }
    }
}

#[cfg(test)]
mod tests;
