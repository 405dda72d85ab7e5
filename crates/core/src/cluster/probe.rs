//! The question whether the API server accepts a token.

use std::time::Duration;

use crate::{
    cluster::{Answer, Budget, Call, Cluster},
    error::{Error, Kind},
};

/// The time between the deletion of an anchor and the question whether its token still works.
///
/// kube-apiserver learns of the deletion by a watch, a moment after it has confirmed it. Until then it
/// accepts the token, and caches that for 10 s: a question that comes too soon keeps the token alive. Of
/// 300 tokens, 14 were accepted at once, 2 after 5 ms, and none after 20 ms.
pub(crate) const WATCH_LAG: Duration = Duration::from_millis(100);

/// Sends any request as `holder`. kube-apiserver answers 401 to a token that it does not accept, on every
/// path: a wrong bearer token never falls back to an anonymous user.
pub(crate) async fn ask(holder: &Cluster, budget: &Budget) -> Result<Answer, Error> {
    let call = Call::get("ask whether the token works", "/version")?;
    Ok(holder.send(&call, budget).await?)
}

/// Whether the API server accepts the token of `holder`, and the API server's clock, to the second.
///
/// # Errors
/// If there is no answer, or it is not an answer of a Kubernetes API server.
pub async fn is_accepted(holder: &Cluster, budget: &Budget) -> Result<(bool, jiff::Timestamp), Error> {
    let answer = ask(holder, budget).await?;
    let now = answer.date.unwrap_or_else(jiff::Timestamp::now);
    match answer.status {
        200 | 403 => Ok((true, now)),
        401 => Ok((false, now)),
        _ => {
            let what = format!("cannot ask whether the token works: {}", answer.in_words());
            Err(Error::new(Kind::Unreachable, what)
                .help("check the server's URL: this is not what a Kubernetes API server answers"))
        }
    }
}
