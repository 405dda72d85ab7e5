//! Secrets that are made while a log is being masked.

/// Knows of secrets that are made while a [`Masker`](crate::Masker) is already at work, such as the token that takes the place of one
/// that expires.
///
/// The masker asks before it looks at each chunk of the log. So a secret that the source knows of before anybody can print it
/// is masked from its first byte on.
pub trait SecretSource {
    /// Calls `learn` with each secret that is new since the last call.
    fn new_secrets(&mut self, learn: &mut dyn FnMut(&str));
}

/// A source of any type, which can be cloned together with its masker.
///
/// A type parameter of the masker would do the same, but then the masker would be compiled in the crate that names the type, and with
/// that crate's optimisation.
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
