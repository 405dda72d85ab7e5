//! The dev cluster. It answers the requests of jobpass in a CI job and in the demo as Kubernetes does. It
//! answers 501 to a request that it does not support, and so fails the test that sent the request.
//!
//! `tests/replay` plays a transcript of these requests on Kubernetes itself, and compares the answers.

mod objects;
mod rbac;
mod request;
mod reviews;
mod status;
mod store;
mod tokens;

use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::Value;

use self::store::Store;
use self::tokens::Cache;
use crate::clock::Clock;
use crate::transcript::{Entry, Transcript};

pub(crate) use self::objects::collection;
pub(crate) use self::request::{Answer, answer};
pub(crate) use self::tokens::user_of;

/// The issuer of the cluster's tokens, which is also the audience of its API server.
pub(crate) const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";

/// The state that the front's thread and the [`DevCluster`](crate::DevCluster) share.
#[derive(Default)]
pub(crate) struct Cluster {
    pub(crate) clock: Clock,
    transcript: Option<Transcript>,
    state: Mutex<State>,
    /// The messages of the answers to unsupported requests.
    refused: Mutex<Vec<String>>,
}

/// The stored objects and the cache of authentications. Requests change both.
#[derive(Default)]
struct State {
    store: Store,
    cache: Cache,
}

impl Cluster {
    /// Creates a cluster with some of the objects that a new Kubernetes cluster has. The cluster records the
    /// requests to it in `transcript`.
    pub(crate) fn new(transcript: Option<Transcript>) -> Self {
        let cluster = Self {
            transcript,
            ..Self::default()
        };
        rbac::create_defaults(&mut cluster.state().store);
        objects::create_default_namespace(&mut cluster.state().store, cluster.clock.unix_seconds());
        cluster
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Records the answer to a request that the dev cluster does not support.
    pub(crate) fn refuse(&self, answer: &Value) {
        let message = answer["message"].as_str().unwrap_or_default();
        lock(&self.refused).push(message.to_owned());
    }

    /// Returns the messages of the answers to unsupported requests, and forgets them.
    pub(crate) fn refused(&self) -> Vec<String> {
        std::mem::take(&mut *lock(&self.refused))
    }

    /// Answers a request or signs a token, and records that in the transcript, if this test run has one.
    pub(crate) fn write<T>(&self, act: impl FnOnce() -> T, entry: impl FnOnce(&T) -> Entry) -> T {
        match &self.transcript {
            Some(transcript) => transcript.write(act, entry),
            None => act(),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
