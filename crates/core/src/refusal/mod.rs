//! The reason for a refusal, and the next step after it.

pub(crate) mod advice;
mod id_token;
mod unauthorized;

use self::advice::For;
use crate::{
    cluster::{Answer, Call, Cluster, Denial, Scope},
    error::Error,
    inputs::spec::{Spec, TokenType},
    rbac::{self, Grantee, Line},
    text::harmless,
};

/// The next step after a 404 that names no missing object.
const NO_SUCH_PATH: &str =
    "check the server's URL: every Kubernetes API server has this path, but this server does not";
/// The next step after a redirect. jobpass follows no redirect.
const REDIRECT: &str = "check the server's URL: a Kubernetes API server redirects no such request";
/// The next step after an answer that jobpass does not expect.
const UNEXPECTED: &str = "jobpass does not expect this answer: try again. If the answer comes again, report \
    it to https://github.com/jobpass/jobpass/issues";

/// The permissions that a call needs. The namespace and the kind of the token decide which these are, and how
/// the minter gets a missing one.
pub(crate) struct RequiredPermission<'a> {
    namespace: &'a str,
    token: TokenKind<'a>,
    /// The account whose token jobpass renews. `None` if the call is not a renewal.
    renewed: Option<&'a str>,
}

/// The kind of the token, and its account.
#[derive(Clone, Copy)]
enum TokenKind<'a> {
    Account(&'a str),
    /// A token of an account that jobpass creates for the job, with these rules.
    Job(&'a [rbac::Rule]),
    /// A legacy token of this account, for a job.
    Legacy(&'a str),
    /// A legacy token of this account, which a user rotates. The name may be empty.
    Rotated(&'a str),
}

/// The verbs on Secrets that a minter of legacy tokens needs.
const TO_MINT_LEGACY: &[&str] = &["create", "get", "delete"];
/// The verbs on Secrets that a user needs to rotate a legacy token.
const TO_ROTATE: &[&str] = &["create", "get", "patch", "delete"];

impl<'a> RequiredPermission<'a> {
    /// The permissions for minting.
    pub(crate) fn minting(spec: &'a Spec) -> Self {
        let token = match (spec.token_type, spec.rules.is_empty()) {
            (TokenType::Legacy, _) => TokenKind::Legacy(&spec.service_account),
            (TokenType::Bound, true) => TokenKind::Account(&spec.service_account),
            (TokenType::Bound, false) => TokenKind::Job(&spec.rules),
        };
        Self {
            namespace: &spec.namespace,
            token,
            renewed: None,
        }
    }

    /// The permissions for the renewal of an account's token. `made_for_job` says that jobpass created the
    /// account for the job.
    pub(crate) fn renewing(namespace: &'a str, account: &'a str, made_for_job: bool) -> Self {
        Self {
            renewed: Some(account),
            ..Self::revoking(namespace, account, made_for_job)
        }
    }

    /// The permissions for the rotation of an account's legacy token.
    pub(crate) fn rotating(namespace: &'a str, account: &'a str) -> Self {
        Self {
            namespace,
            token: TokenKind::Rotated(account),
            renewed: None,
        }
    }

    /// The permissions for the deletion of an anchor. `made_for_job` says that jobpass created the account
    /// for the job.
    pub(crate) fn revoking(namespace: &'a str, account: &'a str, made_for_job: bool) -> Self {
        Self {
            namespace,
            token: if made_for_job {
                TokenKind::Job(&[])
            } else {
                TokenKind::Account(account)
            },
            renewed: None,
        }
    }

    pub(crate) fn namespace(&self) -> &str {
        self.namespace
    }

    /// The next step if the account does not exist.
    pub(crate) fn no_account(&self) -> String {
        if let Some(account) = self.renewed {
            return format!(
                "somebody deleted ServiceAccount {}/{account} after this job began, so its tokens are dead. \
                 Find out who deleted the account, and run the job again",
                self.namespace
            );
        }
        let (TokenKind::Account(account) | TokenKind::Legacy(account) | TokenKind::Rotated(account)) =
            self.token
        else {
            return "another program deleted the ServiceAccount right after jobpass created it: find out \
                    which program"
                .into();
        };
        format!(
            "there is no ServiceAccount `{account}` in namespace `{0}`: check inputs `service-account` and \
             `namespace`, or create it with `kubectl create serviceaccount {account} --namespace {0}`",
            self.namespace
        )
    }

    /// The next step if the Secret of a legacy token is gone right after its creation.
    pub(crate) fn no_secret(&self) -> String {
        let name = match self.token {
            TokenKind::Account(account) | TokenKind::Legacy(account) | TokenKind::Rotated(account) => account,
            TokenKind::Job(_) => return self.no_account(),
        };
        format!(
            "check that ServiceAccount {0}/{name} exists: without it, the token controller deletes the \
             Secret. If the account exists, find out which program deleted the Secret",
            self.namespace
        )
    }

    /// The next step that gives the minter, or the user who rotates a token, the missing permission.
    fn right(&self, user: Option<&str>) -> String {
        if let TokenKind::Rotated(_) = self.token {
            return format!(
                "to rotate a legacy token, a user must be allowed to create, read, change and delete Secrets. \
                 Use an administrator's kubeconfig, or an account for this purpose alone, which an \
                 administrator creates (`kubectl apply -f -`):\n\n{}",
                reader(Some(self.namespace), TO_ROTATE)
            );
        }
        if let TokenKind::Legacy(_) = self.token {
            return format!(
                "for a legacy token, the minter must be allowed to read Secrets. This is broad: it allows \
                 reading every Secret in the namespace and obtaining a token for each of its \
                 ServiceAccounts. A bound token (`type: bound`) needs none of this. If an old tool needs a \
                 legacy token, an administrator creates an account for this purpose alone, in a namespace \
                 that holds nothing else (`kubectl apply -f -`):\n\n{}",
                reader(Some(self.namespace), TO_MINT_LEGACY)
            );
        }
        format!(
            "{}an administrator gives the minter the permissions that it needs, and limits it to \
             them:\n\n{}",
            self.whom().check(),
            self.setup(user)
        )
    }

    /// The command with which an administrator gives the minter its permissions, and limits the minter to
    /// them.
    fn setup(&self, user: Option<&str>) -> String {
        format!(
            "  {}\n\nif this namespace has other minters, the command changes nothing and names them: then \
             run it again with all minters",
            advice::command(self.namespace, self.whom(), user)
        )
    }

    fn whom(&self) -> For<'_> {
        match self.token {
            TokenKind::Account(account) | TokenKind::Legacy(account) | TokenKind::Rotated(account) => {
                For::Account(account)
            }
            TokenKind::Job(rules) => For::Jobs(rules),
        }
    }
}

impl Cluster {
    /// The error for a refused call that mints, rotates or revokes.
    pub(crate) fn refused(&self, call: &Call, answer: &Answer, permission: &RequiredPermission<'_>) -> Error {
        let message = answer.message();
        let error = answer.unexpected(call);
        // A policy that refuses legacy tokens does so on purpose. The message below says that.
        let on_purpose = |denial: &Denial<'_>| {
            matches!(
                (denial, permission.token),
                (Denial::Policy(_), TokenKind::Legacy(_) | TokenKind::Rotated(_))
            )
        };
        if let Some(denial) = answer.denial().filter(|denial| !on_purpose(denial)) {
            return error.help(denial.help(call.method(), permission.namespace));
        }
        if let Some(step) = answer.refused_by_another() {
            return error.help(step);
        }
        let rotates = matches!(permission.token, TokenKind::Rotated(_));
        let refuses_legacy = matches!(permission.token, TokenKind::Legacy(_) | TokenKind::Rotated(_))
            && message.contains("ValidatingAdmissionPolicy");
        // The proposed command turns this user into a minter, and a job must not become one.
        let user = user(&message).filter(|_| !self.asks_as_a_job());
        match answer.status {
            401 => error.help(self.unauthorized()),
            403 if rotates => error.help(permission.right(user)),
            403 if message.contains("attempting to grant RBAC permissions not currently held") => {
                error.help(format!(
                    "Kubernetes lets an account grant only permissions that it holds itself. The message \
                     above lists those that the minter lacks. An administrator gives these permissions to \
                     the minter as well. In `--role-rules`, list everything that jobs may get:\n\n{}",
                    permission.setup(user)
                ))
            }
            403 if self.asks_as_a_job() => error.help(format!(
                "the credential is the token of a job, and such a token mints nothing: use the minter's own \
                 credential. To make a minter, an administrator runs:\n\n{}",
                permission.setup(None)
            )),
            403 => error.help(permission.right(user)),
            404 if answer.missing() == Some("namespaces") => error.help(format!(
                "there is no namespace `{0}`: check input `namespace`. Without this input, check the \
                 namespace of the kubeconfig's context. Or create the namespace with `kubectl create \
                 namespace {0}`",
                permission.namespace
            )),
            404 if answer.missing() == Some("serviceaccounts") => error.help(permission.no_account()),
            404 if answer.missing() == Some("secrets") => {
                error.help("somebody deleted the Secret while jobpass was using it. Find out who did")
            }
            404 => error.help(NO_SUCH_PATH),
            300..=399 => error.help(REDIRECT),
            422 if refuses_legacy && rotates => error.help(
                "an admission policy refused the request. The policies of `jobpass setup` do so on purpose: \
                 they limit a minter. Rotate the token as a user to whom no such policy applies, for example \
                 as an administrator",
            ),
            422 if refuses_legacy => error.help(
                "an admission policy refused the request. The policies of `jobpass setup` do so on purpose: \
                 they limit a minter to empty anchors and bound tokens. Use `type: bound`. If an old tool \
                 needs a legacy token, use a separate minter to which no such policy applies, in a separate \
                 namespace",
            ),
            422 => error.help(
                "the API server or an admission policy refused the request as invalid; the message above \
                 says why. Correct the cause, and try again",
            ),
            _ => error.help(UNEXPECTED),
        }
    }

    /// The error for a refused list or sweep, which needs `verbs` on Secrets.
    pub(crate) fn refused_to_see(
        &self,
        call: &Call,
        answer: &Answer,
        scope: &Scope,
        verbs: &[&str],
    ) -> Error {
        let error = answer.unexpected(call);
        if let Some(denial) = answer.denial() {
            return error.help(denial.help(call.method(), ""));
        }
        if let Some(step) = answer.refused_by_another() {
            return error.help(step);
        }
        match answer.status {
            401 => error.help(self.unauthorized_to_administer()),
            403 => error.help(format!(
                "an account that may list Secrets can read them, so no minter may list them. Use an \
                 administrator's kubeconfig, or an account for this purpose alone, which an administrator \
                 creates (`kubectl apply -f -`):\n\n{}",
                reader(
                    match scope {
                        Scope::Namespace(namespace) => Some(namespace),
                        Scope::Cluster => None,
                    },
                    verbs,
                )
            )),
            404 => error.help(NO_SUCH_PATH),
            300..=399 => error.help(REDIRECT),
            410 => error.help(
                "the list expired several times while jobpass read it. Try again when the API server has \
                 less load, or list one namespace at a time",
            ),
            _ => error.help(UNEXPECTED),
        }
    }
}

/// The manifest of an account with `verbs` on Secrets. The account's name contains the verbs, so that the
/// manifest changes no other account.
fn reader(namespace: Option<&str>, verbs: &[&str]) -> String {
    let name = format!("jobpass-secrets-{}", verbs.join("-"));
    let secrets = Line {
        rule: rbac::Rule::of("", &["secrets"], &[], verbs),
        missing: false,
    };
    let home = namespace.unwrap_or("default");
    let account = Grantee::ServiceAccount {
        namespace: home,
        name: &name,
    };
    format!(
        "apiVersion: v1\nkind: ServiceAccount\nmetadata:\n  name: {name}\n  namespace: {home}\n---\n{}",
        rbac::role_yaml(&name, namespace, &[secrets], &account)
    )
}

/// The user in a Forbidden message. `None` if the name is not safe to paste.
fn user(message: &str) -> Option<&str> {
    let (_, rest) = message
        .split_once("User \"")
        .or_else(|| message.split_once("user \""))?;
    let (user, _) = rest.split_once('"')?;
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.:@/#+=|".contains(c);
    (!user.is_empty() && user.chars().all(plain) && user == harmless(user)).then_some(user)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::{
        Kind,
        cluster::{Identity, scripted},
        inputs::options::{Inputs, Opt},
    };

    #[test]
    fn a_minter_gets_what_it_lacks_with_the_policies_that_hold_it() {
        let message = "secrets is forbidden: User \"system:serviceaccount:ci:minter\" cannot create resource";
        let inputs = Inputs::from([(Opt::ServiceAccount, "scanner"), (Opt::Namespace, "ci")]);
        let spec = Spec::parse(&inputs, None).expect("a spec");
        insta::assert_snapshot!(RequiredPermission::minting(&spec).right(user(message)), @"
        check inputs `service-account` and `namespace`. If they are right, an administrator gives the minter the permissions that it needs, and limits it to them:

          jobpass setup --service-account scanner --namespace ci --minter serviceaccount:ci/minter --apply

        if this namespace has other minters, the command changes nothing and names them: then run it again with all minters
        ");
    }

    /// A user who rotates a token is no minter, and cannot choose `type: bound`.
    #[test]
    fn a_user_who_rotates_reads_what_rotation_needs() {
        let help = RequiredPermission::rotating("ci", "scanner").right(Some("jane"));
        assert!(help.contains("Use an administrator's kubeconfig"), "{help}");
        assert!(
            help.contains(r#"verbs: ["create", "get", "patch", "delete"]"#),
            "{help}"
        );
        assert!(
            !help.contains("minter") && !help.contains("type: bound"),
            "{help}"
        );
    }

    #[test]
    fn who_may_read_secrets_is_an_account_for_nothing_else() {
        insta::assert_snapshot!(reader(Some("ci"), &["list", "delete"]), @r#"
        apiVersion: v1
        kind: ServiceAccount
        metadata:
          name: jobpass-secrets-list-delete
          namespace: ci
        ---
        apiVersion: rbac.authorization.k8s.io/v1
        kind: Role
        metadata:
          name: jobpass-secrets-list-delete
          namespace: ci
        rules:
        - apiGroups: [""]
          resources: ["secrets"]
          verbs: ["list", "delete"]
        ---
        apiVersion: rbac.authorization.k8s.io/v1
        kind: RoleBinding
        metadata:
          name: jobpass-secrets-list-delete
          namespace: ci
        roleRef:
          apiGroup: rbac.authorization.k8s.io
          kind: Role
          name: jobpass-secrets-list-delete
        subjects:
        - kind: ServiceAccount
          name: jobpass-secrets-list-delete
          namespace: ci
        "#);
        insta::assert_snapshot!(reader(None, &["list"]), @r#"
        apiVersion: v1
        kind: ServiceAccount
        metadata:
          name: jobpass-secrets-list
          namespace: default
        ---
        apiVersion: rbac.authorization.k8s.io/v1
        kind: ClusterRole
        metadata:
          name: jobpass-secrets-list
        rules:
        - apiGroups: [""]
          resources: ["secrets"]
          verbs: ["list"]
        ---
        apiVersion: rbac.authorization.k8s.io/v1
        kind: ClusterRoleBinding
        metadata:
          name: jobpass-secrets-list
        roleRef:
          apiGroup: rbac.authorization.k8s.io
          kind: ClusterRole
          name: jobpass-secrets-list
        subjects:
        - kind: ServiceAccount
          name: jobpass-secrets-list
          namespace: default
        "#);
    }

    #[test]
    fn a_user_name_cannot_write_yaml_of_its_own() {
        assert_eq!(user("User \"ci:github:2\" cannot"), Some("ci:github:2"));
        assert_eq!(user("User \"x\\\"\\n- kind: Group\" cannot"), None);
        assert_eq!(user("nothing of the kind"), None);
    }

    const MINTER: &str =
        "secrets is forbidden: User \"system:serviceaccount:ci:minter\" cannot create resource \"secrets\"";

    /// The next step in the error for a refused creation of the anchor.
    fn help(status: u16, reason: &str, kind: &str, message: &str) -> String {
        let inputs = Inputs::from([(Opt::ServiceAccount, "scanner"), (Opt::Namespace, "ci")]);
        let spec = Spec::parse(&inputs, None).expect("a spec");
        let call = Call::get("create the anchor", "/api/v1/namespaces/ci/secrets").expect("a call");
        let body = serde_json::json!({
            "kind": "Status", "status": "Failure", "message": message, "reason": reason, "code": status,
            "details": { "name": "a", "kind": kind },
        });
        let answer = Answer::new(status, Some(body.to_string().into_bytes().into()));
        let (cluster, _) = scripted::cluster(&Identity::default(), []);
        let error = cluster.refused(&call, &answer, &RequiredPermission::minting(&spec));
        assert_eq!(error.kind(), Kind::Refused);
        assert_eq!(
            error.message(),
            format!("cannot create the anchor: the API server answered {status} {message}").trim_end()
        );
        error.next_step().unwrap_or_default().to_owned()
    }

    #[rstest]
    #[case::bearer(401, "Unauthorized", "", "Unauthorized", "the credential of the minter")]
    #[case::rbac(
        403,
        "Forbidden",
        "secrets",
        MINTER,
        "jobpass setup --service-account scanner --namespace ci --minter"
    )]
    #[case::namespace(
        404,
        "NotFound",
        "namespaces",
        "namespaces \"ci\" not found",
        "kubectl create namespace ci"
    )]
    #[case::account(
        404,
        "NotFound",
        "serviceaccounts",
        "serviceaccounts \"scanner\" not found",
        "kubectl create serviceaccount scanner --namespace ci"
    )]
    #[case::secret(
        404,
        "NotFound",
        "secrets",
        "secrets \"a\" not found",
        "somebody deleted the Secret while jobpass was using it"
    )]
    #[case::the_kind_counts_and_not_the_words(
        404,
        "NotFound",
        "pods",
        "namespaces are not here",
        "check the server's URL"
    )]
    #[case::not_an_api_server(404, "", "", "", "check the server's URL")]
    #[case::conflict(
        409,
        "Conflict",
        "secrets",
        "",
        "If the answer comes again, report it to https://"
    )]
    #[case::invalid(422, "Invalid", "secrets", "metadata.name", "refused the request as invalid")]
    #[case::quota(
        403,
        "Forbidden",
        "secrets",
        "secrets \"a\" is forbidden: exceeded quota: q",
        "kubectl describe resourcequota --namespace ci"
    )]
    fn a_refusal_ends_in_the_next_step(
        #[case] status: u16,
        #[case] reason: &str,
        #[case] kind: &str,
        #[case] message: &str,
        #[case] expected: &str,
    ) {
        let help = help(status, reason, kind, message);
        assert!(help.contains(expected), "{help}");
    }

    /// The end of a job and its renewer do not know the rules of the job. An account that jobpass made for
    /// the job is not one for which an administrator sets up a minter.
    #[rstest]
    #[case::of_the_job(true, "--role-rules RULES")]
    #[case::of_the_user(false, "--service-account jobpass-a")]
    fn a_refused_renewal_proposes_the_set_up_of_its_account(#[case] made_for_job: bool, #[case] whom: &str) {
        let call = Call::get("get a token", "/api/v1/namespaces/ci").expect("a call");
        let (cluster, _) = scripted::cluster(&Identity::default(), []);
        let permission = RequiredPermission::renewing("ci", "jobpass-a", made_for_job);
        let step = |status: u16, reason: &str, kind: &str| {
            let body = serde_json::json!({
                "kind": "Status", "status": "Failure", "message": MINTER, "reason": reason, "code": status,
                "details": { "name": "a", "kind": kind },
            });
            let answer = Answer::new(status, Some(body.to_string().into_bytes().into()));
            let error = cluster.refused(&call, &answer, &permission);
            error.next_step().unwrap_or_default().to_owned()
        };
        let forbidden = step(403, "Forbidden", "secrets");
        assert!(forbidden.contains(whom), "{forbidden}");
        let gone = step(404, "NotFound", "serviceaccounts");
        assert!(
            gone.starts_with("somebody deleted ServiceAccount ci/jobpass-a after"),
            "{gone}"
        );
    }

    #[rstest]
    #[case::the_list_expired(410, "the list expired several times")]
    #[case::not_an_api_server(404, "this server does not")]
    #[case::a_login_page(302, "redirects no such request")]
    #[case::conflict(409, "does not expect this answer: try again")]
    fn a_list_that_fails_ends_in_the_next_step(#[case] status: u16, #[case] expected: &str) {
        let call = Call::get("list the anchors", "/api/v1/secrets").expect("a call");
        let (cluster, _) = scripted::cluster(&Identity::default(), []);
        let error = cluster.refused_to_see(&call, &Answer::new(status, None), &Scope::Cluster, &["list"]);
        let help = error.next_step().unwrap_or_default();
        assert!(help.contains(expected), "{error}");
    }
}
