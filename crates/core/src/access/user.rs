//! The user of a credential, as the API server sees it.

use k8s_openapi::api::authentication::v1::{SelfSubjectReviewStatus, UserInfo};
use kube::core::{Request, params::PostParams};
use serde::Deserialize;
use serde_json::json;

use crate::{
    cluster::{Answer, Budget, Call, Cluster},
    error::Error,
};

/// The versions of SelfSubjectReview, in the order in which jobpass tries them. v1 exists from Kubernetes
/// 1.28 on. An administrator can enable v1beta1 in 1.27, and v1alpha1 in 1.26.
const VERSIONS: [&str; 3] = ["v1", "v1beta1", "v1alpha1"];

/// The answer to a SelfSubjectReview.
#[expect(
    clippy::large_enum_variant,
    reason = "one value exists for each request, and is matched at once"
)]
pub(crate) enum SelfReview {
    /// The user.
    User(UserInfo),
    /// The API server has no version of SelfSubjectReview.
    Unsupported,
    /// The API server answered something else, such as 401.
    Refused(Call, Answer),
}

/// A SelfSubjectReview of any version. The type of k8s-openapi accepts only v1.
#[derive(Deserialize)]
pub(crate) struct AnyVersion {
    status: SelfSubjectReviewStatus,
}

impl SelfReview {
    /// Asks the API server which user the credential of `cluster` belongs to.
    ///
    /// # Errors
    /// If there is no answer, or jobpass cannot parse it.
    pub(crate) async fn ask(cluster: &Cluster, budget: &Budget) -> Result<Self, Error> {
        for version in VERSIONS {
            let reviews = Request::new(format!(
                "/apis/authentication.k8s.io/{version}/selfsubjectreviews"
            ));
            let question = json!({ "apiVersion": format!("authentication.k8s.io/{version}"), "kind": "SelfSubjectReview" });
            let request = reviews.create(&PostParams::default(), question.to_string().into());
            let call = Call::new("ask for the user of the credential", request)?;
            let answer = cluster.send(&call, budget).await?;
            match answer.status {
                201 => {
                    let review = answer.parse_with::<AnyVersion>(&call, "/status/userInfo/username")?;
                    return Ok(Self::User(review.status.user_info.unwrap_or_default()));
                }
                // Every API server has v1 of this group. If that version lacks SelfSubjectReview, the API
                // server answers 404 with a Status. A server that is not an API server sends no Status.
                404 if version != VERSIONS[0] || answer.is_refusal() => {}
                _ => return Ok(Self::Refused(call, answer)),
            }
        }
        Ok(Self::Unsupported)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rstest::rstest;

    use super::*;
    use crate::cluster::{
        Identity,
        scripted::{self, Fate},
    };

    const REVIEW: &str = r#"{"kind":"SelfSubjectReview","apiVersion":"authentication.k8s.io/v1beta1",
        "status":{"userInfo":{"username":"jane","groups":["g"],"new":1}}}"#;

    fn known_group() -> Fate {
        Fate::status(
            404,
            "NotFound",
            "",
            "the server could not find the requested resource",
        )
    }

    fn unknown_version() -> Fate {
        Fate::answer(404, "404 page not found")
    }

    fn review() -> Fate {
        Fate::answer(201, REVIEW)
    }

    #[rstest]
    #[case::at_once(vec![review()], Ok("jane"), 1)]
    #[case::before_1_28(vec![known_group(), review()], Ok("jane"), 2)]
    #[case::before_1_27(vec![known_group(), unknown_version(), review()], Ok("jane"), 3)]
    #[case::never(vec![known_group(), unknown_version(), unknown_version()], Ok("unsupported"), 3)]
    #[case::not_an_api_server(vec![unknown_version()], Ok("refused 404"), 1)]
    #[case::unauthorized(vec![Fate::answer(401, "")], Ok("refused 401"), 1)]
    #[case::no_name(vec![Fate::answer(201, r#"{"status":{"userInfo":{}}}"#)], Err(()), 1)]
    #[tokio::test]
    async fn the_user_is_asked_in_each_version(
        #[case] fates: Vec<Fate>,
        #[case] expected: Result<&str, ()>,
        #[case] times: usize,
    ) {
        let (cluster, log) = scripted::cluster(&Identity::default(), fates);
        let review = SelfReview::ask(&cluster, &Budget::new(Duration::from_secs(5))).await;
        let review = review.map_err(|_| ()).map(|review| match review {
            SelfReview::User(user) => user.username.unwrap_or_default(),
            SelfReview::Unsupported => "unsupported".to_owned(),
            SelfReview::Refused(_, answer) => format!("refused {}", answer.status),
        });
        assert_eq!(review, expected.map(str::to_owned));
        assert_eq!(log.lines().len(), times);
    }
}
