//! Faults of the network, of the API server, of the inputs, and of the process itself.

mod admission;
pub(crate) mod api;
mod hostile;
mod http;
mod input;
mod kill;
mod plugins;
