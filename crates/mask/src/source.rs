//! Secrets that are made while a log is being masked.

/// Tells a [`Masker`](crate::Masker) about secrets that are made after the log has begun, such as a token
/// that replaces an expiring one.
///
/// The masker calls the source before it reads each chunk of the log. If the source knows a secret before
/// anybody can print it, the masker masks that secret from its first byte on.
///
/// ```
/// use std::sync::{Arc, Mutex};
///
/// use jobpass_mask::{Masker, SecretSource};
///
/// #[derive(Clone, Default)]
/// struct Made {
///     secrets: Arc<Mutex<Vec<String>>>,
///     told: usize,
/// }
///
/// impl SecretSource for Made {
///     fn new_secrets(&mut self, learn: &mut dyn FnMut(&str)) {
///         let secrets = self.secrets.lock().unwrap();
///         secrets[self.told..].iter().for_each(|secret| learn(secret));
///         self.told = secrets.len();
///     }
/// }
///
/// let made = Made::default();
/// let mut masker = Masker::new(["an-old-token"]).with_sources([made.clone()]);
/// let mut log = Vec::new();
/// masker.push(b"an-old-token, ", &mut log)?;
/// made.secrets.lock().unwrap().push("a-new-token".into());
/// masker.push(b"a-new-token\n", &mut log)?;
/// masker.finish(&mut log)?;
/// assert_eq!(log, b"[MASKED], [MASKED]\n");
/// # Ok::<(), std::io::Error>(())
/// ```
pub trait SecretSource {
    /// Calls `learn` with each secret that is new since the last call.
    fn new_secrets(&mut self, learn: &mut dyn FnMut(&str));
}

/// A source of any type. A clone of a masker also has a clone of the source.
///
/// The masker could have a type parameter instead. But then the crate that chooses the type would compile the
/// masker, with the optimisation of that crate.
pub(crate) trait AnySource: SecretSource + Send + Sync {
    fn cloned(&self) -> Box<dyn AnySource>;
}

impl<S: SecretSource + Clone + Send + Sync + 'static> AnySource for S {
    fn cloned(&self) -> Box<dyn AnySource> {
        Box::new(self.clone())
    }
}

impl Clone for Box<dyn AnySource> {
    fn clone(&self) -> Self {
        (**self).cloned()
    }
}
