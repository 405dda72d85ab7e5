//! The one table of what can be asked for, under the same names on every face.
//!
//! GitHub inputs (`INPUT_*`, `action.yml`), GitLab variables (`JOBPASS_*`) and command-line flags are made from this
//! table or checked against it.

use std::collections::BTreeMap;

use crate::error::Error;

/// One option.
#[derive(Debug, Clone, Copy)]
pub struct Opt {
    /// The name: the GitHub input and the long flag; in upper case with `_`, behind `JOBPASS_`, the variable.
    pub name: &'static str,
    /// One or two sentences for a person.
    pub help: &'static str,
    /// What holds when it is absent.
    pub default: Option<&'static str>,
}

/// Every option, in the order in which a person wants to read about them.
pub const OPTIONS: &[Opt] = &[
    Opt {
        name: "service-account",
        help: "Name of the ServiceAccount that the token speaks for. Required, unless `rules` is given.",
        default: None,
    },
    Opt {
        name: "rules",
        help: "Instead of `service-account`: what a ServiceAccount that is made for this job may do. A YAML list of RBAC rules, \
               or permissions as in `require`. It and its role are gone when the job ends.",
        default: None,
    },
    Opt {
        name: "namespace",
        help: "Namespace of the ServiceAccount. Without it, the namespace of the kubeconfig's context or of the \
               in-cluster account, else `default`.",
        default: None,
    },
    Opt {
        name: "duration",
        help: "How long the token may live at most: `30m`, `1h`, `1h30m`, `900s` or `900` (seconds); at least 10 \
               minutes. It is revoked at the end of the job in any case.",
        default: Some("1h"),
    },
    Opt {
        name: "type",
        help: "`bound`: a token that expires by itself. `legacy`, for old tooling: the token of a Secret of type \
               `kubernetes.io/service-account-token`, which never expires by itself; `duration` is then when `jobpass sweep` \
               deletes it, should the end of the job not have done so. The minter also needs `get` on Secrets.",
        default: Some("bound"),
    },
    Opt {
        name: "renew-for",
        help: "For jobs that last longer than a token should: renew the token for at most this long while the job runs, as in \
               `6h`. Each token lives `duration`; the token's file and the kubeconfig always have one that works. What was handed \
               over otherwise is the first one.",
        default: None,
    },
    Opt {
        name: "audiences",
        help: "Audiences of the token, separated by commas or line breaks. Without it, the API server's own.",
        default: None,
    },
    Opt {
        name: "require",
        help: "What the token must be allowed to do, one permission a line: `get pods`, `create pods/exec target-pod`, \
               `list deployments.apps`, `get secrets -n other`, `list pods -A`, `get /metrics`. If it is not, the token is \
               revoked and the job fails.",
        default: None,
    },
    Opt {
        name: "forbid",
        help: "What the token must not be allowed to do, written as in `require`.",
        default: None,
    },
    Opt {
        name: "escape-check",
        help: "What to do if the ServiceAccount can get credentials that outlive the token (mint tokens, impersonate, write \
               RBAC, read Secrets, run or enter Pods): `fail`, `warn` or `off`.",
        default: Some("warn"),
    },
    Opt {
        name: "anchor-labels",
        help: "Labels for the anchor, and for what is made with `rules`, as policies of the cluster may demand them: \
               `team=payments`, one a line.",
        default: None,
    },
    Opt {
        name: "anchor-annotations",
        help: "Annotations for the same objects, written as in `anchor-labels`; the value may be any text.",
        default: None,
    },
    Opt {
        name: "kubeconfig",
        help: "The minter's kubeconfig: a path, the YAML itself, or base64 of it.",
        default: None,
    },
    Opt {
        name: "context",
        help: "The context of the kubeconfig to use, if not its current one.",
        default: None,
    },
    Opt {
        name: "server",
        help: "URL of the API server (https), to use instead of a kubeconfig.",
        default: None,
    },
    Opt {
        name: "certificate-authority",
        help: "The certificate authority of `server`: a path, PEM, or base64 of PEM. Without it, the system's roots.",
        default: None,
    },
    Opt {
        name: "bearer-token-file",
        help: "File that holds the minter's bearer token for `server`.",
        default: None,
    },
    Opt {
        name: "bearer-token-env",
        help: "Name of the environment variable that holds the minter's bearer token for `server`.",
        default: None,
    },
    Opt {
        name: "oidc-audience",
        help: "GitHub only: authenticate at `server` with the job's own ID token (OIDC) for this audience, so that no \
               secret is stored. The job needs `permissions: id-token: write`.",
        default: None,
    },
    Opt {
        name: "token-file",
        help: "Also write the token to this file (mode 0600, removed at the end). `true` chooses a name in the job's \
               temporary folder; a relative path is taken from there.",
        default: None,
    },
    Opt {
        name: "kubeconfig-file",
        help: "A kubeconfig that holds the token (mode 0600, removed at the end). `true` chooses a name in the job's temporary \
               folder; a relative path is taken from there; `false`: none is written.",
        default: None,
    },
    Opt {
        name: "verify-revocation",
        help: "How to prove that the token is dead: `off`, `quick` (ask once) or `wait` (ask until the API server's \
               10-second cache cannot know it any more).",
        default: Some("quick"),
    },
    Opt {
        name: "fail-on-revoke-error",
        help: "`true`: the job fails if its token could not be revoked. `false`: that is a warning.",
        default: Some("false"),
    },
];

/// What was asked for, as text, by option name.
///
/// Not `Debug`: `kubeconfig` may hold a secret.
#[derive(Clone, Default)]
pub struct Inputs(BTreeMap<&'static str, String>);

impl Inputs {
    /// Asks `read` for each option; absent ones get their default.
    ///
    /// # Errors
    /// If an option that has a default was set to nothing: a CI expression that came out empty is a mistake that
    /// should not silently become the default.
    pub fn read(read: impl FnMut(&Opt) -> Option<String>) -> Result<Self, Error> {
        Self::read_with(&[], read)
    }

    /// The same with `defaults` of one front end's own, by option name, which win over those of the table.
    ///
    /// # Errors
    /// As [`Inputs::read`].
    pub fn read_with(
        defaults: &[(&str, &'static str)],
        mut read: impl FnMut(&Opt) -> Option<String>,
    ) -> Result<Self, Error> {
        let mut inputs = BTreeMap::new();
        for option in OPTIONS {
            let value = read(option);
            let own = defaults.iter().find(|(name, _)| *name == option.name);
            let default = own.map_or(option.default, |(_, default)| Some(*default));
            let value = match (value.as_deref().map(str::trim), default) {
                (Some(""), Some(default)) => {
                    return Err(Error::input(
                        option.name,
                        "is empty",
                        format!("leave it out for `{default}`. {}", option.help),
                    ));
                }
                (Some("") | None, None) => continue,
                (None, Some(default)) => default.to_owned(),
                (Some(value), _) => value.to_owned(),
            };
            inputs.insert(option.name, value);
        }
        Ok(Self(inputs))
    }

    /// The value of one option, trimmed and not empty, with the default applied.
    ///
    /// # Panics
    /// In debug builds, if there is no such option.
    pub fn get(&self, name: &str) -> Option<&str> {
        debug_assert!(
            OPTIONS.iter().any(|option| option.name == name),
            "no option is called {name}"
        );
        self.0.get(name).map(String::as_str)
    }

    /// The same inputs with another value for one option.
    pub(crate) fn with(mut self, name: &'static str, value: String) -> Self {
        self.0.insert(name, value);
        self
    }

    /// A `true` or `false` option.
    ///
    /// # Errors
    /// If it is anything else.
    pub fn flag(&self, name: &str) -> Result<bool, Error> {
        match self.get(name) {
            Some("true") => Ok(true),
            Some("false") | None => Ok(false),
            Some(other) => Err(Error::input(
                name,
                format!("is `{}`", crate::text::harmless(other)),
                "use `true` or `false`",
            )),
        }
    }
}

impl<const N: usize> From<[(&str, &str); N]> for Inputs {
    /// Values that are known to be right; an empty one counts as absent.
    ///
    /// # Panics
    /// If there is no such option.
    fn from(values: [(&str, &str); N]) -> Self {
        let unknown = values
            .iter()
            .find(|(name, _)| !OPTIONS.iter().any(|option| option.name == *name));
        assert!(unknown.is_none(), "no option is called {unknown:?}");
        let value = |option: &Opt| {
            values
                .iter()
                .find(|(name, _)| *name == option.name)
                .map(|(_, value)| *value)
        };
        let read = |option: &Opt| value(option).filter(|value| !value.is_empty()).map(str::to_owned);
        Self::read(read).unwrap_or_default()
    }
}
