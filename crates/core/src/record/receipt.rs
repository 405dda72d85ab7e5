//! The record of one token's life, without the token.

use serde::{Deserialize, Serialize};

use crate::{
    claims::Claims,
    error::Error,
    inputs::lifetime::Lifetime,
    json,
    names::is_identifier,
    text::{self, in_words},
};

/// The receipt of a token. Each stage of the token's life fills fields of its own. Until then, these fields
/// are absent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Receipt {
    /// The ServiceAccount.
    pub service_account: String,
    /// The uid of the ServiceAccount, from the token's claims. Absent for a legacy token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_account_uid: Option<String>,
    /// The namespace of the ServiceAccount and of the anchor.
    pub namespace: String,
    /// The anchor's name.
    pub anchor: String,
    /// The anchor's uid.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub anchor_uid: Option<String>,
    /// The audiences of the token.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub audiences: Vec<String>,
    /// The id of the job's check run on GitHub.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check_run_id: Option<String>,
    /// The `jti` of the token. After a renewal, the `jti` of the first token. API servers set it from
    /// Kubernetes 1.30 on. A legacy token has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credential_id: Option<String>,
    /// The time of issue, by the API server. After a renewal, that of the first token. For a legacy token,
    /// the creation of its Secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub minted: Option<jiff::Timestamp>,
    /// The number of renewals.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub renewed: u32,
    /// The expiry of the token. After a renewal, the expiry of the last token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires: Option<jiff::Timestamp>,
    /// The time after which `jobpass sweep` deletes a legacy token that is still there. A legacy token never
    /// expires.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub swept: Option<jiff::Timestamp>,
    /// The time at which the revocation and its proof were complete, by this machine's clock.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revoked: Option<jiff::Timestamp>,
    /// How jobpass knows that the token is dead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proof: Option<Proof>,
}

/// The evidence that a token is dead after its revocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Proof {
    /// The API server answered 401 to the token in a single request.
    Unauthorized,
    /// The API server answers 401 to the token, and the anchor has been gone for longer than any replica
    /// caches a token.
    LongUnauthorized,
    /// The anchor has been gone for longer than any API server caches a token.
    AnchorLongGone,
    /// The anchor is gone. An API server that accepted the token just before may accept it for up to 10 s
    /// more.
    AnchorGone,
    /// The anchor is gone, and the proxy that held the token is closed. The job never had the token.
    ProxyClosed,
    /// jobpass sent no request for a proof (`verify-revocation: off`).
    NotAsked,
}

impl Proof {
    /// The proof as one sentence for a person.
    pub fn sentence(self) -> &'static str {
        match self {
            Self::Unauthorized => {
                "the API server answers 401 to the token (jobpass asked once; another replica that saw the \
                 token just before may accept it for up to 10 s more)"
            }
            Self::LongUnauthorized => {
                "the API server answers 401 to the token 10 s after jobpass deleted its anchor, so no \
                 replica still accepts it from a cache"
            }
            Self::AnchorLongGone => {
                "the anchor has been gone for more than 10 s, longer than any API \
                                     server caches a token"
            }
            Self::AnchorGone => {
                "the anchor is gone; an API server that saw the token just before may accept it from its \
                 cache for up to 10 s more"
            }
            Self::ProxyClosed => {
                "the anchor is gone, and the proxy that held the token is closed: the job never had the token"
            }
            Self::NotAsked => "not asked for (`verify-revocation: off`)",
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

impl Receipt {
    /// The receipt of a token before minting.
    pub fn new(service_account: &str, namespace: &str, anchor: &str) -> Self {
        Self {
            service_account: service_account.to_owned(),
            service_account_uid: None,
            namespace: namespace.to_owned(),
            anchor: anchor.to_owned(),
            anchor_uid: None,
            audiences: Vec::new(),
            check_run_id: None,
            credential_id: None,
            minted: None,
            renewed: 0,
            expires: None,
            swept: None,
            revoked: None,
            proof: None,
        }
    }

    pub(crate) fn minted(&mut self, claims: &Claims) {
        let time =
            |seconds: Option<i64>| seconds.and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
        self.audiences.clone_from(&claims.aud);
        self.credential_id.clone_from(&claims.jti);
        let uid = claims.account_uid().filter(|uid| is_identifier(uid));
        self.service_account_uid = uid.map(str::to_owned);
        self.minted = time(claims.iat);
        self.expires = time(claims.exp);
    }

    /// Records a legacy token, whose claims hold no times.
    pub(crate) fn legacy(&mut self, created: jiff::Timestamp, lifetime: Lifetime) {
        let seconds = i64::try_from(lifetime.seconds()).unwrap_or(i64::MAX);
        self.minted = Some(created);
        self.swept = created.checked_add(jiff::SignedDuration::from_secs(seconds)).ok();
    }

    /// The text that the log shows after the hand-over to `places`. `ends` is a part of the line with the
    /// token's expiry.
    pub fn minted_in_words(&self, ends: &str, places: &[String]) -> String {
        let ends = match (self.swept, self.expires) {
            (Some(swept), _) => format!(
                "never{ends}; `jobpass sweep` deletes it after {}",
                self.lifetime(swept)
            ),
            (None, Some(expires)) => {
                format!("{}, after {}{ends}", text::time(expires), self.lifetime(expires))
            }
            (None, None) => format!("never{ends}"),
        };
        let (tied, of) = match self.swept {
            Some(_) => ("held by", "Secret"),
            None => ("bound to", "anchor"),
        };
        let id = match (&self.credential_id, self.swept) {
            (Some(id), _) => id,
            (None, Some(_)) => "(none: legacy tokens have none)",
            (None, None) => "(none: this API server sets none)",
        };
        format!(
            "minted a token for ServiceAccount {}/{}\n  \
               {tied:<15}{of} {}\n  \
               expires        {ends}\n  \
               credential id  {id}\n  \
               handed over    {}",
            self.namespace,
            self.service_account,
            self.anchor,
            places.join("\n                 "),
        )
    }

    /// The time from the issue to `end`, in words.
    fn lifetime(&self, end: jiff::Timestamp) -> String {
        let seconds = |minted: jiff::Timestamp| (end.as_second() - minted.as_second()).unsigned_abs();
        in_words(self.minted.map_or(0, seconds))
    }

    /// The text that the log shows after the revocation.
    pub fn revoked_in_words(&self) -> String {
        format!("{}\n{}", self.revoked_in_short(), self.end_in_words())
    }

    /// The text that the log shows at the end of a job. `handed_over` is `false` if jobpass cannot tell
    /// whether a token existed, for example because somebody killed the job.
    pub fn ended_in_words(&self, handed_over: bool) -> String {
        let words = match handed_over {
            true => self.revoked_in_words(),
            false => format!(
                "anchor {}/{} is gone, and with it the token, if there was one",
                self.namespace, self.anchor
            ),
        };
        match self.proof {
            Some(Proof::NotAsked) => {
                format!("{words}\n  (set `verify-revocation: quick` or `wait` to have it proven)")
            }
            _ => words,
        }
    }

    /// The text that the log shows if an earlier call revoked the token.
    pub fn revoked_before_in_words(&self) -> String {
        let at = self
            .revoked
            .map_or_else(String::new, |revoked| format!(" at {}", text::time(revoked)));
        format!(
            "nothing to revoke: the token of ServiceAccount {}/{} was revoked{at}\n{}",
            self.namespace,
            self.service_account,
            self.end_in_words()
        )
    }

    fn end_in_words(&self) -> String {
        format!(
            "  anchor  {} is deleted\n  proof   {}",
            self.anchor,
            self.proof.unwrap_or(Proof::NotAsked).sentence()
        )
    }

    /// The first line of [`Receipt::revoked_in_words`]. Leaves out the ServiceAccount if it is unknown.
    pub fn revoked_in_short(&self) -> String {
        let whose = match &*self.service_account {
            "" => String::new(),
            account => format!(" of ServiceAccount {}/{account}", self.namespace),
        };
        let renewed = match self.renewed {
            0 => String::new(),
            1 => " after 1 renewal".to_owned(),
            times => format!(" after {times} renewals"),
        };
        format!("revoked the token{whose}{renewed}")
    }

    /// The receipt as one line of JSON.
    ///
    /// # Errors
    /// As [`json::text`].
    pub fn json(&self) -> Result<String, Error> {
        json::text(self)
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn time(text: &str) -> Option<jiff::Timestamp> {
        Some(text.parse().expect("a time"))
    }

    fn minted() -> Receipt {
        Receipt {
            minted: time("2026-11-26T07:00:00Z"),
            ..Receipt::new("scanner", "ci", "jobpass-a")
        }
    }

    fn bound() -> Receipt {
        Receipt {
            expires: time("2026-11-26T08:00:00Z"),
            credential_id: Some("JTI".into()),
            ..minted()
        }
    }

    fn legacy() -> Receipt {
        Receipt {
            swept: time("2026-11-26T09:00:00Z"),
            ..minted()
        }
    }

    #[test]
    fn what_a_log_says_of_a_new_token() {
        let places = ["file /tmp/token".to_owned(), "output `token`, masked".to_owned()];
        let old_api_server = Receipt {
            credential_id: None,
            ..bound()
        };
        let words = [bound(), old_api_server, legacy()]
            .map(|receipt| receipt.minted_in_words("; revoked at the end", &places));
        insta::assert_snapshot!(words.join("\n"));
    }

    /// If somebody killed the job, it is unknown whether jobpass minted the token.
    #[rstest]
    #[case::proven(
        bound(),
        Proof::Unauthorized,
        true,
        "revoked the token of ServiceAccount ci/scanner\n",
        false
    )]
    #[case::not_asked(
        bound(),
        Proof::NotAsked,
        true,
        "revoked the token of ServiceAccount ci/scanner\n",
        true
    )]
    #[case::perhaps_never_made(
        minted(),
        Proof::AnchorGone,
        false,
        "anchor ci/jobpass-a is gone, and with it the token, if there was one",
        false
    )]
    #[case::renewed_once(Receipt { renewed: 1, ..bound() }, Proof::AnchorGone, true, "revoked the token of ServiceAccount ci/scanner after 1 renewal\n", false)]
    #[case::renewed(Receipt { renewed: 3, ..bound() }, Proof::AnchorGone, true, "revoked the token of ServiceAccount ci/scanner after 3 renewals\n", false)]
    #[case::by_the_name_of_its_anchor(
        Receipt::new("", "ci", "jobpass-a"),
        Proof::AnchorGone,
        true,
        "revoked the token\n",
        false
    )]
    fn what_a_log_says_at_the_end(
        #[case] receipt: Receipt,
        #[case] proof: Proof,
        #[case] handed_over: bool,
        #[case] begins: &str,
        #[case] proposes_a_proof: bool,
    ) {
        let words = Receipt {
            proof: Some(proof),
            ..receipt
        }
        .ended_in_words(handed_over);
        assert!(words.starts_with(begins), "{words}");
        assert_eq!(words.contains(proof.sentence()), handed_over, "{words}");
        assert_eq!(
            words.contains("verify-revocation: quick"),
            proposes_a_proof,
            "{words}"
        );
    }

    #[test]
    fn a_second_revocation_says_when_the_first_one_was() {
        let revoked = Receipt {
            revoked: time("2026-11-26T07:30:00Z"),
            ..bound()
        };
        let words = revoked.revoked_before_in_words();
        assert!(words.starts_with("nothing to revoke: the token of ServiceAccount ci/scanner was revoked at 2026-11-26 07:30:00 UTC\n"), "{words}");
    }

    /// The claims of a legacy token have no times.
    #[test]
    fn a_legacy_token_is_swept_after_its_lifetime() {
        let mut receipt = Receipt::new("scanner", "ci", "jobpass-a");
        let created = time("2026-11-26T07:00:00Z").expect("a time");
        receipt.legacy(created, Lifetime::parse("2h").expect("a lifetime"));
        assert_eq!(
            (receipt.minted, receipt.swept, receipt.expires),
            (Some(created), time("2026-11-26T09:00:00Z"), None)
        );
    }
}
