//! The trust between a cluster and the ID tokens of a CI platform's jobs.

use serde_json::Value;

use crate::{claims, token::Token};

mod configuration;
mod jobs;
mod subject;

pub(crate) use self::{
    jobs::{Oidc, audiences},
    subject::Subject,
};

/// The id of a job's check run, from GitHub's ID token.
pub(crate) fn check_run_id(token: &Token) -> Option<String> {
    let claims = claims::part::<Value>(token, 1).ok()?;
    let id = claims["check_run_id"].as_str()?;
    ((1..=20).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_digit())).then(|| id.to_owned())
}
