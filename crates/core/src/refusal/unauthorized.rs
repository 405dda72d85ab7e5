//! The meaning of a 401.

use super::id_token;
use crate::{claims::Claims, cluster::Cluster, text::in_words};

impl Cluster {
    /// The next step after a 401, as far as the bearer token itself tells.
    pub(crate) fn unauthorized(&self) -> String {
        if let Some(explained) = self.bearer().and_then(id_token::explain) {
            return explained;
        }
        let expired = self
            .bearer()
            .and_then(|bearer| Claims::decode(bearer).ok())
            .and_then(|claims| {
                let ago = claims
                    .expires_in(jiff::Timestamp::now())?
                    .checked_neg()
                    .filter(|ago| *ago > 0)?;
                Some(in_words(ago.unsigned_abs()))
            });
        match expired {
            Some(ago) => format!("the minter's own token expired {ago} ago: give the job a fresh one"),
            None => "the minter's credential (the kubeconfig's token or client certificate, or the bearer \
                     token) is wrong, expired or revoked, or belongs to another cluster: give the job a \
                     valid one"
                .into(),
        }
    }
}
