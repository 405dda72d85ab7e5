//! The checks of a token's permissions before jobpass hands the token over.

use crate::{
    error::Error,
    inputs::options::{Inputs, Opt},
    rbac::{FORMS, Permission, parse_all},
};

/// The permissions to check for a token.
#[derive(Debug, Clone, Default)]
pub struct Checks {
    /// The permissions that the token must have.
    pub require: Vec<Permission>,
    /// The permissions that the token must not have.
    pub forbid: Vec<Permission>,
    /// The reaction if the ServiceAccount can get credentials that outlive the token.
    pub escape: EscapeCheck,
}

/// The reaction if a ServiceAccount can get credentials that outlive its token.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum EscapeCheck {
    /// Refuse the token.
    Fail,
    /// Warn.
    #[default]
    Warn,
    /// Do not look for such credentials.
    Off,
}

impl Checks {
    /// Parses the inputs.
    ///
    /// # Errors
    /// If a line or `escape-check` is wrong, if a permission of `forbid` has a wildcard only for the verb or
    /// only for the resource, or if `audiences` is given together with `require` or `forbid`.
    pub fn parse(inputs: &Inputs) -> Result<Self, Error> {
        let permissions =
            |option: Opt| parse_all(option.name(), inputs.get(option).unwrap_or_default(), FORMS, Ok);
        let (require, forbid) = (permissions(Opt::Require)?, permissions(Opt::Forbid)?);
        // For `* secrets`, the API server answers only whether the token has every verb at once. So a token
        // that may `get secrets` would pass `forbid: * secrets`. Only for `* *` do people want that answer.
        let vague = forbid
            .iter()
            .find(|permission| matches!(permission.wildcards(), (true, false) | (false, true)));
        if let Some(vague) = vague {
            return Err(Error::input(
                Opt::Forbid,
                format!(
                    "has `{vague}`, which lets narrower permissions pass: it forbids only one permission \
                     that covers everything at once"
                ),
                "write each permission on a line of its own: `get secrets`, `list secrets`; `* *` forbids an \
                 administrator's permissions",
            ));
        }
        let escape = inputs.choice(Opt::EscapeCheck, |word| match word {
            "fail" => Some(EscapeCheck::Fail),
            "warn" => Some(EscapeCheck::Warn),
            "off" => Some(EscapeCheck::Off),
            _ => None,
        })?;
        // Only the API server answers about permissions, and it answers 401 to a token for other audiences.
        let asked = [(Opt::Require, &require), (Opt::Forbid, &forbid)];
        let asked = asked.into_iter().find(|(_, permissions)| !permissions.is_empty());
        if let (Some((option, _)), true) = (asked, inputs.get(Opt::Audiences).is_some()) {
            return Err(Error::input(
                option,
                "and input `audiences` are both given: the API server does not check the permissions of a \
                 token for other audiences",
                "leave out one of the two, or mint a second token",
            ));
        }
        Ok(Self {
            require,
            forbid,
            escape,
        })
    }

    /// Adds the permissions in `text`, the value of the input `option`, to those that the token must have.
    ///
    /// # Errors
    /// If a line is wrong.
    pub fn also_require(&mut self, option: &str, text: &str) -> Result<(), Error> {
        self.require.extend(parse_all(option, text, FORMS, Ok)?);
        Ok(())
    }

    /// Whether no check is wanted: `require` and `forbid` are empty, and `escape-check` is `off`.
    pub(crate) fn is_empty(&self) -> bool {
        self.require.is_empty() && self.forbid.is_empty() && self.escape == EscapeCheck::Off
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn parse(inputs: &[(Opt, &str)]) -> Result<Checks, Error> {
        let given = inputs.iter().fold(Inputs::from([]), |inputs, (option, value)| {
            inputs.with(*option, *value)
        });
        Checks::parse(&given)
    }

    #[rstest]
    #[case::nothing(&[(Opt::EscapeCheck, "off")], true)]
    #[case::by_default(&[], false)]
    #[case::the_escape_check(&[(Opt::EscapeCheck, "fail")], false)]
    #[case::a_requirement(&[(Opt::EscapeCheck, "off"), (Opt::Require, "get pods")], false)]
    #[case::a_prohibition(&[(Opt::EscapeCheck, "off"), (Opt::Forbid, "get secrets")], false)]
    fn there_is_something_to_ask(#[case] inputs: &[(Opt, &str)], #[case] nothing: bool) {
        assert_eq!(parse(inputs).expect("checks").is_empty(), nothing);
    }

    /// A check that cannot fail would give a false sense of safety.
    #[rstest]
    #[case::any_verb(&[(Opt::Forbid, "* secrets")], "input `forbid` has `* secrets`")]
    #[case::any_resource(&[(Opt::Forbid, "get pods\nget *")], "input `forbid` has `get *`")]
    #[case::wrong_word(&[(Opt::EscapeCheck, "no")], "input `escape-check` is `no`")]
    #[case::of_others(&[(Opt::Require, "get pods"), (Opt::Audiences, "vault")], "input `require` and input `audiences` are both given")]
    #[case::also_of_others(&[(Opt::Forbid, "get pods"), (Opt::Audiences, "vault")], "input `forbid` and input `audiences`")]
    fn a_question_that_says_nothing_is_refused(#[case] inputs: &[(Opt, &str)], #[case] why: &str) {
        let error = parse(inputs).expect_err("refused");
        assert!(error.message().starts_with(why), "{error}");
    }

    #[rstest]
    #[case::administrators(&[(Opt::Forbid, "* *")])]
    #[case::everything_is_needed(&[(Opt::Require, "* secrets")])]
    #[case::only_the_escape_check(&[(Opt::EscapeCheck, "fail"), (Opt::Audiences, "vault")])]
    fn a_question_that_says_something_is_asked(#[case] inputs: &[(Opt, &str)]) {
        assert!(!parse(inputs).expect("checks").is_empty());
    }
}
