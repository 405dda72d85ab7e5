//! What is to be asked about a token before it is handed over.

use crate::{
    error::Error,
    inputs::options::{Inputs, Opt},
    rbac::{Permission, parse_all},
};

/// What is to be asked about a token.
#[derive(Debug, Clone, Default)]
pub struct Checks {
    /// What it must be allowed.
    pub require: Vec<Permission>,
    /// What it must not be allowed.
    pub forbid: Vec<Permission>,
    /// Whether to look for ways in which its ServiceAccount can outlive it.
    pub escape: EscapeCheck,
}

/// What to do about a ServiceAccount that can outlive its token.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum EscapeCheck {
    /// Refuse the token.
    Fail,
    /// Say so.
    #[default]
    Warn,
    /// Do not look.
    Off,
}

impl Checks {
    /// Parses the inputs.
    ///
    /// # Errors
    /// The first line that is wrong; or what cannot be asked at all.
    pub fn parse(inputs: &Inputs) -> Result<Self, Error> {
        let permissions = |option: Opt| parse_all(option.name(), inputs.get(option).unwrap_or_default(), Ok);
        let (require, forbid) = (permissions(Opt::Require)?, permissions(Opt::Forbid)?);
        // `*` asks whether everything is allowed: forbidding that forbids next to nothing, unless it is meant.
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
        // Only the API server itself can be asked with a token; one for others gets 401 from it.
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

    /// More that must be allowed, as it stands in the input `option`.
    ///
    /// # Errors
    /// The first line that is wrong.
    pub fn also_require(&mut self, option: &str, text: &str) -> Result<(), Error> {
        self.require.extend(parse_all(option, text, Ok)?);
        Ok(())
    }

    /// Whether there is anything to ask about a ServiceAccount's token.
    pub(crate) fn is_empty(&self) -> bool {
        self.require.is_empty() && self.forbid.is_empty() && self.escape == EscapeCheck::Off
    }
}
