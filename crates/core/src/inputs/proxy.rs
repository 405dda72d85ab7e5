//! The inputs for the loopback proxy.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::{
    error::Error,
    inputs::options::{Inputs, Opt},
    process::files::{absolute, make_folder},
    rbac::Allowed,
    text,
};

/// The settings of a proxy. The state records them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Settings {
    /// The input `allow`: the list of the requests that the proxy passes on. Without a list, the proxy limits
    /// neither verbs nor resources.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow: Option<String>,
    /// The file for the record of the requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record: Option<PathBuf>,
}

/// Inputs that contradict `proxy` whatever their value, except `false`. Each has the reason and the next
/// step.
const SENSELESS: [(Opt, &str, &str); 3] = [
    (
        Opt::TokenFile,
        "with the proxy, the job gets no token",
        "leave out `token-file`: the job's kubeconfig has all that clients need",
    ),
    (
        Opt::RenewFor,
        "jobpass always renews the token of a proxy, without a file",
        "leave out `renew-for`, and give the time that the job may take as `duration`",
    ),
    (
        Opt::Audiences,
        "the proxy leads to the API server, which refuses a token for other audiences",
        "leave out one of the two, or mint a second token",
    ),
];

impl Settings {
    /// Parses `proxy`, `allow` and `record`. `None` without a proxy. A relative path in `record` begins in
    /// the working directory.
    ///
    /// # Errors
    /// If one of these inputs is wrong. If `allow` or `record` is given without `proxy`. If `proxy` is given
    /// without `kubeconfig-file`, or with an input that contradicts it. Also if the file for the record
    /// exists, or if jobpass cannot create its folder.
    pub(crate) fn parse(inputs: &Inputs) -> Result<Option<Self>, Error> {
        if !inputs.flag(Opt::Proxy)? {
            let alone = [Opt::Allow, Opt::Record]
                .into_iter()
                .find(|option| inputs.get(*option).is_some());
            return match alone {
                Some(option) => Err(Error::input(
                    option,
                    "is given without `proxy`",
                    "add `proxy: true`: only the proxy sees the requests of a job",
                )),
                None => Ok(None),
            };
        }
        for (option, why, allowed) in SENSELESS {
            if inputs.get(option).is_some_and(|value| value != "false") {
                let problem = format!("and `proxy` are both given: {why}");
                return Err(Error::input(option, problem, allowed));
            }
        }
        if inputs.get(Opt::Type) == Some("legacy") {
            return Err(Error::input(
                Opt::Type,
                "is `legacy`, and `proxy` is given: a legacy token never expires, even if its proxy is killed",
                "leave out `type`",
            ));
        }
        if matches!(inputs.get(Opt::KubeconfigFile), None | Some("false")) {
            return Err(Error::input(
                Opt::KubeconfigFile,
                "is missing: with `proxy`, the kubeconfig is the job's only way to the API server",
                "give a path, or `true`: jobpass then chooses a name",
            ));
        }
        let allow = inputs.get(Opt::Allow);
        if let Some(text) = allow {
            Allowed::parse(Opt::Allow.name(), text, "")?;
        }
        Ok(Some(Self {
            allow: allow.map(str::to_owned),
            record: inputs.get(Opt::Record).map(record_file).transpose()?,
        }))
    }
}

fn record_file(path: &str) -> Result<PathBuf, Error> {
    let path = absolute(Opt::Record.name(), Path::new(path))?;
    make_folder(Opt::Record.name(), &path)?;
    match path.symlink_metadata() {
        Err(_) => Ok(path),
        Ok(_) => Err(Error::input(
            Opt::Record,
            format!("is `{}`, which exists already", text::path(&path)),
            "jobpass overwrites nothing: choose another name, or remove the file first",
        )),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn parse(given: &[(Opt, &str)]) -> Result<Option<Settings>, Error> {
        let inputs = Inputs::from([(Opt::KubeconfigFile, "k")]);
        let inputs = given
            .iter()
            .fold(inputs, |inputs, (option, value)| inputs.with(*option, *value));
        Settings::parse(&inputs)
    }

    #[test]
    fn there_is_no_proxy_unless_somebody_wants_one() {
        assert_eq!(parse(&[]).expect("fine"), None);
        assert_eq!(parse(&[(Opt::Proxy, "false")]).expect("fine"), None);
        let settings = parse(&[(Opt::Proxy, "true"), (Opt::Allow, "get pods")]).expect("fine");
        assert_eq!(settings.expect("a proxy").allow.as_deref(), Some("get pods"));
    }

    #[rstest]
    #[case(&[(Opt::Allow, "get pods")], "input `allow` is given without `proxy`")]
    #[case(&[(Opt::Record, "r")], "input `record` is given without `proxy`")]
    #[case(&[(Opt::Proxy, "yes")], "input `proxy` is `yes`")]
    #[case(&[(Opt::Proxy, "true"), (Opt::TokenFile, "t")], "input `token-file` and `proxy` are both given")]
    #[case(&[(Opt::Proxy, "true"), (Opt::RenewFor, "6h")], "input `renew-for` and `proxy` are both given")]
    #[case(&[(Opt::Proxy, "true"), (Opt::Audiences, "vault")], "input `audiences` and `proxy` are both given")]
    #[case(&[(Opt::Proxy, "true"), (Opt::Type, "legacy")], "input `type` is `legacy`, and `proxy` is given")]
    #[case(&[(Opt::Proxy, "true"), (Opt::KubeconfigFile, "false")], "input `kubeconfig-file` is missing")]
    #[case(&[(Opt::Proxy, "true"), (Opt::Allow, "get pod")], "input `allow` is wrong in line 1")]
    #[case(&[(Opt::Proxy, "true"), (Opt::Record, "/dev/null")], "input `record` is `/dev/null`, which exists already")]
    fn inputs_that_contradict_each_other_are_refused(#[case] given: &[(Opt, &str)], #[case] begins: &str) {
        let error = parse(given).map(|_| ()).expect_err("refused");
        assert!(error.message().starts_with(begins), "{error}");
    }
}
