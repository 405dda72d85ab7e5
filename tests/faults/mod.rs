//! Faults of the network, the API server, the inputs, and the process itself.

mod admission;
pub(crate) mod api;
mod hostile;
mod http;
mod input;
mod kill;
mod plugins;
