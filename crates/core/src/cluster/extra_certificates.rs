//! The certificates that jobpass trusts for a CI platform's own endpoints, in addition to those of this
//! system.

use std::path::{Path, PathBuf};

use crate::{
    error::Error,
    process::{environment::Environment, files},
};

/// The variable that names a file of extra certificates. JavaScript actions run on Node.js, which reads this
/// variable and, by default, not the system's certificates. So runners in a network with its own certificate
/// authority usually have the variable already.
const VARIABLE: &str = "NODE_EXTRA_CA_CERTS";

/// A file of certificates in PEM.
pub struct ExtraCertificates {
    /// The absolute path of the file.
    pub(crate) path: PathBuf,
    /// The file's content.
    pub pem: String,
}

impl ExtraCertificates {
    /// The file that the variable NODE_EXTRA_CA_CERTS names. `None` if the variable is not set, or if jobpass
    /// cannot read the file.
    ///
    /// # Errors
    /// If the variable is not UTF-8, or jobpass cannot make the path absolute.
    pub fn of(environment: &Environment) -> Result<Option<Self>, Error> {
        let Some(path) = environment.utf8(VARIABLE)? else {
            return Ok(None);
        };
        Ok(Self::read(files::absolute(VARIABLE, Path::new(path))?))
    }

    /// Reads the file. Like Node, jobpass ignores a file that it cannot read: the connection that needs the
    /// file fails later.
    pub(crate) fn read(path: PathBuf) -> Option<Self> {
        let pem = files::read_bytes(files::LONGEST, &path).ok()?;
        Some(Self {
            path,
            pem: String::from_utf8_lossy(&pem).into_owned(),
        })
    }
}
