//! A short fingerprint of an event's content.

use std::fmt;

const OFFSET: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;

/// A fingerprint of an event's content, so that a history can be compared, and
/// a difference told, without keeping or showing texts.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Digest([u8; 32]);

impl Digest {
    /// A fingerprint that somebody else took; SHA-256 fits.
    #[must_use]
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// A fingerprint of `content` (FNV-1a, 128 bits, and zeros) for a history
    /// that comes without one.
    ///
    /// It finds accidents. It is no proof against somebody who looks for two
    /// contents with the same fingerprint.
    #[must_use]
    pub fn of(content: &[u8]) -> Self {
        let mut bytes = [0; 32];
        for (to, from) in bytes.iter_mut().zip(Self::hash(content).to_be_bytes()) {
            *to = from;
        }
        Self(bytes)
    }

    pub(crate) fn hash(content: &[u8]) -> u128 {
        content.iter().fold(OFFSET, |state, byte| {
            (state ^ u128::from(*byte)).wrapping_mul(PRIME)
        })
    }

    pub(crate) const fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in self.0 {
            write!(formatter, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_is_fnv_1a_of_128_bits() {
        for (content, hash) in [
            ("", "6c62272e07bb014262b821756295c58d"),
            ("a", "d228cb696f1a8caf78912b704e4a8964"),
        ] {
            let digest = Digest::of(content.as_bytes()).to_string();
            assert_eq!(digest, format!("{hash}{}", "0".repeat(32)));
        }
    }
}
