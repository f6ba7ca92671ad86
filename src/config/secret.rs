//! Text that must never be shown: passwords of stores, digests of super users, keys.

/// A secret. It has no `Debug` text, no `Display` and no equality; whoever needs it says so with
/// [`Secret::expose`].
#[derive(Clone, Default)]
pub struct Secret(Box<str>);

impl Secret {
    /// Takes a text that is shown nowhere from here on.
    pub fn new(text: impl Into<Box<str>>) -> Self {
        Secret(text.into())
    }

    /// The text itself, for the one place that checks or uses it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

/// What contains a secret may be printed; the secret may not.
impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[hidden]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_not_printed_with_what_contains_it() {
        let config = Some(Secret::new("hunter2"));
        assert_eq!(format!("{config:?}"), "Some([hidden])");
        assert_eq!(config.map(|secret| secret.expose().len()), Some(7));
    }
}
