//! Where a list looks: in one namespace, or everywhere.

/// Where to look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// In one namespace.
    Namespace(String),
    /// In all of them.
    Cluster,
}

impl Scope {
    /// `namespace ci` or `the cluster`.
    pub fn in_words(&self) -> String {
        match self {
            Self::Namespace(namespace) => format!("namespace `{namespace}`"),
            Self::Cluster => "the cluster".into(),
        }
    }

    /// The namespace, if it is one.
    pub(crate) fn namespace(&self) -> Option<&str> {
        match self {
            Self::Namespace(namespace) => Some(namespace),
            Self::Cluster => None,
        }
    }
}
