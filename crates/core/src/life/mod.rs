//! The stages of a token's life, in their order.

pub mod mint;
pub mod proxy;
pub mod renew;
pub mod revoke;
pub mod token_request;
mod verify_claims;
