//! The certificates that count for a CI platform's own endpoints beside the system's.

use std::path::{Path, PathBuf};

use crate::{
    error::Error,
    process::{environment::Environment, files},
};

/// The variable that names their file. Runners and their actions are written in Node, which obeys it, so that
/// on a network with an authority of its own it is set already.
const VARIABLE: &str = "NODE_EXTRA_CA_CERTS";

/// A file of certificates in PEM.
pub struct ExtraCertificates {
    /// The absolute path of the file.
    pub(crate) path: PathBuf,
    /// The file's content.
    pub pem: String,
}

impl ExtraCertificates {
    /// The file that the environment names.
    ///
    /// # Errors
    /// If the variable is not UTF-8, or the path cannot be made absolute.
    pub fn of(environment: &Environment) -> Result<Option<Self>, Error> {
        let Some(path) = environment.utf8(VARIABLE)? else {
            return Ok(None);
        };
        Ok(Self::read(files::absolute(VARIABLE, Path::new(path))?))
    }

    /// As Node, passes over a file that cannot be read. Whatever needs it fails then.
    pub(crate) fn read(path: PathBuf) -> Option<Self> {
        let pem = files::read_bytes(files::LONGEST, &path).ok()?;
        Some(Self {
            path,
            pem: String::from_utf8_lossy(&pem).into_owned(),
        })
    }
}
