//! The trust between a cluster and the ID tokens of a CI platform's jobs.

mod configuration;
mod jobs;
mod subject;

pub(crate) use self::{
    jobs::{Oidc, audiences},
    subject::Subject,
};
