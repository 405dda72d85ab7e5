//! A token for commands that jobpass runs itself, in a folder of its own.

pub(crate) mod child;
pub(crate) mod masked_output;
pub(crate) mod origin;
pub(crate) mod signals;

use std::{fs, os::unix::fs::DirBuilderExt as _, path::PathBuf};

use jobpass_core::{
    Error, Kind,
    cluster::Cluster,
    inputs::{lifetime::Lifetime, options::Inputs},
    life::{
        mint::{Handover, Plan},
        revoke::{self, Revoked},
        token_request::{MINT, Minted},
    },
    minter::Minter,
    names,
    process::{environment::Environment, files, interrupt::Interrupt},
    record::{journal::Reader, state::State, token_files::Files},
    token::Token,
};
use jobpass_mask::Masker;

use self::origin::origin;
use crate::terminal::{output as say, progress::Progress};

/// From minting to revoking. Whoever makes one calls [`Session::revoke`], whatever happens in between.
pub(crate) struct Session<'a> {
    pub(crate) state: State,
    pub(crate) inputs: Inputs,
    pub(crate) cluster: Cluster,
    pub(crate) environment: &'a Environment,
    folder: Folder,
    revoked: bool,
}

impl<'a> Session<'a> {
    /// Mints a token into files in a folder that nobody else can look into.
    pub(crate) async fn mint(
        given: &Inputs,
        lifetime: Lifetime,
        environment: &'a Environment,
        interrupt: &mut Interrupt,
    ) -> Result<Self, Error> {
        let folder = Folder::make()?;
        let inputs = folder.with_file_names(given, lifetime)?;
        let plan = Plan::make(&inputs, &folder.0, environment, interrupt).await?;
        let state_file = folder.state_file();
        let record = |state: Option<&State>| match state {
            Some(state) => state.write(&state_file),
            None => fs::remove_file(&state_file).or(Ok(())),
        };
        let handover = Handover {
            record,
            mask: |_| Ok(()),
            deliver: |minted: &Minted, _: &State| {
                minted.access.iter().for_each(say::access);
                Ok(())
            },
        };
        let origin = origin(environment);
        let minting = plan.mint(&origin, handover, interrupt);
        let minting = Progress::new().during("asking for a token", MINT, minting);
        let minted = minting.await?;
        for warning in minted.warnings {
            say::warning(&warning);
        }
        Ok(Self {
            state: minted.state,
            cluster: minted.cluster,
            inputs,
            environment,
            folder,
            revoked: false,
        })
    }

    /// The token, as it was delivered.
    pub(crate) fn token(&self) -> Result<Token, Error> {
        let gone = "the token's file is gone before the command could use it";
        self.state
            .files
            .token()
            .ok_or_else(|| Error::new(Kind::Deliver, gone))
    }

    /// Masks all that must not be seen of what a command prints.
    pub(crate) fn masker(&self, token: &Token) -> Masker {
        let mut secrets = Minter::credentials(&self.inputs, self.environment);
        secrets.push(token.clone());
        let renewed = self.state.files.journal.as_deref().map(Reader::new);
        Masker::new(secrets.iter().map(Token::expose)).with_sources(renewed)
    }

    pub(crate) fn is_revoked(&self) -> bool {
        self.revoked
    }

    /// Revokes the token and removes its files. Once is enough: after that it is `None`.
    pub(crate) async fn revoke(&mut self, interrupt: &mut Interrupt) -> Result<Option<Revoked>, Error> {
        if self.revoked {
            return Ok(None);
        }
        let revoked =
            revoke::at_end_of_job(&mut self.state, None, &self.inputs, self.environment, interrupt).await?;
        let _ = fs::remove_file(self.folder.state_file());
        self.revoked = true;
        if let Some(note) = &revoked.note {
            say::warning(note);
        }
        Ok(Some(revoked))
    }

    /// Deletes the anchor, and leaves the files to who wants to see that they are good for nothing any more.
    pub(crate) async fn revoke_all_but_files(&self, interrupt: &mut Interrupt) -> Result<(), Error> {
        let mut state = State {
            files: Files::default(),
            ..self.state.clone()
        };
        revoke::at_end_of_job(&mut state, None, &self.inputs, self.environment, interrupt)
            .await
            .map(|_| ())
    }
}

/// A folder for the token, that nobody else can look into. What is recorded stays in it if the token is not revoked.
struct Folder(PathBuf);

impl Folder {
    fn make() -> Result<Self, Error> {
        let temp = Some(std::env::temp_dir()).filter(|temp| !temp.as_os_str().is_empty());
        let temp = temp.unwrap_or_else(|| "/tmp".into());
        let temp = files::absolute("TMPDIR", &temp)?;
        let folder = temp.join(names::random_name()?);
        let made = fs::DirBuilder::new().mode(0o700).create(&folder);
        made.map_err(|error| {
            Error::new(
                Kind::Deliver,
                format!("cannot make a folder in {}: {error}", temp.display()),
            )
            .help("set TMPDIR to a folder that this user may write to")
        })?;
        Ok(Self(folder))
    }

    fn state_file(&self) -> PathBuf {
        self.0.join("state.json")
    }

    fn with_file_names(&self, inputs: &Inputs, lifetime: Lifetime) -> Result<Inputs, Error> {
        let folder = files::utf8("TMPDIR", &self.0)?;
        let file = |name: &str| Some(format!("{folder}/{name}"));
        Inputs::read(|option| match option.name {
            "token-file" => file("token"),
            "kubeconfig-file" => file("kubeconfig"),
            "duration" => Some(lifetime.seconds().to_string()),
            name => inputs.get(name).map(str::to_owned),
        })
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Where the state was being written when the disk was full.
        let _ = fs::remove_file(self.0.join("state.partial"));
        let state = self.state_file();
        if fs::remove_dir(&self.0).is_err() && state.exists() {
            say::note(&format!(
                "what it takes to revoke is still there: jobpass revoke --state-file {}",
                state.display()
            ));
        }
    }
}
