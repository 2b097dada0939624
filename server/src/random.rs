//! Randomness, injected: the operating system's, or a seed's in a simulation.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};

/// The operating system gave no randomness. Nothing secret can be made.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the operating system gave no randomness")]
pub struct NoRandomness;

/// A source of random bytes.
#[derive(Clone, Debug)]
pub enum Random {
    /// The operating system's generator, for everything real.
    System(SystemRandom),
    /// The same bytes for the same seed: for simulations, never for secrets that
    /// matter.
    Seeded(Arc<AtomicU64>),
}

impl Random {
    /// The operating system's generator.
    #[must_use]
    pub fn system() -> Self {
        Self::System(SystemRandom::new())
    }

    /// A generator that repeats itself for the same seed.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        Self::Seeded(Arc::new(AtomicU64::new(seed)))
    }

    /// `N` random bytes.
    ///
    /// # Errors
    ///
    /// [`NoRandomness`].
    pub fn bytes<const N: usize>(&self) -> Result<[u8; N], NoRandomness> {
        let mut bytes = [0; N];
        match self {
            Self::System(system) => system.fill(&mut bytes).map_err(|_| NoRandomness)?,
            Self::Seeded(state) => {
                for chunk in bytes.chunks_mut(8) {
                    let random = splitmix(state).to_le_bytes();
                    chunk.copy_from_slice(random.get(..chunk.len()).unwrap_or_default());
                }
            }
        }
        Ok(bytes)
    }

    /// A number from 0 up to and with `max`; 0 if there is no randomness. For
    /// spreading things out in time, where a poor number does no harm.
    #[must_use]
    pub fn up_to(&self, max: u32) -> u32 {
        let random = self.bytes().map_or(0, u32::from_le_bytes);
        // A bias of one in 2^32 / max does not matter here.
        max.checked_add(1).map_or(random, |bound| random % bound)
    }
}

/// `SplitMix64` (Steele, Lea, Flood: "Fast Splittable Pseudorandom Number
/// Generators", 2014).
fn splitmix(state: &AtomicU64) -> u64 {
    const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut z = state.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_repeats_itself_and_the_system_does_not() {
        let (one, two) = (Random::seeded(7), Random::seeded(7));
        assert_eq!(one.bytes::<12>(), two.bytes::<12>());
        let system = Random::system();
        assert_ne!(system.bytes::<32>(), system.bytes::<32>());
    }
}
