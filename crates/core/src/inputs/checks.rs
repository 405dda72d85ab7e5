//! The questions about a token that jobpass asks before it hands the token over.

use crate::{
    error::Error,
    inputs::options::{Inputs, Opt},
    rbac::{Permission, parse_all},
};

/// The questions to ask about a token.
#[derive(Debug, Clone, Default)]
pub struct Checks {
    /// The permissions that the token must have.
    pub require: Vec<Permission>,
    /// The permissions that the token must not have.
    pub forbid: Vec<Permission>,
    /// The reaction to a ServiceAccount that can get credentials which outlive the token.
    pub escape: EscapeCheck,
}

/// The reaction to a ServiceAccount that can get credentials which outlive its token.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum EscapeCheck {
    /// Refuse the token.
    Fail,
    /// Warn.
    #[default]
    Warn,
    /// Do not ask.
    Off,
}

impl Checks {
    /// Parses the inputs.
    ///
    /// # Errors
    /// If a line is wrong, or if no API server can answer the question.
    pub fn parse(inputs: &Inputs) -> Result<Self, Error> {
        let permissions = |option: Opt| parse_all(option.name(), inputs.get(option).unwrap_or_default(), Ok);
        let (require, forbid) = (permissions(Opt::Require)?, permissions(Opt::Forbid)?);
        // `*` asks whether everything is allowed, so a `forbid` with it forbids next to nothing. Only `* *`
        // is likely to be meant.
        let vague = forbid
            .iter()
            .find(|permission| matches!(permission.wildcards(), (true, false) | (false, true)));
        if let Some(vague) = vague {
            return Err(Error::input(
                Opt::Forbid,
                format!("has `{vague}`, which only forbids to have everything that `*` stands for"),
                "write each permission on a line of its own: `get secrets`, `list secrets`; `* *` forbids to be an \
                 administrator",
            ));
        }
        let escape = inputs.choice(Opt::EscapeCheck, |word| match word {
            "fail" => Some(EscapeCheck::Fail),
            "warn" => Some(EscapeCheck::Warn),
            "off" => Some(EscapeCheck::Off),
            _ => None,
        })?;
        // Only the API server answers these questions, and it answers 401 to a token for other audiences.
        let asked = [(Opt::Require, &require), (Opt::Forbid, &forbid)];
        let asked = asked.into_iter().find(|(_, permissions)| !permissions.is_empty());
        if let (Some((option, _)), true) = (asked, inputs.get(Opt::Audiences).is_some()) {
            return Err(Error::input(
                option,
                "and input `audiences` are both given: the API server answers no question of a token that is for others",
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
        self.require.extend(parse_all(option, text, Ok)?);
        Ok(())
    }

    /// Whether there is nothing to ask.
    pub(crate) fn is_empty(&self) -> bool {
        self.require.is_empty() && self.forbid.is_empty() && self.escape == EscapeCheck::Off
    }
}
