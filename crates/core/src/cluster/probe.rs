//! Tests whether the API server accepts a token.

use std::time::Duration;

use crate::{
    cluster::{Answer, Budget, Call, Cluster},
    error::{Error, Kind},
};

/// The time between the deletion of an anchor and the test whether its token still works.
///
/// kube-apiserver confirms the deletion first, and a moment later learns of the deletion by a watch. In
/// between, it accepts the token, and caches this result for 10 s: a test that comes too soon keeps the token
/// alive. Of 300 tokens, the API server accepted 14 at once, 2 after 5 ms, and none after 20 ms.
pub(crate) const WATCH_LAG: Duration = Duration::from_millis(100);

/// Sends a harmless request as `holder`. If kube-apiserver does not accept the token, it answers 401 on every
/// path: a wrong bearer token never falls back to an anonymous user.
pub(crate) async fn ask(holder: &Cluster, budget: &Budget) -> Result<Answer, Error> {
    let call = Call::get("ask whether the token works", "/version")?;
    Ok(holder.send(&call, budget).await?)
}

/// Returns whether the API server accepts the token of `holder`, and the time by the API server's clock, to
/// the second. If the answer has no date, returns this machine's time.
///
/// # Errors
/// If there is no answer, or the answer does not come from a Kubernetes API server: a gateway's 401 says
/// nothing about the token.
pub async fn is_accepted(holder: &Cluster, budget: &Budget) -> Result<(bool, jiff::Timestamp), Error> {
    let answer = ask(holder, budget).await?;
    let now = answer.date.unwrap_or_else(jiff::Timestamp::now);
    let help = match (answer.status, answer.refused_by_another()) {
        (200 | 403, None) => return Ok((true, now)),
        (401, None) => return Ok((false, now)),
        (_, Some(help)) => help,
        (_, None) => {
            "check the server's URL, and the proxies in front of the server: no Kubernetes API server sends \
             this answer"
        }
    };
    let what = format!("cannot ask whether the token works: {}", answer.in_words());
    Err(Error::new(Kind::Unreachable, what).help(help))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::cluster::{
        Identity,
        scripted::{self, Fate},
    };

    fn status(code: u16, reason: &str) -> Fate {
        Fate::status(code, reason, "", reason)
    }

    #[rstest]
    #[case::accepted(Fate::answer(200, "{}"), Ok(true))]
    #[case::accepted_without_permission(status(403, "Forbidden"), Ok(true))]
    #[case::revoked(status(401, "Unauthorized"), Ok(false))]
    #[case::refused_by_a_gateway(Fate::answer(401, "<html>log in</html>"), Err("a gateway"))]
    #[case::forbidden_by_a_gateway(Fate::answer(403, r#"{"message":"no"}"#), Err("a gateway"))]
    #[case::another_server(Fate::answer(404, ""), Err("check the server's URL"))]
    #[case::a_login_page(Fate::answer(302, ""), Err("check the server's URL"))]
    #[tokio::test]
    async fn a_token_is_accepted_or_not(#[case] fate: Fate, #[case] expected: Result<bool, &str>) {
        let (holder, log) = scripted::cluster(&Identity::default(), [fate]);
        let accepted = is_accepted(&holder, &Budget::new(Duration::from_secs(1))).await;
        match (accepted, expected) {
            (Ok((accepted, _)), Ok(expected)) => assert_eq!(accepted, expected),
            (Err(error), Err(why)) => {
                assert_eq!(error.kind(), Kind::Unreachable);
                assert!(error.to_string().contains(why), "{error}");
            }
            (accepted, expected) => panic!("{accepted:?} instead of {expected:?}"),
        }
        assert_eq!(log.lines(), ["GET /version"]);
    }

    #[tokio::test]
    async fn the_clock_is_that_of_the_server() {
        let date = &[("date", "Tue, 24 Nov 2026 10:00:00 GMT")];
        let fate = Fate::Answer(200, date, String::new());
        let (holder, _) = scripted::cluster(&Identity::default(), [fate]);
        let accepted = is_accepted(&holder, &Budget::new(Duration::from_secs(1))).await;
        let (_, now) = accepted.expect("an answer");
        assert_eq!(now.to_string(), "2026-11-24T10:00:00Z");
    }
}
