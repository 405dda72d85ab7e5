//! The revocation of a token by the name of its anchor, which `jobpass list` shows.

use std::{cell::Cell, future::ready};

use super::{HEAD_START, REVOKE, Revocation, Revoked, SECOND_THOUGHTS, by_hand};
use crate::{
    anchor::{
        self, Deletion,
        list::{ListedAnchor, Pages},
        role,
    },
    cluster::{Budget, Cluster, Scope},
    error::{Error, Kind},
    inputs::{options::Inputs, revocation::verify_revocation},
    minter::Minter,
    names::{is_dns_label, is_ours},
    record::{receipt::Receipt, state::State},
    refusal::RequiredPermission,
    text::harmless,
};

/// The name of an anchor with its namespace: `NAMESPACE/NAME`.
#[derive(Debug, Clone, PartialEq)]
pub struct AnchorName {
    namespace: String,
    name: String,
}

impl AnchorName {
    /// Parses the name.
    ///
    /// # Errors
    /// If the name does not have the form of an anchor's name. So jobpass refuses the name of another Secret
    /// before it sends any request.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let name = text
            .split_once('/')
            .filter(|(namespace, name)| is_dns_label(namespace) && is_ours(name))
            .filter(|(_, name)| !name.bytes().any(|b| b.is_ascii_uppercase()));
        let Some((namespace, name)) = name else {
            return Err(Error::input(
                "ANCHOR",
                format!("is `{}`, which is not the name of an anchor", harmless(text)),
                "give the name as `jobpass list` shows it: the namespace, `/jobpass-`, and 20 lower-case \
                 letters and digits",
            ));
        };
        Ok(Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        })
    }

    /// The error for an anchor that does not exist. `may_list` says whether the credential may list Secrets.
    fn not_there(&self, why: &str, may_list: bool) -> Error {
        let Self { namespace, name } = self;
        Error::new(
            Kind::Refused,
            format!("there is no anchor {namespace}/{name}, so jobpass revoked nothing: {why}"),
        )
        .help(match may_list {
            true => format!("compare the name with `jobpass list --namespace {namespace}`"),
            false => format!(
                "compare the name with `jobpass list --namespace {namespace} --kubeconfig FILE`. FILE is an \
                 administrator's kubeconfig: this credential may not list Secrets"
            ),
        } + ". If the anchor was there before, somebody has deleted it, and its token is revoked")
    }
}

/// Revokes the token of an anchor. Returns a receipt with the facts that the anchor and the revocation give.
///
/// jobpass lists the metadata of the Secret with this name and the type of an anchor. The uid in the metadata
/// is a precondition of the deletion. If the minter has no permission to list Secrets, only the name shows
/// that the Secret is an anchor. Then the answer to the deletion shows whether the anchor existed.
///
/// # Errors
/// As [`Cluster::connect`]. Also if `verify-revocation` is wrong, if the anchor does not exist, if it may
/// still exist, or if jobpass cannot prove that it is gone.
pub async fn by_anchor(
    minter: Minter,
    anchor: &AnchorName,
    inputs: &Inputs,
) -> Result<(Receipt, Revoked), Error> {
    let verify = verify_revocation(inputs)?;
    let cluster = Cluster::connect(&minter)?;
    let mut state = State {
        connection: minter.connection,
        auth: minter.auth,
        job_server: None,
        receipt: Receipt::new("", &anchor.namespace, &anchor.name),
        for_api_server: false,
        role: false,
        renewal: None,
        proxy: None,
        files: Default::default(),
        options: Default::default(),
        environment: Default::default(),
    };
    let deletes_first = match find(&cluster, anchor).await {
        Ok(Some(found)) => {
            // The account of a job with rules has the name of the anchor.
            state.role = found.service_account.as_deref() == Some(&*anchor.name);
            state.receipt.service_account = found.service_account.unwrap_or_default();
            state.receipt.anchor_uid = Some(found.uid);
            state.receipt.expires = found.expires;
            false
        }
        Ok(None) => {
            let why = "the API server lists no Secret of this name and type";
            return Err(anchor.not_there(why, true));
        }
        // The minter has no permission to list Secrets, or its credential is invalid. The API server also
        // refuses the deletion if the credential is invalid.
        Err(error) if error.kind() == Kind::Refused => true,
        Err(error) => return Err(by_hand(error, &state)),
    };
    let budget = Budget::to_the_end(REVOKE);
    if deletes_first {
        delete_unseen(&cluster, anchor, &state, &budget).await?;
        // The anchor existed until now, so its job may also have a role. `run` deletes that role.
        state.role = true;
    }
    let revocation = Revocation {
        cluster: &cluster,
        state: &state,
        budget,
        deleted: &Cell::new(deletes_first),
        proxy_closed: false,
    };
    let mut revoked = revocation.run(ready(None), verify).await?;
    if deletes_first {
        // The notes may say that the minter may not delete a role. Most jobs have no role.
        revoked.notes.clear();
        revoked.notes.push(
            "this credential may not list Secrets, so only the API server's answer to the deletion shows that \
             the anchor existed"
                .to_owned(),
        );
    }
    let now = jiff::Timestamp::now().as_second();
    state.receipt.revoked = jiff::Timestamp::from_second(now).ok();
    state.receipt.proof = Some(revoked.proof);
    Ok((state.receipt, revoked))
}

/// Looks for the anchor by its name and type. Reads no data of a Secret.
async fn find(cluster: &Cluster, anchor: &AnchorName) -> Result<Option<ListedAnchor>, Error> {
    let scope = Scope::Namespace(anchor.namespace.clone());
    let mut pages = Pages::named(cluster, &scope, &anchor.name);
    while let Some(page) = pages.next().await? {
        if let Some(found) = page.anchors.into_iter().find(|found| found.name == anchor.name) {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// Deletes the anchor without having seen it.
///
/// # Errors
/// If the anchor did not exist, or may still exist.
async fn delete_unseen(
    cluster: &Cluster,
    anchor: &AnchorName,
    state: &State,
    budget: &Budget,
) -> Result<(), Error> {
    let AnchorName { namespace, name } = anchor;
    let unbind = role::unbind(cluster, namespace, name, budget);
    let _ = tokio::time::timeout(HEAD_START, unbind).await;
    let mut waits = SECOND_THOUGHTS.iter();
    loop {
        let deletion = anchor::delete(cluster, namespace, name, None, budget).await;
        match deletion.map_err(|unanswered| by_hand(unanswered.into(), state))? {
            Deletion::Gone { repeated: false } => {
                return Err(anchor.not_there("the API server answered 404", false));
            }
            Deletion::Refused(call, answer) => match waits.next() {
                Some(wait) if matches!(answer.status, 401 | 403) => tokio::time::sleep(*wait).await,
                _ => {
                    let permission = RequiredPermission::revoking(namespace, "", true);
                    let error = cluster.refused(&call, &answer, &permission);
                    // A policy may refuse because the Secret is not an anchor.
                    return Err(match answer.denial() {
                        Some(_) => error.into_unrevoked(),
                        None => by_hand(error, state),
                    });
                }
            },
            Deletion::Done | Deletion::Held | Deletion::AnotherUid | Deletion::Gone { repeated: true } => {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const NAME: &str = "jobpass-aaaaaaaaaaaaaaaaaaaa";

    /// A typing mistake must not delete another Secret.
    #[rstest]
    #[case::another_secret("ci/database-password")]
    #[case::without_a_namespace(NAME)]
    #[case::cut_off("ci/jobpass-aaaaaaaaaaaaaaaaaaa")]
    #[case::upper_case("ci/jobpass-AAAAAAAAAAAAAAAAAAAA")]
    #[case::a_path("../ci/jobpass-aaaaaaaaaaaaaaaaaaaa")]
    #[case::two("ci/ci/jobpass-aaaaaaaaaaaaaaaaaaaa")]
    #[case::nothing("")]
    fn only_the_name_of_an_anchor_is_one(#[case] text: &str) {
        let error = AnchorName::parse(text).expect_err("refused");
        assert_eq!(error.kind(), Kind::Input);
    }

    #[test]
    fn the_name_of_an_anchor_has_its_namespace() {
        let anchor = AnchorName::parse(&format!("ci/{NAME}")).expect("a name");
        assert_eq!((&*anchor.namespace, &*anchor.name), ("ci", NAME));
        for (may_list, names_an_administrator) in [(true, false), (false, true)] {
            let error = anchor.not_there("the API server answered 404", may_list);
            assert_eq!(error.kind(), Kind::Refused);
            let help = error.next_step().expect("a next step");
            assert_eq!(help.contains("administrator"), names_an_administrator, "{help}");
        }
    }
}
