//! The stations of a token's life, in their order.
//!
//! A token is minted, handed over, and revoked when its job ends:
//!
//! ```no_run
//! use std::{env, path::Path};
//!
//! use jobpass_core::{
//!     Error,
//!     anchor::Origin,
//!     inputs::options::{Inputs, Opt},
//!     life::{
//!         mint::{Handover, Plan},
//!         revoke,
//!     },
//!     process::{environment::Environment, interrupt::Interrupt},
//!     record::state::State,
//! };
//!
//! async fn with_token(mut interrupt: Interrupt) -> Result<(), Error> {
//!     let environment = Environment::from_iter(env::vars_os());
//!     let inputs = Inputs::from([(Opt::ServiceAccount, "scanner"), (Opt::KubeconfigFile, "scan.yaml")]);
//!     let plan = Plan::make(&inputs, Path::new("."), &environment, &mut interrupt).await?;
//!     let handover = Handover {
//!         record: |state: Option<&State>| state.map_or(Ok(()), |state| state.write("state.json".as_ref())),
//!         mask: |_| Ok(()),
//!         deliver: |_: &_, _: &_| Ok(()),
//!     };
//!     let mut minted = plan.mint(&Origin::default(), handover, &mut interrupt).await?;
//!     // The job works with `scan.yaml` here.
//!     let revoked =
//!         revoke::at_end_of_job(&mut minted.state, None, &inputs, &environment, &mut interrupt).await?;
//!     println!("{}", minted.state.receipt.revoked_in_words());
//!     revoked.notes.iter().for_each(|note| println!("{note}"));
//!     Ok(())
//! }
//! ```

pub mod mint;
pub mod renew;
pub mod revoke;
pub mod token_request;
mod verify_claims;
