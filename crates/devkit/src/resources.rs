//! The table of everything that the dev cluster serves.

use std::fmt;

/// One resource of the API.
#[derive(Debug, PartialEq)]
pub(crate) struct Resource {
    pub(crate) group: &'static str,
    pub(crate) version: &'static str,
    pub(crate) plural: &'static str,
    pub(crate) kind: &'static str,
    pub(crate) short: &'static [&'static str],
    pub(crate) scope: Scope,
    pub(crate) use_: Use,
    pub(crate) names: Names,
    /// The fields that decoding knows, besides `kind`, `apiVersion` and the metadata. `a.*` takes any key below `a`,
    /// `a.**` anything below `a`.
    pub(crate) fields: &'static [&'static str],
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Scope {
    Namespaced,
    Cluster,
}

/// What a resource is there for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Use {
    /// Kept in the store; deleting one answers a `Status`.
    Stored,
    /// Kept in the store; deleting one answers the object (`ReturnDeletedObject` in the registries).
    StoredAndReturned,
    /// A question that is answered and forgotten.
    Asked,
}

/// What a resource may be called.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Names {
    Subdomain,
    Label,
    PathSegment,
}

pub(crate) const METADATA: &[&str] = &[
    "kind",
    "apiVersion",
    "metadata.name",
    "metadata.generateName",
    "metadata.namespace",
    "metadata.uid",
    "metadata.resourceVersion",
    "metadata.generation",
    "metadata.creationTimestamp",
    "metadata.deletionTimestamp",
    "metadata.deletionGracePeriodSeconds",
    "metadata.labels.*",
    "metadata.annotations.*",
    "metadata.finalizers",
    "metadata.selfLink",
    "metadata.managedFields.**",
    "metadata.ownerReferences.apiVersion",
    "metadata.ownerReferences.kind",
    "metadata.ownerReferences.name",
    "metadata.ownerReferences.uid",
    "metadata.ownerReferences.controller",
    "metadata.ownerReferences.blockOwnerDeletion",
];

const RULES: &[&str] = &[
    "rules.verbs",
    "rules.apiGroups",
    "rules.resources",
    "rules.resourceNames",
    "rules.nonResourceURLs",
    "aggregationRule.**",
];
const BINDING: &[&str] = &[
    "subjects.kind",
    "subjects.apiGroup",
    "subjects.name",
    "subjects.namespace",
    "roleRef.apiGroup",
    "roleRef.kind",
    "roleRef.name",
];

const STORED: Resource = Resource {
    group: "",
    version: "v1",
    plural: "",
    kind: "",
    short: &[],
    scope: Scope::Namespaced,
    use_: Use::Stored,
    names: Names::Subdomain,
    fields: &["spec.**", "status.**"],
};
const RBAC: Resource = Resource {
    group: "rbac.authorization.k8s.io",
    names: Names::PathSegment,
    ..STORED
};
const ADMISSION: Resource = Resource {
    group: "admissionregistration.k8s.io",
    scope: Scope::Cluster,
    ..STORED
};
const ASKED: Resource = Resource {
    scope: Scope::Cluster,
    use_: Use::Asked,
    ..STORED
};

pub(crate) static NAMESPACES: Resource = Resource {
    plural: "namespaces",
    kind: "Namespace",
    short: &["ns"],
    scope: Scope::Cluster,
    names: Names::Label,
    ..STORED
};
pub(crate) static NODES: Resource = Resource {
    plural: "nodes",
    kind: "Node",
    short: &["no"],
    scope: Scope::Cluster,
    ..STORED
};
pub(crate) static PODS: Resource = Resource {
    plural: "pods",
    kind: "Pod",
    short: &["po"],
    use_: Use::StoredAndReturned,
    ..STORED
};
pub(crate) static SECRETS: Resource = Resource {
    plural: "secrets",
    kind: "Secret",
    fields: &["data.*", "stringData.*", "type", "immutable"],
    ..STORED
};
pub(crate) static SERVICE_ACCOUNTS: Resource = Resource {
    plural: "serviceaccounts",
    kind: "ServiceAccount",
    short: &["sa"],
    use_: Use::StoredAndReturned,
    fields: &[
        "secrets.**",
        "imagePullSecrets.**",
        "automountServiceAccountToken",
    ],
    ..STORED
};
pub(crate) static ROLES: Resource = Resource {
    plural: "roles",
    kind: "Role",
    fields: RULES,
    ..RBAC
};
pub(crate) static ROLE_BINDINGS: Resource = Resource {
    plural: "rolebindings",
    kind: "RoleBinding",
    fields: BINDING,
    ..RBAC
};
pub(crate) static CLUSTER_ROLES: Resource = Resource {
    plural: "clusterroles",
    kind: "ClusterRole",
    scope: Scope::Cluster,
    fields: RULES,
    ..RBAC
};
pub(crate) static CLUSTER_ROLE_BINDINGS: Resource = Resource {
    plural: "clusterrolebindings",
    kind: "ClusterRoleBinding",
    scope: Scope::Cluster,
    fields: BINDING,
    ..RBAC
};
pub(crate) static POLICIES: Resource = Resource {
    plural: "validatingadmissionpolicies",
    kind: "ValidatingAdmissionPolicy",
    ..ADMISSION
};
pub(crate) static POLICY_BINDINGS: Resource = Resource {
    plural: "validatingadmissionpolicybindings",
    kind: "ValidatingAdmissionPolicyBinding",
    fields: &["spec.**"],
    ..ADMISSION
};
/// Kept, and never run.
pub(crate) static CRON_JOBS: Resource = Resource {
    group: "batch",
    plural: "cronjobs",
    kind: "CronJob",
    short: &["cj"],
    ..STORED
};
pub(crate) static TOKEN_REVIEWS: Resource = Resource {
    group: "authentication.k8s.io",
    plural: "tokenreviews",
    kind: "TokenReview",
    fields: &["spec.token", "spec.audiences", "status.**"],
    ..ASKED
};
pub(crate) static SELF_SUBJECT_REVIEWS: Resource = Resource {
    group: "authentication.k8s.io",
    plural: "selfsubjectreviews",
    kind: "SelfSubjectReview",
    fields: &["status.**"],
    ..ASKED
};
pub(crate) static SELF_SUBJECT_ACCESS_REVIEWS: Resource = Resource {
    group: "authorization.k8s.io",
    plural: "selfsubjectaccessreviews",
    kind: "SelfSubjectAccessReview",
    fields: &[
        "spec.resourceAttributes.namespace",
        "spec.resourceAttributes.verb",
        "spec.resourceAttributes.group",
        "spec.resourceAttributes.version",
        "spec.resourceAttributes.resource",
        "spec.resourceAttributes.subresource",
        "spec.resourceAttributes.name",
        "spec.resourceAttributes.fieldSelector.**",
        "spec.resourceAttributes.labelSelector.**",
        "spec.nonResourceAttributes.path",
        "spec.nonResourceAttributes.verb",
        "status.**",
    ],
    ..ASKED
};
pub(crate) static SELF_SUBJECT_RULES_REVIEWS: Resource = Resource {
    group: "authorization.k8s.io",
    plural: "selfsubjectrulesreviews",
    kind: "SelfSubjectRulesReview",
    fields: &["spec.namespace", "status.**"],
    ..ASKED
};

/// The body of `serviceaccounts/token`: no resource of its own.
pub(crate) static TOKEN_REQUEST: Resource = Resource {
    group: "authentication.k8s.io",
    plural: "tokenrequests",
    kind: "TokenRequest",
    fields: &[
        "spec.audiences",
        "spec.expirationSeconds",
        "spec.boundObjectRef.kind",
        "spec.boundObjectRef.apiVersion",
        "spec.boundObjectRef.name",
        "spec.boundObjectRef.uid",
        "status.**",
    ],
    ..ASKED
};

/// In the order in which an owner must exist before what it holds.
pub(crate) static RESOURCES: [&Resource; 16] = [
    &NAMESPACES,
    &NODES,
    &SERVICE_ACCOUNTS,
    &SECRETS,
    &PODS,
    &CLUSTER_ROLES,
    &ROLES,
    &CLUSTER_ROLE_BINDINGS,
    &ROLE_BINDINGS,
    &POLICIES,
    &POLICY_BINDINGS,
    &CRON_JOBS,
    &TOKEN_REVIEWS,
    &SELF_SUBJECT_REVIEWS,
    &SELF_SUBJECT_ACCESS_REVIEWS,
    &SELF_SUBJECT_RULES_REVIEWS,
];

impl Resource {
    pub(crate) fn is_namespaced(&self) -> bool {
        self.scope == Scope::Namespaced
    }

    pub(crate) fn is_stored(&self) -> bool {
        self.use_ != Use::Asked
    }

    pub(crate) fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.to_owned()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }

    /// `roles.rbac.authorization.k8s.io`, or just `secrets`.
    pub(crate) fn qualified(&self) -> String {
        if self.group.is_empty() {
            self.plural.to_owned()
        } else {
            format!("{}.{}", self.plural, self.group)
        }
    }

    /// The Go package of the internal type, which shows in conversion errors.
    pub(crate) fn package(&self) -> &'static str {
        match self.group.split('.').next() {
            None | Some("") => "core",
            Some(package) => package,
        }
    }

    pub(crate) fn verbs(&self) -> &'static [&'static str] {
        match self.use_ {
            Use::Asked => &["create"],
            Use::Stored | Use::StoredAndReturned => &[
                "create",
                "delete",
                "deletecollection",
                "get",
                "list",
                "patch",
                "update",
            ],
        }
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.plural)
    }
}

/// Kubernetes releases whose behaviour is known from a recording.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// No `jti`, no `SelfSubjectReview`, no tokens bound to a Node, no admission policies, no configured issuers.
    V1_27,
    #[default]
    V1_36,
}

impl Version {
    /// Whether this release serves `resource`.
    pub(crate) fn serves(self, resource: &Resource) -> bool {
        let newer = [&SELF_SUBJECT_REVIEWS, &POLICIES, &POLICY_BINDINGS];
        self >= Version::V1_36 || !newer.contains(&resource)
    }

    pub(crate) fn minor(self) -> u8 {
        match self {
            Version::V1_27 => 27,
            Version::V1_36 => 36,
        }
    }
}

impl std::str::FromStr for Version {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.trim_start_matches('v') {
            "1.27" => Ok(Version::V1_27),
            "1.36" => Ok(Version::V1_36),
            other => anyhow::bail!("no Kubernetes {other} here, only 1.36 and 1.27"),
        }
    }
}
