//! The stages of a token's life: minting, renewal and revocation. Also the life of a job's proxy.

pub mod mint;
pub mod proxy;
pub mod renew;
pub mod revoke;
pub mod token_request;
mod verify_claims;
