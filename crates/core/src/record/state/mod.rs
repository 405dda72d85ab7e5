//! The state: everything that the end of the job needs to revoke. Never a secret.

mod reconstruct;

use std::{collections::BTreeMap, path::Path};

use serde::{Deserialize, Serialize};

use crate::{
    cluster::{Cluster, Connection},
    error::{Error, Kind},
    inputs::{options::Inputs, proxy::Settings, revocation::AT_END, spec::Spec},
    json,
    minter::{Auth, Minter},
    names,
    process::environment::Environment,
    record::{receipt::Receipt, renewal::Renewal, token_files::Files},
    text,
    token::Token,
};

pub use self::reconstruct::lost;

/// The version of the state that this jobpass records.
///
/// The end of a job may run another version of jobpass than its beginning: a later GitLab job may pull a
/// newer image, and a person runs the installed version. So each version reads the states of all earlier
/// ones. The states of 0.1 have no number.
///
/// jobpass ignores an unknown field. A later jobpass adds a field under the same number only if a revocation
/// that ignores the field leaves nothing behind. Any other change, such as another object to delete or
/// another kind of authentication, raises the number. If the number is higher than this one, jobpass refuses
/// the state, and shows the command that deletes the anchor. At the end of a CI job, the front end warns, and
/// deletes the anchor itself.
const VERSION: u32 = 1;

/// A state in its recorded form.
#[derive(Serialize)]
struct Recorded<'a> {
    version: u32,
    #[serde(flatten)]
    state: &'a State,
}

/// The part of a state that all versions have.
#[derive(Deserialize)]
struct Header {
    #[serde(default)]
    version: u32,
    receipt: Named,
}

#[derive(Deserialize)]
struct Named {
    namespace: String,
    anchor: String,
}

/// The state of a token. jobpass records it three times while minting: before the anchor exists, then with
/// the anchor's uid, and then with the token's times. The revocation completes the receipt in the state.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct State {
    /// The minter's connection to the API server.
    pub connection: Connection,
    /// The way in which jobpass finds the minter's credential again.
    pub auth: Auth,
    /// The API server that the job uses. `None` if the job uses the minter's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job_server: Option<Connection>,
    /// The token's life so far, with its namespace, and the name and uid of its anchor.
    pub receipt: Receipt,
    /// Whether the token is for the API server itself. Only then is a 401 a proof: the API server answers 401
    /// to every token for another audience.
    pub for_api_server: bool,
    /// Whether jobpass creates a ServiceAccount, a Role and a RoleBinding for this job. They are named after
    /// the anchor.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub role: bool,
    /// The settings of the renewal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub renewal: Option<Renewal>,
    /// The settings of the proxy that keeps the token. Without them, the job has the token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy: Option<Settings>,
    /// The files that hold the token or belong to it.
    #[serde(default, skip_serializing_if = "Files::is_empty")]
    pub files: Files,
    /// The options for the end of the job, as they were while minting. Empty in states of jobpass 0.1.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub options: BTreeMap<String, String>,
    /// The variables that decide which programs and certificates jobpass trusts, as they were while minting.
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
}

/// The variables whose values from the time of minting count at the end of the job, even if later steps
/// change them. [`State::pinned`] restores these values, or returns an error.
const PINNED_VARIABLES: [&str; 3] = ["PATH", "SSL_CERT_FILE", "SSL_CERT_DIR"];

impl State {
    /// The state before minting, with a random name for the anchor.
    ///
    /// # Errors
    /// As [`Connection::of_job`] and [`Files::plan`]. Also if the system returns no random bytes, or if a
    /// pinned variable is not UTF-8.
    pub fn new(
        minter: &Minter,
        spec: &Spec,
        inputs: &Inputs,
        folder: &Path,
        environment: &Environment,
    ) -> Result<Self, Error> {
        // The ServiceAccount that jobpass creates for this job is named after the anchor.
        let name = match spec.rules.is_empty() {
            true => names::random_name()?,
            false => spec.service_account.clone(),
        };
        let job_server = Connection::of_job(inputs, environment)?;
        let files = Files::plan(inputs, folder, &name)?;
        let mut pinned = BTreeMap::new();
        for name in PINNED_VARIABLES {
            if let Some(value) = environment.utf8(name)? {
                pinned.insert(name.into(), value.into());
            }
        }
        let options = AT_END.into_iter().filter_map(|option| {
            let value = inputs.get(option)?;
            Some((option.name().to_owned(), value.to_owned()))
        });
        Ok(Self {
            options: options.collect(),
            connection: minter.connection.clone(),
            auth: minter.auth.clone(),
            job_server,
            receipt: Receipt {
                audiences: spec.audiences.clone(),
                ..Receipt::new(&spec.service_account, &spec.namespace, &name)
            },
            for_api_server: spec.audiences.is_empty(),
            role: !spec.rules.is_empty(),
            renewal: spec.renew_for.map(|time| Renewal {
                lifetime: spec.lifetime,
                seconds: time.as_secs(),
            }),
            proxy: spec.proxy.clone(),
            files,
            environment: pinned,
        })
    }

    /// The connection to the API server that the job uses.
    pub fn for_job(&self) -> &Connection {
        self.job_server.as_ref().unwrap_or(&self.connection)
    }

    /// The API server that the job uses, with `token` as the credential. `minter` is the minter's connection.
    ///
    /// # Errors
    /// If jobpass cannot use the certificate authority.
    pub fn as_job(&self, minter: &Cluster, token: &Token) -> Result<Cluster, Error> {
        match &self.job_server {
            Some(server) => Cluster::connect_with(server, token),
            None => minter.with_token(token),
        }
    }

    /// Returns `environment` with the pinned variables as they were while minting, if the state records them.
    ///
    /// # Errors
    /// If jobpass trusts the system's roots, and a variable now names other roots. The TLS library reads
    /// these variables from the process itself.
    pub(crate) fn pinned(&self, environment: &Environment) -> Result<Environment, Error> {
        if self.environment.is_empty() {
            return Ok(environment.clone());
        }
        let then = |name: &str| self.environment.get(name).map(String::as_str);
        let moved = PINNED_VARIABLES
            .into_iter()
            .find(|name| *name != "PATH" && then(name) != environment.get(name));
        let with_roots =
            self.connection.certificate_authority.is_none() || matches!(self.auth, Auth::IdToken { .. });
        if let Some(name) = moved.filter(|_| with_roots) {
            return Err(Error::new(
                Kind::Revoke,
                format!("{name} has changed since jobpass minted the token"),
            )
            .help(format!(
                "{}: it names the certificates by which jobpass recognises the server that may get the \
                 credential",
                match then(name) {
                    Some(value) => format!(
                        "set {name} to its earlier value, `{}`",
                        text::path(Path::new(value))
                    ),
                    None => format!("unset {name}"),
                }
            )));
        }
        Ok(PINNED_VARIABLES
            .iter()
            .fold(environment.clone(), |environment, name| {
                environment.with(name, then(name))
            }))
    }

    /// The state as one line of JSON.
    ///
    /// # Errors
    /// If a path in it is not UTF-8. [`Plan::make`](crate::life::mint::Plan::make) checks this before jobpass
    /// creates anything in the cluster.
    pub fn json(&self) -> Result<String, Error> {
        json::text(&Recorded {
            version: VERSION,
            state: self,
        })
    }

    /// Parses the text of [`State::json`], of this version or an earlier one.
    ///
    /// # Errors
    /// If the text is a state of a later version, or not a state. The error does not quote the text.
    pub fn parse(json: &str) -> Result<Self, Error> {
        let unreadable = |error: serde_json::Error| {
            Error::new(
                Kind::Revoke,
                format!("the recorded state cannot be read (column {})", error.column()),
            )
            .help(
                "another program changed the state or removed a part of it. If `jobpass list` still shows \
                 the token's anchor, revoke it with `jobpass revoke NAMESPACE/NAME`",
            )
        };
        let header = serde_json::from_str::<Header>(json).map_err(unreadable)?;
        if header.version > VERSION {
            return Err(header.is_later());
        }
        serde_json::from_str(json).map_err(unreadable)
    }

    /// Writes the state to a file of mode 0600. Replaces an earlier file as a whole.
    ///
    /// # Errors
    /// As [`State::json`]. Also if the write fails.
    pub fn write(&self, path: &Path) -> Result<(), Error> {
        let json = self.json()?;
        let partial = path.with_extension("partial");
        crate::process::files::replace_by(&partial, path, &json)
            .map_err(|error| crate::process::files::cannot_write(path, &error))
    }

    /// Reads the file of [`State::write`]. The state decides which server gets the minter's credential, so no
    /// other user may have written it.
    ///
    /// # Errors
    /// If jobpass cannot read the file, if it is not a regular file, if it belongs to another user, if
    /// another user may write to it, or if it does not hold a state that this version reads.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let json = crate::process::files::read_own(path).map_err(|error| {
            let (path, error) = (text::path(path), text::harmless(&error.to_string()));
            Error::new(
                Kind::Revoke,
                format!("the recorded state `{path}` cannot be read: {error}"),
            )
            .help(
                "check the path. The file must belong to this user, and no other user may write to it. If \
                 `jobpass list` still shows the token's anchor, revoke it with `jobpass revoke \
                 NAMESPACE/NAME`",
            )
        })?;
        Self::parse(&json)
    }
}

impl Header {
    fn is_later(&self) -> Error {
        let Named { namespace, anchor } = &self.receipt;
        let error = Error::new(
            Kind::Revoke,
            format!(
                "a later version of jobpass recorded the state: the state has version {}, and this jobpass \
                 reads versions up to {VERSION}",
                self.version
            ),
        );
        let step = "revoke with the version of jobpass that minted the token";
        // A person pastes the command into a shell, so both names must be plain words.
        match names::is_ours(anchor) && names::is_dns_label(namespace) {
            true => error.help(format!(
                "{step}. Or delete the anchor by hand, which revokes the token:\n\n  kubectl delete secret \
                 {anchor} --namespace {namespace}"
            )),
            false => error.help(step),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
