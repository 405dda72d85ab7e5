//! Refusals that come after RBAC has allowed a request, mostly from admission. No permission is missing then.

use http::Method;
use kube::core::{
    Status,
    response::{StatusCause, reason},
};

use crate::text::harmless;

/// The part of the cluster that refused a request after authorization. Almost always, only the message of the
/// Status names that part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Denial<'a> {
    /// A ResourceQuota.
    Quota,
    /// The namespace, because Kubernetes is deleting it.
    Terminating,
    /// An admission webhook. It may use any status.
    Webhook(&'a str),
    /// A ValidatingAdmissionPolicy.
    Policy(&'a str),
    /// No part of the cluster refused: a required admission webhook did not answer.
    Unanswered(&'a str),
    /// Another admission plugin, such as LimitRanger, PodSecurity, or a plugin of a distribution.
    Plugin,
}

impl<'a> Denial<'a> {
    /// Recognises a refusal by its message. The messages come from `admission/plugin/webhook/errors`,
    /// `admission/plugin/policy/validating` and `util/webhook/error.go` (k8s.io/apiserver), and from the
    /// admission plugins. Recognises [`Self::Terminating`] by the cause in the Status instead. The tests of
    /// this module contain recorded answers.
    pub(super) fn of(code: u16, status: &'a Status) -> Option<Self> {
        let message = &*status.message;
        let between = |before: &str, quote: char| {
            let (_, rest) = message.split_once(before)?;
            rest.split_once(quote).map(|(name, _)| name)
        };
        if message.starts_with("admission webhook \"") {
            return between("admission webhook \"", '"').map(Self::Webhook);
        }
        if let Some(name) = between("failed calling webhook \"", '"') {
            return Some(Self::Unanswered(name));
        }
        if let Some(name) = between("ValidatingAdmissionPolicy '", '\'') {
            return Some(Self::Policy(name));
        }
        if code != 403 || status.reason != reason::FORBIDDEN {
            return None;
        }
        let terminating = |cause: &StatusCause| cause.reason == "NamespaceTerminating";
        let mut causes = status.details.iter().flat_map(|details| &details.causes);
        if causes.any(terminating) {
            return Some(Self::Terminating);
        }
        let (_, why) = message.split_once(" is forbidden: ")?;
        let by_authorization =
            why.starts_with("User \"") || why.contains("attempting to grant RBAC permissions");
        let quota = [
            "exceeded quota: ",
            "failed quota: ",
            "status unknown for quota: ",
            "insufficient quota to ",
        ];
        match () {
            () if by_authorization => None,
            () if quota.iter().any(|begin| why.starts_with(begin)) => Some(Self::Quota),
            () => Some(Self::Plugin),
        }
    }

    /// Whether a policy of `jobpass setup` refused. The names of all policies of `jobpass setup` begin with
    /// `jobpass-`.
    pub(crate) fn is_of_setup(self) -> bool {
        matches!(self, Self::Policy(name) if name.starts_with("jobpass-"))
    }

    /// The next step after the refusal of a request in `namespace`.
    pub(crate) fn help(self, method: &Method, namespace: &str) -> String {
        match self {
            Self::Quota => {
                return format!(
                    "no permission is missing: a ResourceQuota of namespace `{namespace}` allows no more \
                     objects. Raise the quota, or make room: `jobpass sweep --namespace {namespace}` \
                     deletes anchors that outlived their jobs. This command shows the quota:\n\n  kubectl \
                     describe resourcequota --namespace {namespace}"
                );
            }
            Self::Terminating => {
                return format!(
                    "no permission is missing: the cluster is deleting namespace `{namespace}`, which \
                     accepts nothing new. Check input `namespace`. Or wait until the namespace is gone, and \
                     create it again. If it does not go away, this command shows what holds it:\n\n  \
                     kubectl get namespace {namespace} --output yaml"
                );
            }
            Self::Unanswered(_) => return UNANSWERED.into(),
            Self::Policy(name) if self.is_of_setup() => {
                return format!(
                    "no permission is missing: policy `{}` comes from `jobpass setup`, and limits a minter \
                     to the options of that set-up. Ask for no more than these, or have an administrator \
                     run `jobpass setup` again with everything that the jobs of the namespace need",
                    harmless(name)
                );
            }
            Self::Policy(_) | Self::Webhook(_) | Self::Plugin => {}
        }
        let whose = self.in_words();
        match *method {
            Method::DELETE => format!(
                "no permission is missing: {whose} refused the deletion, so jobpass cannot revoke the \
                 token. Ask the people who run the cluster to allow the deletion of anchors (Secrets of \
                 type jobpass.dev/anchor, or kubernetes.io/service-account-token for a legacy token)"
            ),
            _ => format!(
                "no permission is missing: {whose} refused the object, and the message above says why. If \
                 the message demands labels or annotations, give them as `anchor-labels` and \
                 `anchor-annotations`. Otherwise, ask the people who run the cluster to allow the objects \
                 that jobpass creates"
            ),
        }
    }

    /// The part of the cluster that refused, as messages name it.
    pub(crate) fn in_words(self) -> String {
        match self {
            Self::Quota => "a ResourceQuota of the namespace".into(),
            Self::Terminating => "the namespace, which Kubernetes is deleting,".into(),
            Self::Policy(name) => format!("ValidatingAdmissionPolicy `{}` of the cluster", harmless(name)),
            Self::Webhook(name) | Self::Unanswered(name) => {
                format!("admission webhook `{}` of the cluster", harmless(name))
            }
            Self::Plugin => "an admission plugin of the API server".into(),
        }
    }
}

/// The next step after [`Denial::Unanswered`].
pub(crate) const UNANSWERED: &str = "the API server must ask an admission webhook before it carries out \
                                     this request, and the webhook does not answer. Ask the people who run \
                                     the webhook to repair it";

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::cluster::Answer;

    /// An answer of kube-apiserver 1.37, with the name of an anchor for `NAME`.
    fn answer(code: u16, status: &str) -> Answer {
        let body = status
            .replace("NAME", "jobpass-aaaaaaaaaaaaaaaaaaaa")
            .into_bytes();
        Answer::new(code, Some(body.into()))
    }

    const QUOTA: &str = r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"secrets \"NAME\" is forbidden: exceeded quota: q, requested: count/secrets=1, used: count/secrets=1, limited: count/secrets=1","reason":"Forbidden","details":{"name":"NAME","kind":"secrets"},"code":403}"#;
    const TERMINATING: &str = r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"secrets \"NAME\" is forbidden: unable to create new content in namespace ci because it is being terminated","reason":"Forbidden","details":{"name":"NAME","kind":"secrets","causes":[{"reason":"NamespaceTerminating","message":"namespace ci is being terminated","field":"metadata.namespace"}]},"code":403}"#;
    const WEBHOOK: &str = r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"admission webhook \"validate.kyverno.svc\" denied the request: needs label team","code":400}"#;
    const WEBHOOK_SAYS_NOTHING: &str = r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"admission webhook \"validate.kyverno.svc\" denied the request without explanation","code":400}"#;
    const WEBHOOK_SAYS_GONE: &str = r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"admission webhook \"validate.kyverno.svc\" denied the request: secrets not found","reason":"NotFound","details":{"name":"NAME","kind":"secrets"},"code":404}"#;
    const WEBHOOK_SAYS_FORBIDDEN: &str = r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"admission webhook \"validate.kyverno.svc\" denied the request: needs label team","reason":"Forbidden","code":403}"#;
    const WEBHOOK_SAYS_UNAUTHORIZED: &str = r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"admission webhook \"validate.kyverno.svc\" denied the request: Unauthorized","reason":"Unauthorized","code":401}"#;
    const WEBHOOK_IS_DOWN: &str = r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"Internal error occurred: failed calling webhook \"validate.kyverno.svc\": failed to call webhook: Post \"https://127.0.0.1:9443/?timeout=10s\": dial tcp 127.0.0.1:9443: connect: connection refused","reason":"InternalError","details":{"causes":[{"message":"failed calling webhook \"validate.kyverno.svc\": failed to call webhook: Post \"https://127.0.0.1:9443/?timeout=10s\": dial tcp 127.0.0.1:9443: connect: connection refused"}]},"code":500}"#;
    const POLICY: &str = r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"secrets \"NAME\" is forbidden: ValidatingAdmissionPolicy 'needs-team' with binding 'needs-team-b' denied request: needs label team","reason":"Invalid","details":{"name":"NAME","kind":"secrets","causes":[{"message":"ValidatingAdmissionPolicy 'needs-team' with binding 'needs-team-b' denied request: needs label team"}]},"code":422}"#;
    const POD_SECURITY: &str = r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"pods \"x\" is forbidden: violates PodSecurity \"restricted:latest\": allowPrivilegeEscalation != false","reason":"Forbidden","details":{"name":"x","kind":"pods"},"code":403}"#;
    const LIMIT_RANGE: &str = r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"pods \"x\" is forbidden: maximum memory usage per Container is 1Gi, but limit is 2Gi","reason":"Forbidden","details":{"name":"x","kind":"pods"},"code":403}"#;
    const RBAC: &str = r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"secrets is forbidden: User \"system:serviceaccount:ci:minter\" cannot create resource \"secrets\" in API group \"\" in the namespace \"ci\"","reason":"Forbidden","details":{"kind":"secrets"},"code":403}"#;
    const ESCALATION: &str = r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"roles.rbac.authorization.k8s.io \"x\" is forbidden: user \"system:serviceaccount:ci:minter\" (groups=[\"system:serviceaccounts\" \"system:serviceaccounts:ci\" \"system:authenticated\"]) is attempting to grant RBAC permissions not currently held:\n{APIGroups:[\"\"], Resources:[\"pods\"], Verbs:[\"get\"]}","reason":"Forbidden","details":{"name":"x","group":"rbac.authorization.k8s.io","kind":"roles"},"code":403}"#;
    const NOT_FOUND: &str = r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"secrets \"NAME\" not found","reason":"NotFound","details":{"name":"NAME","kind":"secrets"},"code":404}"#;

    #[rstest]
    #[case(403, QUOTA, Some(Denial::Quota))]
    #[case(403, TERMINATING, Some(Denial::Terminating))]
    #[case(400, WEBHOOK, Some(Denial::Webhook("validate.kyverno.svc")))]
    #[case(400, WEBHOOK_SAYS_NOTHING, Some(Denial::Webhook("validate.kyverno.svc")))]
    #[case(404, WEBHOOK_SAYS_GONE, Some(Denial::Webhook("validate.kyverno.svc")))]
    #[case(403, WEBHOOK_SAYS_FORBIDDEN, Some(Denial::Webhook("validate.kyverno.svc")))]
    #[case(401, WEBHOOK_SAYS_UNAUTHORIZED, Some(Denial::Webhook("validate.kyverno.svc")))]
    #[case(500, WEBHOOK_IS_DOWN, Some(Denial::Unanswered("validate.kyverno.svc")))]
    #[case(422, POLICY, Some(Denial::Policy("needs-team")))]
    #[case(403, POD_SECURITY, Some(Denial::Plugin))]
    #[case(403, LIMIT_RANGE, Some(Denial::Plugin))]
    #[case(403, RBAC, None)]
    #[case(403, ESCALATION, None)]
    #[case(404, NOT_FOUND, None)]
    #[case(403, "<html>Forbidden</html>", None)]
    fn what_a_refusal_is(#[case] code: u16, #[case] status: &str, #[case] expected: Option<Denial<'_>>) {
        assert_eq!(answer(code, status).denial(), expected);
    }

    #[test]
    fn a_webhook_cannot_say_that_the_anchor_is_gone() {
        assert!(answer(404, NOT_FOUND).is_secret_not_found());
        let denied = answer(404, WEBHOOK_SAYS_GONE);
        assert!(!denied.is_secret_not_found() && !denied.is_not_found());
        assert!(denied.is_refusal(), "nothing was done");
    }

    #[test]
    fn what_people_are_told() {
        let told = |code, status, method: &Method| {
            answer(code, status)
                .denial()
                .map_or_else(String::new, |denial| denial.help(method, "ci"))
        };
        insta::assert_snapshot!(told(403, QUOTA, &Method::POST), @r"
        no permission is missing: a ResourceQuota of namespace `ci` allows no more objects. Raise the quota, or make room: `jobpass sweep --namespace ci` deletes anchors that outlived their jobs. This command shows the quota:

          kubectl describe resourcequota --namespace ci
        ");
        insta::assert_snapshot!(told(403, TERMINATING, &Method::POST), @r"
        no permission is missing: the cluster is deleting namespace `ci`, which accepts nothing new. Check input `namespace`. Or wait until the namespace is gone, and create it again. If it does not go away, this command shows what holds it:

          kubectl get namespace ci --output yaml
        ");
        insta::assert_snapshot!(told(400, WEBHOOK, &Method::POST), @"no permission is missing: admission webhook `validate.kyverno.svc` of the cluster refused the object, and the message above says why. If the message demands labels or annotations, give them as `anchor-labels` and `anchor-annotations`. Otherwise, ask the people who run the cluster to allow the objects that jobpass creates");
        insta::assert_snapshot!(told(422, POLICY, &Method::POST), @"no permission is missing: ValidatingAdmissionPolicy `needs-team` of the cluster refused the object, and the message above says why. If the message demands labels or annotations, give them as `anchor-labels` and `anchor-annotations`. Otherwise, ask the people who run the cluster to allow the objects that jobpass creates");
        insta::assert_snapshot!(told(404, WEBHOOK_SAYS_GONE, &Method::DELETE), @"no permission is missing: admission webhook `validate.kyverno.svc` of the cluster refused the deletion, so jobpass cannot revoke the token. Ask the people who run the cluster to allow the deletion of anchors (Secrets of type jobpass.dev/anchor, or kubernetes.io/service-account-token for a legacy token)");
        insta::assert_snapshot!(told(403, LIMIT_RANGE, &Method::POST), @"no permission is missing: an admission plugin of the API server refused the object, and the message above says why. If the message demands labels or annotations, give them as `anchor-labels` and `anchor-annotations`. Otherwise, ask the people who run the cluster to allow the objects that jobpass creates");
        let ours = POLICY.replace("needs-team", "jobpass-anchors");
        insta::assert_snapshot!(told(422, &ours, &Method::POST), @"no permission is missing: policy `jobpass-anchors` comes from `jobpass setup`, and limits a minter to the options of that set-up. Ask for no more than these, or have an administrator run `jobpass setup` again with everything that the jobs of the namespace need");
    }
}
