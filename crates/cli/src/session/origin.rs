//! Whose token it is, without a CI platform.

use jobpass_core::{anchor::Origin, process::environment::Environment};

/// Whose token it is.
pub(crate) fn origin(environment: &Environment) -> Origin {
    Origin {
        platform: "cli",
        requested_by: environment.get("USER").map(str::to_owned),
        ..Origin::default()
    }
}
