//! The environment variables of a front end. This crate gets them as a value. Only the command-line flags
//! (`JOBPASS_*`) and the TLS library (`SSL_CERT_FILE`, `SSL_CERT_DIR`) read the variables of the process
//! itself.

use std::collections::{BTreeMap, BTreeSet};

use super::system::variable;
use crate::{
    error::{Error, Kind},
    text,
    token::Token,
};

/// Variables by name, and the source of the job's ID tokens. Not `Debug`: CI jobs keep secrets in variables.
#[derive(Clone, Default)]
pub struct Environment {
    /// The values, by the names that [`variable`] returns.
    variables: BTreeMap<String, String>,
    /// The names of variables whose value is not UTF-8.
    not_utf8: BTreeSet<String>,
    id_tokens: Option<IdTokens>,
}

impl Environment {
    /// The value of `name`. A value that is empty or only spaces counts as absent, because CI platforms pass
    /// absent inputs as empty strings.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.raw(name).filter(|value| !value.trim().is_empty())
    }

    /// The value of `name`, for callers that open it as a path, or record it in the state. If the value is
    /// not UTF-8, this returns an error; [`Environment::get`] would treat the variable as absent.
    ///
    /// # Errors
    /// If the value is not UTF-8.
    pub fn utf8(&self, name: &str) -> Result<Option<&str>, Error> {
        match self.not_utf8.contains(&*variable(name)) {
            true => Err(Error::new(
                Kind::Input,
                format!("the value of the environment variable {name} is not UTF-8"),
            )
            .help("set the variable to UTF-8 text")),
            false => Ok(self.get(name)),
        }
    }

    /// The value of `name`, even if it is empty.
    pub fn raw(&self, name: &str) -> Option<&str> {
        self.variables.get(&*variable(name)).map(String::as_str)
    }

    /// The same variables, with this value for `name`. `None` removes `name`.
    pub fn with(mut self, name: &str, value: Option<&str>) -> Self {
        let name = variable(name);
        self.not_utf8.remove(&*name);
        match value {
            Some(value) => self.variables.insert(name.into_owned(), value.into()),
            None => self.variables.remove(&*name),
        };
        self
    }

    /// The same variables, with the source of the job's ID tokens.
    pub fn with_id_tokens(self, id_tokens: Option<IdTokens>) -> Self {
        Self { id_tokens, ..self }
    }

    /// The source of the job's ID tokens, if the job may request them.
    pub fn id_tokens(&self) -> Option<&IdTokens> {
        self.id_tokens.as_ref()
    }

    /// All variables whose name and value are UTF-8, for a child process.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.variables
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

/// Leaves out variables whose name or value is not UTF-8. [`Environment::utf8`] still returns an error for
/// such a value.
impl FromIterator<(std::ffi::OsString, std::ffi::OsString)> for Environment {
    fn from_iter<I: IntoIterator<Item = (std::ffi::OsString, std::ffi::OsString)>>(variables: I) -> Self {
        let mut environment = Self::default();
        for (name, value) in variables {
            let Ok(name) = name.into_string() else { continue };
            let name = variable(&name).into_owned();
            match value.into_string() {
                Ok(value) => drop(environment.variables.insert(name, value)),
                Err(_) => drop(environment.not_utf8.insert(name)),
            }
        }
        environment
    }
}

impl<const N: usize> From<[(&str, &str); N]> for Environment {
    fn from(variables: [(&str, &str); N]) -> Self {
        let owned = |(name, value): (&str, &str)| (variable(name).into_owned(), value.to_owned());
        Self {
            variables: variables.into_iter().map(owned).collect(),
            ..Self::default()
        }
    }
}

/// The endpoint of a CI platform that issues ID tokens to the running job. Not `Debug`: it holds a
/// credential.
#[derive(Clone)]
pub struct IdTokens {
    /// The URL of the endpoint (https). jobpass adds the audience to its query.
    pub url: String,
    /// The name of the variable that holds the URL. The CI platform sets it.
    pub variable: &'static str,
    /// The credential of the job for this endpoint.
    pub bearer: Token,
    /// Masks an ID token in the job's log. jobpass calls this before it uses the token.
    pub mask: fn(&Token) -> Result<(), Error>,
}

impl Token {
    /// Reads the token in the environment variable `variable`, which the input `input` names.
    ///
    /// # Errors
    /// If `variable` is not a valid name, is not set, is empty, or does not hold a token.
    pub fn from_env(input: &str, variable: &str, environment: &Environment) -> Result<Self, Error> {
        let is_name = variable.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if !is_name || variable.starts_with(|c: char| c.is_ascii_digit()) {
            // The input probably holds the token itself, so the error does not show the input.
            return Err(Error::input(
                input,
                "is not the name of an environment variable",
                format!("give the variable's name, not the token; for example `{input}: CI_TOKEN`"),
            ));
        }
        let Some(text) = environment.get(variable) else {
            return Err(Error::input(
                input,
                format!(
                    "names the environment variable `{}`, which is not set",
                    text::wrong(variable)
                ),
                "set the variable for this job or step. CI platforms leave out secrets in a pull request \
                 from a fork, and protected variables on an unprotected branch",
            ));
        };
        Self::parse(text, input)
    }
}

#[cfg(test)]
mod tests {
    use std::{ffi::OsString, os::unix::ffi::OsStringExt as _};

    use super::*;

    #[test]
    fn a_value_that_is_not_utf8_is_not_a_value_that_is_absent() {
        let variables = [
            ("KUBECONFIG".into(), OsString::from_vec(b"/caf\xe9".into())),
            ("HOME".into(), "/root".into()),
        ];
        let environment = Environment::from_iter(variables);
        assert_eq!(environment.get("KUBECONFIG"), None);
        let error = environment.utf8("KUBECONFIG").expect_err("not UTF-8");
        assert_eq!(error.kind(), Kind::Input);
        assert!(error.message().contains("KUBECONFIG"), "{error}");
        assert_eq!(environment.utf8("HOME").expect("UTF-8"), Some("/root"));
        assert_eq!(environment.utf8("PATH").expect("absent"), None);
        let set = environment.with("KUBECONFIG", Some("/cafe"));
        assert_eq!(set.utf8("KUBECONFIG").expect("UTF-8"), Some("/cafe"));
    }
}
