//! The origin of a token that the command line mints.

use jobpass_core::{anchor::Origin, process::environment::Environment};

/// The origin for the anchor: the command line, and the user who runs it.
pub(crate) fn origin(environment: &Environment) -> Origin {
    Origin {
        platform: "cli",
        // On Windows, the variable is USERNAME.
        requested_by: environment
            .get("USER")
            .or_else(|| environment.get("USERNAME"))
            .map(str::to_owned),
        ..Origin::default()
    }
}
