//! A short fingerprint of an event's content.

use std::fmt;

const OFFSET: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;

/// A fingerprint of an event's content (FNV-1a, 128 bits), so that a history
/// can be compared, and a difference told, without keeping or showing texts.
///
/// It finds accidents. It is no proof against somebody who looks for two
/// contents with the same fingerprint; who could do that holds the log anyway.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Digest(u128);

impl Digest {
    /// The fingerprint of `content`.
    #[must_use]
    pub fn of(content: &[u8]) -> Self {
        Self(content.iter().fold(OFFSET, |state, byte| {
            (state ^ u128::from(*byte)).wrapping_mul(PRIME)
        }))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:032x}", self.0)
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
        assert_eq!(
            Digest::of(b"").to_string(),
            "6c62272e07bb014262b821756295c58d"
        );
        assert_eq!(
            Digest::of(b"a").to_string(),
            "d228cb696f1a8caf78912b704e4a8964"
        );
    }
}
