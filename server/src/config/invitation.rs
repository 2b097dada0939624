//! Invitations to register.

use std::fmt;

use aws_lc_rs::{
    constant_time::verify_slices_are_equal,
    digest::{SHA256, digest},
};

use super::value::Value;

/// Bytes of an invitation, at least: it must not be guessed.
const INVITATION_SIZE_MIN: usize = 16;

/// The SHA-256 of each invitation; the tokens themselves are not kept.
#[derive(Clone, Default, Eq, PartialEq, PartialOrd)]
pub struct Invitations(Vec<[u8; 32]>);

impl Invitations {
    /// These.
    #[must_use]
    pub fn from_tokens<'a>(tokens: impl IntoIterator<Item = &'a str>) -> Self {
        Self(tokens.into_iter().map(sha256).collect())
    }

    /// Whether `token` is one of them. Takes as long for each.
    #[must_use]
    pub fn holds(&self, token: &str) -> bool {
        let hash = sha256(token);
        let equal = |it: &&[u8; 32]| verify_slices_are_equal(*it, &hash).is_ok();
        self.0.iter().filter(equal).count() > 0
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Invitations {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.show())
    }
}

impl Value for Invitations {
    const EXPECTED: &'static str =
        "tokens of 16 bytes or more, or sha256:HEX of them, with commas or spaces between";
    const IS_SECRET: bool = true;

    fn parse(text: &str) -> Option<Self> {
        text.split([',', ' ', '\n', '\r', '\t'])
            .filter(|it| !it.is_empty())
            .map(|it| match it.strip_prefix("sha256:") {
                Some(hex) => from_hex(hex),
                None => (it.len() >= INVITATION_SIZE_MIN).then(|| sha256(it)),
            })
            .collect::<Option<_>>()
            .map(Self)
    }

    fn show(&self) -> String {
        if self.is_empty() {
            return String::new();
        }
        "***".to_owned()
    }
}

fn sha256(text: &str) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, text.as_bytes()).as_ref());
    hash
}

fn from_hex(hex: &str) -> Option<[u8; 32]> {
    let digits: Vec<u8> = hex
        .chars()
        .map(|it| it.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
        .collect::<Option<_>>()?;
    let (pairs, rest) = digits.as_chunks::<2>();
    let bytes: Vec<u8> = pairs.iter().map(|[high, low]| high << 4 | low).collect();
    bytes.try_into().ok().filter(|_| rest.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invitation_is_known_by_its_hash_alone() {
        let token = "a-token-that-is-long";
        // From `printf a-token-that-is-long | sha256sum`.
        let hash = "009cd681633ecf709db0e12599491c1256f8a6afc87b267b87e7f9de5bffa097";
        for text in [token.to_owned(), format!("sha256:{hash}")] {
            let held = Invitations::parse(&text).unwrap();
            assert!(held.holds(token), "{text}");
            assert!(!held.holds("another-token-like-it") && !held.holds(""));
            assert_eq!(format!("{held:?}"), "***");
        }
    }
}
