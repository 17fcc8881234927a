//! A word that must never be shown.

use std::fmt;

/// A word that must never be shown: it has no `Display`, and `Debug` hides it.
///
/// Whoever builds one has checked that it isn't empty.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Keeps a word secret.
    pub fn new(word: String) -> Secret {
        Secret(word)
    }

    /// Returns the word itself, to be sent and nothing else.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(word: String) -> Secret {
        Secret(word)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_nothing_but_to_those_who_ask_for_it() {
        let secret = Secret::new("hunter2".to_owned());
        assert_eq!("Some(Secret(…))", format!("{:?}", Some(&secret)));
        assert_eq!("hunter2", secret.reveal());
    }
}
