//! The GitHub Action's program. The launcher in `dist/` runs `jobpass-github main` where the user's step stands and
//! `jobpass-github post` at the end of the job.
//!
//! What a runner does with commands, files and variables was read in its source (github.com/actions/runner, 2.336).

mod commands;
mod job;
mod main_step;
mod post_step;
mod summary;

use std::{process::ExitCode, time::Duration};

use jobpass_core::{Error, environment::Environment, harden, interrupt::Interrupt};

use crate::job::Job;

/// Runs the program and gives its exit code, a [`jobpass_core::Kind`] if it failed.
pub fn main() -> ExitCode {
    harden::harden();
    let arguments = clap::Command::new("jobpass-github")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Mints a Kubernetes ServiceAccount token for this GitHub job and revokes it at the end")
        .subcommand_required(true)
        .subcommand(
            clap::Command::new("main")
                .about("Where the step stands: mint, mask, hand over, record the state"),
        )
        .subcommand(clap::Command::new("post").about("At the end of the job: revoke what the state records"))
        .get_matches();
    let job = Job::new(std::env::vars_os().collect::<Environment>());
    let outcome = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::new(jobpass_core::Kind::Internal, format!("cannot start: {error}")))
        .and_then(|runtime| {
            let outcome = runtime.block_on(run(&job, arguments.subcommand_name() == Some("main")));
            // A delivery that nobody reads must not keep the process.
            runtime.shutdown_background();
            outcome
        });
    outcome.map_or_else(
        |error| ExitCode::from(error.kind().exit_code()),
        |()| ExitCode::SUCCESS,
    )
}

async fn run(job: &Job, is_main: bool) -> Result<(), Error> {
    let outcome = match Interrupt::listen() {
        Ok(interrupt) if is_main => main_step::run(job, interrupt).await,
        Ok(interrupt) => post_step::run(job, interrupt).await,
        Err(error) => Err(error),
    };
    if let Err(error) = outcome.clone() {
        // Bounded: if nobody reads the log, saying so must not keep a cancelled job.
        let said = tokio::task::spawn_blocking(move || commands::error(&error));
        let _ = tokio::time::timeout(Duration::from_secs(1), said).await;
    }
    outcome
}
