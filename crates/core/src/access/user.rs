//! The user of a credential, as the API server sees it.

use k8s_openapi::api::authentication::v1::{SelfSubjectReviewStatus, UserInfo};
use kube::api::{PostParams, Request};
use serde::Deserialize;
use serde_json::json;

use crate::{
    cluster::{Answer, Budget, Call, Cluster},
    error::Error,
};

/// The versions of SelfSubjectReview, in the order in which they are tried. v1 exists from Kubernetes 1.28
/// on; the others existed earlier, where they were turned on.
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
    /// Asks the API server for the user of `cluster`.
    ///
    /// # Errors
    /// If there is no answer, or it cannot be read.
    pub(crate) async fn ask(cluster: &Cluster, budget: &Budget) -> Result<Self, Error> {
        for version in VERSIONS {
            let reviews = Request::new(format!(
                "/apis/authentication.k8s.io/{version}/selfsubjectreviews"
            ));
            let question = json!({ "apiVersion": format!("authentication.k8s.io/{version}"), "kind": "SelfSubjectReview" });
            let request = reviews.create(&PostParams::default(), question.to_string().into());
            let call = Call::new("ask who this is", request)?;
            let answer = cluster.send(&call, budget).await?;
            match answer.status {
                201 => {
                    let review = answer.parse_with::<AnyVersion>(&call, "/status/userInfo/username")?;
                    return Ok(Self::User(review.status.user_info.unwrap_or_default()));
                }
                // Every API server has v1 of this group and answers with a Status. It has none for a
                // version that it does not know.
                404 if version != VERSIONS[0] || answer.is_refusal() => {}
                _ => return Ok(Self::Refused(call, answer)),
            }
        }
        Ok(Self::Unsupported)
    }
}
