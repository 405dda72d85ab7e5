//! The verbs of the command line, one a file.

pub(crate) mod check;
pub(crate) mod doctor;
pub(crate) mod exec;
pub(crate) mod expiry;
pub(crate) mod inspect;
pub(crate) mod list;
pub(crate) mod manual;
pub(crate) mod mint;
pub(crate) mod revoke;
pub(crate) mod rotate;
pub(crate) mod setup;
pub(crate) mod sweep;
pub(crate) mod whoami;
