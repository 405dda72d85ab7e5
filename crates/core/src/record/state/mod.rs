//! What the end of the job needs to revoke. Never a secret.

mod reconstruct;

use std::{collections::BTreeMap, path::Path};

use serde::{Deserialize, Serialize};

use crate::{
    cluster::{Cluster, Connection},
    error::{Error, Kind},
    inputs::{options::Inputs, revocation::AT_END, spec::Spec},
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
/// A job's end may run another jobpass than its beginning: a GitLab job takes the image of the day, and a
/// person revokes with what is installed. So each version reads the states of all earlier ones; the first
/// that 0.1 recorded carry no number. An unknown field is ignored: a later jobpass adds a field under the
/// same number only if revoking without it leaves nothing behind. Anything else raises the number: another
/// object to delete, another way to authenticate. A state with a higher number is refused with the command
/// that deletes the anchor. The ends of CI jobs warn, and do what that command does.
const VERSION: u32 = 1;

/// A state as it is recorded.
#[derive(Serialize)]
struct Recorded<'a> {
    version: u32,
    #[serde(flatten)]
    state: &'a State,
}

/// What every version of a state has.
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

/// Recorded before the anchor is created, and again whenever more is known.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct State {
    /// Where the API server is.
    pub connection: Connection,
    /// How the minter authenticates.
    pub auth: Auth,
    /// The API server for the job, if it is not the minter's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job_server: Option<Connection>,
    /// The token's life so far: namespace, anchor and uid among it.
    pub receipt: Receipt,
    /// Whether the token is for the API server itself. Only then is a 401 from it a proof: a token of another
    /// audience never gets anything else.
    pub for_api_server: bool,
    /// Whether a ServiceAccount, a Role and a RoleBinding were made for this job, called as the anchor is.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub role: bool,
    /// How the token is renewed while the job runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub renewal: Option<Renewal>,
    /// The files that hold or use the token.
    #[serde(default, skip_serializing_if = "Files::is_empty")]
    pub files: Files,
    /// What the options that the end of the job obeys were when the token was minted. Empty in states of
    /// jobpass 0.1.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub options: BTreeMap<String, String>,
    /// Variables that decide which programs and certificates are trusted, as they were when the token was
    /// minted.
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
}

/// Later steps of a job can change these for the end of the job: they are put back as they were.
const PINNED_VARIABLES: [&str; 3] = ["PATH", "SSL_CERT_FILE", "SSL_CERT_DIR"];

impl State {
    /// The state of a token that is about to be minted, its anchor's name drawn.
    ///
    /// # Errors
    /// If the system has no randomness, the files that are to be written cannot be, or something that is to
    /// be recorded is not UTF-8.
    pub fn new(
        minter: &Minter,
        spec: &Spec,
        inputs: &Inputs,
        folder: &Path,
        environment: &Environment,
    ) -> Result<Self, Error> {
        // A ServiceAccount that is made for this job is called as its anchor is.
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
            files,
            environment: pinned,
        })
    }

    /// The connection to the API server that the job uses.
    pub fn for_job(&self) -> &Connection {
        self.job_server.as_ref().unwrap_or(&self.connection)
    }

    /// The API server that the job uses, asked with `token`. `minter` is the minter's connection.
    ///
    /// # Errors
    /// If the certificate authority cannot be used.
    pub fn as_job(&self, minter: &Cluster, token: &Token) -> Result<Cluster, Error> {
        match &self.job_server {
            Some(server) => Cluster::connect_with(server, token),
            None => minter.with_token(token),
        }
    }

    /// `environment` with the pinned variables as they were when the token was minted, if that is known.
    ///
    /// # Errors
    /// If the system's roots count and are looked for elsewhere now: TLS reads those variables by itself.
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
                format!("{name} is not what it was when the token was minted"),
            )
            .help(format!(
                "set {name} as it was: it says which servers the credential may be sent to"
            )));
        }
        Ok(PINNED_VARIABLES
            .iter()
            .fold(environment.clone(), |environment, name| {
                environment.with(name, then(name))
            }))
    }

    /// One line of JSON.
    ///
    /// # Errors
    /// If a path in it is not UTF-8. [`Plan::make`](crate::life::mint::Plan::make) asks before anything is
    /// created.
    pub fn json(&self) -> Result<String, Error> {
        json::text(&Recorded {
            version: VERSION,
            state: self,
        })
    }

    /// Reads [`State::json`], of this version or an earlier one.
    ///
    /// # Errors
    /// If it is of a later version, or something else. The text is not shown.
    pub fn parse(json: &str) -> Result<Self, Error> {
        let unreadable = |error: serde_json::Error| {
            Error::new(
                Kind::Revoke,
                format!("the recorded state cannot be read (column {})", error.column()),
            )
        };
        let header = serde_json::from_str::<Header>(json).map_err(unreadable)?;
        if header.version > VERSION {
            return Err(header.is_later());
        }
        serde_json::from_str(json).map_err(unreadable)
    }

    /// Records it in a file of mode 0600, replacing an earlier record as a whole.
    ///
    /// # Errors
    /// If the file cannot be written; as [`State::json`].
    pub fn write(&self, path: &Path) -> Result<(), Error> {
        let json = self.json()?;
        let partial = path.with_extension("partial");
        let _ = std::fs::remove_file(&partial);
        crate::process::files::write_new(&partial, &json)
            .and_then(|()| std::fs::rename(&partial, path))
            .map_err(|error| crate::process::files::cannot_write(path, &error))
    }

    /// Reads what [`State::write`] wrote.
    ///
    /// # Errors
    /// If it is not there, not a plain file, not of this user, or something else. What is in it decides where
    /// the minter's credential is sent, so nobody else may have written it.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let json = crate::process::files::read_own(path).map_err(|error| {
            let (path, error) = (text::path(path), text::harmless(&error.to_string()));
            Error::new(
                Kind::Revoke,
                format!("the recorded state `{path}` cannot be read: {error}"),
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
                "a later jobpass recorded the state: it has version {}, and this one reads versions up to {VERSION}",
                self.version
            ),
        );
        let step = "revoke with the version of jobpass that minted the token";
        // Nothing that a shell would take for more than two names.
        match names::is_ours(anchor) && names::is_dns_label(namespace) {
            true => error.help(format!(
                "{step}; or delete its anchor, which ends the token:\n\n  kubectl delete secret {anchor} --namespace {namespace}"
            )),
            false => error.help(step),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
