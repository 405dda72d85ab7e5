//! A token for a command that jobpass runs. jobpass mints the token before the command starts, and revokes it
//! when the command ends.

pub(crate) mod child;
pub(crate) mod folder;
pub(crate) mod masked_output;
pub(crate) mod origin;
pub(crate) mod system;

use std::{
    fs,
    sync::{Arc, Mutex, PoisonError},
};

use jobpass_core::{
    Error, Kind,
    cluster::Cluster,
    inputs::{lifetime::Lifetime, options::Inputs},
    life::{
        mint::{Handover, Plan},
        proxy::JobProxy,
        revoke::{self, Revoked},
        token_request::{MINT, Minted},
    },
    minter::Minter,
    process::{environment::Environment, files::TEMP, interrupt::Interrupt},
    record::{filter::FilterJournal, journal::Reader, state::State, token_files::Files},
    token::Token,
};
use jobpass_mask::Masker;
use secrecy::{ExposeSecret as _, SecretString};
use tokio::process::Command;

use self::{child::Program, folder::Folder, masked_output::Streams, origin::origin};
use crate::terminal::{output, progress::Progress};

/// The life of a command's token. After [`Session::mint`], the caller must call [`Session::revoke`] on every
/// path.
pub(crate) struct Session<'a> {
    /// The state, as the state file in the session's folder holds it.
    pub(crate) state: State,
    /// The inputs, with the paths of the token's files in the session's folder.
    pub(crate) inputs: Inputs,
    /// The cluster that minted the token, with the minter's credential.
    pub(crate) cluster: Cluster,
    /// The environment of jobpass.
    pub(crate) environment: &'a Environment,
    /// The proxy that holds the token, if the input `proxy` is `true`.
    pub(crate) proxy: Option<Arc<JobProxy>>,
    /// The journal from which the masker learns the tokens that the command itself mints.
    filter: FilterJournal,
    folder: Folder,
    revoked: bool,
}

impl<'a> Session<'a> {
    /// Mints a token into files in a folder that only this user can read.
    ///
    /// # Errors
    /// If jobpass cannot mint the token. The error names whatever jobpass leaves behind.
    pub(crate) async fn mint(
        given: &Inputs,
        lifetime: Lifetime,
        environment: &'a Environment,
        interrupt: &mut Interrupt,
    ) -> Result<Self, Error> {
        let folder = Folder::make()?;
        let filter = match FilterJournal::of(environment)? {
            // A filter around this one also learns the tokens that the command mints.
            Some(outer) => outer,
            None => FilterJournal::create(folder.path())?,
        };
        let inputs = folder.with_file_names(given, lifetime)?;
        let plan = Plan::make(&inputs, folder.path(), environment, interrupt).await?;
        let state_file = folder.state_file();
        let record = |state: Option<&State>| match state {
            Some(state) => state.write(&state_file),
            None => fs::remove_file(&state_file).or(Ok(())),
        };
        let proxy = Arc::new(Mutex::new(None));
        let opened = Arc::clone(&proxy);
        let handover = Handover {
            revoked_by: None,
            record,
            open: Box::new(move |state, token| {
                let proxy = JobProxy::open(state, token)?;
                let door = proxy.door().clone();
                *opened.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(proxy));
                Ok(door)
            }),
            // No CI platform reads this log. A filter masks the output of the command.
            mask: |_| Ok(()),
            deliver: |minted: &Minted, _: &State| {
                minted.access.iter().for_each(output::access);
                Ok(())
            },
        };
        let origin = origin(environment);
        let minting = plan.mint(&origin, handover, interrupt);
        let minting = Progress::new().during("asking for a token", MINT, minting);
        let minted = minting.await?;
        for warning in minted.warnings {
            output::warning(&warning);
        }
        Ok(Self {
            state: minted.state,
            cluster: minted.cluster,
            inputs,
            environment,
            proxy: proxy.lock().unwrap_or_else(PoisonError::into_inner).take(),
            filter,
            folder,
            revoked: false,
        })
    }

    /// Builds the command of `program`, with the token's files and the journal of the filter.
    pub(crate) fn command(&self, program: &Program<'_>, streams: Streams) -> Command {
        let mut command = program.command(&self.state.files, &self.inputs, streams);
        command.env(FilterJournal::VARIABLE, self.filter.path());
        command
    }

    /// Reads the token from its file. With a proxy, reads the proxy's bearer from the kubeconfig instead.
    ///
    /// # Errors
    /// If the file holds no token, for example because another program has removed the file.
    pub(crate) fn token(&self) -> Result<Token, Error> {
        self.state.files.token().ok_or_else(|| {
            let problem = "another program removed or changed the token's file before the command could use \
                           it";
            Error::new(Kind::Deliver, problem).help(format!(
                "find out which program removes or changes files in the folder that {TEMP} names, or, \
                 without {TEMP}, in the system's folder for temporary files"
            ))
        })
    }

    /// The masker for the output of the command. The masker hides the token, the renewed tokens, the tokens
    /// that the command mints, and the credentials of the minter.
    ///
    /// # Errors
    /// If another user may have written the journal of the renewed tokens, or if jobpass cannot open it.
    pub(crate) fn masker(&self, token: &Token) -> Result<Masker, Error> {
        let mut secrets = Minter::credentials(&self.inputs, self.environment);
        secrets.push(token.clone().into());
        let renewed = Reader::of_renewals(&self.state)?;
        let sources = renewed.into_iter().chain([self.filter.reader()]);
        Ok(Masker::new(secrets.iter().map(SecretString::expose_secret)).with_sources(sources))
    }

    /// Whether [`Session::revoke`] has revoked the token and removed its files.
    pub(crate) fn is_revoked(&self) -> bool {
        self.revoked
    }

    /// Closes the proxy, revokes the token and removes its files. Returns `None` if an earlier call did all
    /// of it.
    ///
    /// # Errors
    /// If the token may still work. Then the state file stays, so that a person can revoke the token later.
    /// Also if jobpass cannot remove one of the token's files.
    pub(crate) async fn revoke(&mut self, interrupt: &mut Interrupt) -> Result<Option<Revoked>, Error> {
        if self.revoked {
            return Ok(None);
        }
        if let Some(proxy) = &self.proxy {
            proxy.close().await;
        }
        let revoked =
            revoke::at_end_of_job(&mut self.state, None, &self.inputs, self.environment, interrupt).await;
        // The session can remove its folder only if the folder is empty. If the state file stays in the
        // folder, the token may still work.
        if self.state.receipt.revoked.is_some() {
            let _ = fs::remove_file(self.folder.state_file());
        }
        let revoked = revoked?;
        self.revoked = true;
        for note in &revoked.notes {
            output::warning(note);
        }
        Ok(Some(revoked))
    }

    /// Revokes the token and keeps its files. A client can then try the revoked token.
    ///
    /// # Errors
    /// If the token may still work.
    pub(crate) async fn revoke_and_keep_files(&self, interrupt: &mut Interrupt) -> Result<(), Error> {
        let mut state = State {
            // The end of a job removes only the files that the state names.
            files: Files::default(),
            ..self.state.clone()
        };
        revoke::at_end_of_job(&mut state, None, &self.inputs, self.environment, interrupt)
            .await
            .map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use jobpass_core::inputs::options::Opt;

    use super::*;

    const TOKEN: &str = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJzY2FubmVyIn0.c2lnbmF0dXJlLW9mLWEtdG9rZW4";

    /// A session with its token in its folder, as after [`Session::mint`].
    fn session(environment: &Environment) -> Session<'_> {
        let folder = Folder::make().expect("a folder");
        let path = folder.path().join("token");
        fs::write(&path, TOKEN).expect("written");
        let state = r#"{"version":1,"connection":{"server":"https://10.0.0.1:6443"},"auth":{"kind":"in-cluster"},
            "receipt":{"service-account":"scanner","namespace":"ci","anchor":"jobpass-1f0c6e7a1f0c6e7a1f0c"},
            "for-api-server":true,"files":{}}"#;
        let mut state = State::parse(state).expect("a state");
        state.files.token_file = Some(path);
        let token = Token::parse(TOKEN, "token").expect("a token");
        Session {
            cluster: Cluster::connect_with(&state.connection, &token).expect("a connection"),
            inputs: Inputs::from([(Opt::BearerTokenEnv, "MINTER")]),
            state,
            environment,
            proxy: None,
            filter: FilterJournal::create(folder.path()).expect("created"),
            folder,
            revoked: false,
        }
    }

    fn remove_files(session: &Session<'_>) {
        session.state.files.remove().expect("removed");
    }

    #[test]
    fn the_output_of_the_command_shows_no_credential() {
        let environment = Environment::from([("MINTER", "bearer-of-the-minter")]);
        let session = session(&environment);
        let mut masker = session.masker(&session.token().expect("a token")).expect("safe");
        let mut shown = Vec::new();
        let text = format!("a {TOKEN} b bearer-of-the-minter c\n");
        masker.push(text.as_bytes(), &mut shown).expect("masked");
        masker.finish(&mut shown).expect("masked");
        assert_eq!(String::from_utf8_lossy(&shown), "a [MASKED] b [MASKED] c\n");
        remove_files(&session);
    }

    #[test]
    fn a_command_does_not_start_without_its_token() {
        let environment = Environment::default();
        let session = session(&environment);
        remove_files(&session);
        assert_eq!(session.token().expect_err("it is gone").kind(), Kind::Deliver);
    }

    /// `exec` may call `revoke` while the command runs, and calls it again after the command. The test has no
    /// API server, so a second request would fail.
    #[test]
    fn a_token_is_revoked_once() {
        let environment = Environment::default();
        let mut session = session(&environment);
        session.revoked = true;
        remove_files(&session);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let again = runtime.block_on(async {
            let mut interrupt = Interrupt::listen().expect("signals");
            session.revoke(&mut interrupt).await
        });
        assert!(again.expect("nothing to do").is_none() && session.is_revoked());
    }
}
