//! What a front end read from its environment, handed to core as a value.

use std::collections::BTreeMap;

use crate::minter::IdTokens;

/// Variables by name, and where the job gets ID tokens. Not `Debug`: CI jobs keep secrets in variables.
#[derive(Clone, Default)]
pub struct Environment {
    variables: BTreeMap<String, String>,
    id_tokens: Option<IdTokens>,
}

impl Environment {
    /// The value of `name`; an empty one counts as absent, as CI platforms pass absent inputs so.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.variables
            .get(name)
            .map(String::as_str)
            .filter(|value| !value.trim().is_empty())
    }

    /// The value of `name` even if it is empty.
    pub fn raw(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str)
    }

    /// The same variables with `name` set, or removed.
    pub fn with(mut self, name: &str, value: Option<&str>) -> Self {
        match value {
            Some(value) => self.variables.insert(name.into(), value.into()),
            None => self.variables.remove(name),
        };
        self
    }

    /// The same on a platform that hands ID tokens out to the job.
    pub fn with_id_tokens(self, id_tokens: Option<IdTokens>) -> Self {
        Self { id_tokens, ..self }
    }

    /// Where the job gets ID tokens, if it may.
    pub fn id_tokens(&self) -> Option<&IdTokens> {
        self.id_tokens.as_ref()
    }

    /// All variables, for a child process.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.variables
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

/// Variables whose name or value is not UTF-8 are left out.
impl FromIterator<(std::ffi::OsString, std::ffi::OsString)> for Environment {
    fn from_iter<I: IntoIterator<Item = (std::ffi::OsString, std::ffi::OsString)>>(variables: I) -> Self {
        let utf8 = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        Self {
            variables: variables.into_iter().filter_map(utf8).collect(),
            id_tokens: None,
        }
    }
}

impl<const N: usize> From<[(&str, &str); N]> for Environment {
    fn from(variables: [(&str, &str); N]) -> Self {
        let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        Self {
            variables: variables.into_iter().map(owned).collect(),
            id_tokens: None,
        }
    }
}
