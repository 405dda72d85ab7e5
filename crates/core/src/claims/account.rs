//! The ServiceAccount that a token speaks for.

use crate::{claims::Claims, names::is_dns_label, token::Token};

/// A ServiceAccount.
#[derive(Debug, Clone, PartialEq)]
pub struct Account {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl Account {
    /// The account that a token speaks for.
    pub(crate) fn of(token: &Token) -> Option<Self> {
        let subject = Claims::decode(token).ok()?.sub?;
        let (namespace, name) = subject.strip_prefix("system:serviceaccount:")?.split_once(':')?;
        let plain = is_dns_label(namespace) && name.split('.').all(is_dns_label);
        plain.then(|| Self {
            namespace: namespace.into(),
            name: name.into(),
        })
    }
}

/// `NAMESPACE/NAME`.
impl std::fmt::Display for Account {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}
