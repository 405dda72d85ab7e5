//! The parsed inputs for minting. A [`Spec`] needs no more checks.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    error::Error,
    inputs::{
        checks::Checks,
        lifetime::{Lifetime, time},
        metadata::Metadata,
        options::{Inputs, Opt},
        proxy::Settings,
    },
    names::{self, dns_name},
    rbac::{self, Rule},
    text,
};

/// The token to mint.
#[derive(Debug, Clone)]
pub struct Spec {
    /// The ServiceAccount of the token. With `role-rules`, jobpass creates it for this job and names it after
    /// the anchor.
    pub service_account: String,
    /// The rules of the ServiceAccount that jobpass creates for this job. Empty if jobpass creates no
    /// account.
    pub rules: Vec<Rule>,
    /// The namespace of the ServiceAccount and the anchor.
    pub namespace: String,
    /// The type of the token.
    pub token_type: TokenType,
    /// The longest lifetime of the token.
    pub lifetime: Lifetime,
    /// The time for which jobpass renews the token while the job runs.
    pub renew_for: Option<Duration>,
    /// The settings of the proxy that keeps the token. Without them, the job gets the token.
    pub proxy: Option<Settings>,
    /// The audiences of the token. If empty, the token is for the API server.
    pub audiences: Vec<String>,
    /// The permissions to check before jobpass hands the token over.
    pub checks: Checks,
    /// The user's labels and annotations for the anchor, and for the other objects that jobpass creates for
    /// this job.
    pub metadata: Metadata,
}

impl Spec {
    /// Parses the inputs. `minter_namespace` is the namespace that the minter's configuration names.
    ///
    /// # Errors
    /// If an input is missing or wrong, or if two inputs contradict each other. The error names the input,
    /// the problem, and the next step. Also if jobpass cannot create the folder for `record`, or if the
    /// system returns no random bytes.
    pub fn parse(inputs: &Inputs, minter_namespace: Option<&str>) -> Result<Self, Error> {
        let rules = rbac::parse(
            Opt::RoleRules.name(),
            inputs.get(Opt::RoleRules).unwrap_or_default(),
        )?;
        let service_account = match (inputs.get(Opt::ServiceAccount), rules.is_empty()) {
            (Some(name), true) => dns_name(Opt::ServiceAccount.name(), name, 253, true)?,
            (None, false) => names::random_name()?,
            (Some(_), false) => {
                return Err(Error::input(
                    Opt::RoleRules,
                    "and input `service-account` are both given",
                    "leave out `service-account`: jobpass then creates a ServiceAccount with these rules \
                     for this job. Or leave out `role-rules`, and give the ServiceAccount a Role",
                ));
            }
            (None, true) => {
                return Err(Error::input(
                    Opt::ServiceAccount,
                    "is missing",
                    "name the ServiceAccount of the token, for example `service-account: scanner`. Or give \
                     `role-rules`: jobpass then creates a ServiceAccount for this job",
                ));
            }
        };
        let token_type = TokenType::parse(inputs)?;
        let duration = inputs.get(Opt::Duration).unwrap_or_default();
        let lifetime = match token_type {
            TokenType::Bound => Lifetime::parse(duration)?,
            TokenType::Legacy => Lifetime::of_legacy(duration)?,
        };
        let proxy = Settings::parse(inputs)?;
        // A proxy's token never reaches the job, so its lifetime can be the shortest. jobpass renews the
        // token until `duration` is over.
        let (lifetime, renew_for) = match (&proxy, inputs.get(Opt::RenewFor)) {
            (Some(_), _) => (Lifetime::SHORTEST, Some(Duration::from_secs(lifetime.seconds()))),
            (None, Some(text)) => (lifetime, Some(renew_for(text, lifetime)?)),
            (None, None) => (lifetime, None),
        };
        Ok(Self {
            token_type,
            service_account,
            rules,
            namespace: namespace(inputs, minter_namespace)?,
            lifetime,
            renew_for,
            proxy,
            audiences: audiences(inputs.get(Opt::Audiences).unwrap_or_default())?,
            checks: Checks::parse(inputs)?,
            metadata: Metadata::parse(inputs)?,
        })
    }
}

/// The namespace of the input, else the namespace of the minter's configuration, else `default`.
///
/// # Errors
/// If no namespace can have this name.
pub fn namespace(inputs: &Inputs, minter_namespace: Option<&str>) -> Result<String, Error> {
    let given = inputs.get(Opt::Namespace);
    let namespace = given.or(minter_namespace).unwrap_or("default");
    dns_name(Opt::Namespace.name(), namespace, 63, false).map_err(|error| match given {
        Some(_) => error,
        None => error.help(
            "input `namespace` is not given, so the minter's kubeconfig or Pod names this namespace. Correct \
             it there, or give `namespace`",
        ),
    })
}

fn renew_for(text: &str, lifetime: Lifetime) -> Result<Duration, Error> {
    let time = time(Opt::RenewFor.name(), text)?;
    let problem = match time.as_secs() {
        seconds if seconds <= lifetime.seconds() => {
            "that is not longer than the life of one token (`duration`)"
        }
        seconds if seconds > Lifetime::MOST => "that is longer than any job takes",
        _ => return Ok(time),
    };
    let problem = format!("is `{}`: {problem}", text::wrong(text));
    let allowed = "give the time that the job may take, for example `duration: 15m` and `renew-for: 6h`. Or \
        leave out `renew-for`";
    Err(Error::input(Opt::RenewFor, problem, allowed))
}

/// The type of a token, as the option `type` names it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TokenType {
    /// A token from the TokenRequest API, bound to an anchor.
    #[default]
    Bound,
    /// A token from a Secret of type `kubernetes.io/service-account-token`. That Secret is the token's
    /// anchor. The token does not expire.
    Legacy,
}

impl TokenType {
    /// Parses the input `type`, and checks that the other inputs fit it.
    ///
    /// # Errors
    /// If the word is not a type, or if another input contradicts the type.
    pub fn parse(inputs: &Inputs) -> Result<Self, Error> {
        let token_type = inputs.choice(Opt::Type, |word| match word {
            "bound" => Some(Self::Bound),
            "legacy" => Some(Self::Legacy),
            _ => None,
        })?;
        if token_type == Self::Bound {
            return Ok(token_type);
        }
        let senseless = [
            (Opt::Audiences, "a legacy token is for the API server alone"),
            (
                Opt::RenewFor,
                "a legacy token never expires, so it needs no renewal",
            ),
            (
                Opt::RoleRules,
                "the Secret of a legacy token needs a ServiceAccount that exists already, and jobpass would \
                 create the job's ServiceAccount after the Secret",
            ),
        ];
        match senseless
            .into_iter()
            .find(|(option, _)| inputs.get(*option).is_some())
        {
            Some((option, why)) => Err(Error::input(
                option,
                format!("and `type: legacy` are both given: {why}"),
                format!("leave out `type`: a bound token is the better choice. Or leave out `{option}`"),
            )),
            None => Ok(token_type),
        }
    }
}

/// Parses audiences, separated by commas or line breaks.
///
/// # Errors
/// If an audience has spaces or control characters.
pub(crate) fn audiences(text: &str) -> Result<Vec<String>, Error> {
    let audiences = text
        .split([',', '\n'])
        .map(str::trim)
        .filter(|a| !a.is_empty())
        .map(str::to_owned);
    let audiences = audiences.collect::<Vec<_>>();
    match audiences
        .iter()
        .find(|audience| audience.chars().any(|c| c.is_control() || c.is_whitespace()))
    {
        Some(wrong) => Err(Error::input(
            Opt::Audiences,
            format!("has `{}`: an audience has no spaces", text::wrong(wrong)),
            "separate audiences with commas or line breaks, for example `https://vault.example.com, vault`",
        )),
        None => Ok(audiences),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(Opt::ServiceAccount, "Scanner")]
    #[case(Opt::ServiceAccount, "-scanner")]
    #[case(Opt::ServiceAccount, "team/scanner")]
    #[case(Opt::ServiceAccount, "a..b")]
    #[case(Opt::Namespace, "team.a")]
    #[case(
        Opt::Namespace,
        "0123456789012345678901234567890123456789012345678901234567890123"
    )]
    #[case(Opt::Audiences, "two words")]
    fn names_that_are_refused(#[case] input: Opt, #[case] value: &str) {
        let inputs = Inputs::from([(Opt::ServiceAccount, "scanner"), (Opt::Namespace, "ci")]);
        let error = Spec::parse(&inputs.with(input, value), None)
            .expect_err(value)
            .to_string();
        assert!(
            error.contains(&format!("input `{input}`")) && error.contains(value),
            "{error}"
        );
    }

    #[test]
    fn the_namespace_comes_from_the_input_then_the_minter_then_default() {
        let named = Inputs::from([(Opt::ServiceAccount, "scanner"), (Opt::Namespace, "asked")]);
        let unnamed = Inputs::from([(Opt::ServiceAccount, "scanner.v2"), (Opt::Audiences, "a, b\nc")]);
        let spec = |inputs, minter| Spec::parse(inputs, minter).expect("a spec");
        assert_eq!(spec(&named, Some("context")).namespace, "asked");
        assert_eq!(spec(&unnamed, Some("context")).namespace, "context");
        assert_eq!(spec(&unnamed, None).namespace, "default");
        assert_eq!(spec(&unnamed, None).audiences, ["a", "b", "c"]);
    }
}
