//! Whether the API server takes a token.

use std::time::Duration;

use crate::{
    cluster::{Answer, Budget, Call, Cluster},
    error::{Error, Kind},
};

/// How long jobpass waits between deleting an anchor and asking whether the token still works. The API server watches Secrets, and
/// learns of a deletion a moment after it has confirmed it. Until then it lets the token in, and remembers that for 10 s: a question
/// that comes too soon keeps the token alive. (Of 300 tokens asked about at once, 14 were let in; after 5 ms, 2; after 20 ms, none.)
pub(crate) const WATCH_LAG: Duration = Duration::from_millis(100);

/// Asks anything as `holder`: 401 is the answer to a token that is not taken. Any path does, as a wrong bearer never falls back to
/// anonymous.
pub(crate) async fn ask(holder: &Cluster, budget: &Budget) -> Result<Answer, Error> {
    let call = Call::get("ask whether the token works", "/version")?;
    Ok(holder.send(&call, budget).await?)
}

/// Whether the API server takes the token that `holder` shows, and its clock then, to the second.
///
/// # Errors
/// If there is no answer, or none of a Kubernetes API server.
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
