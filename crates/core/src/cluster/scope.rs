//! The scope of a list: one namespace, or the cluster.

/// The scope of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// One namespace.
    Namespace(String),
    /// All namespaces.
    Cluster,
}

impl Scope {
    /// The scope in words: `` namespace `ci` `` or `the cluster`.
    pub fn in_words(&self) -> String {
        match self {
            Self::Namespace(namespace) => format!("namespace `{namespace}`"),
            Self::Cluster => "the cluster".into(),
        }
    }

    /// The namespace. `None` for the cluster.
    pub(crate) fn namespace(&self) -> Option<&str> {
        match self {
            Self::Namespace(namespace) => Some(namespace),
            Self::Cluster => None,
        }
    }
}
