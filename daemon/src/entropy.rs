//! The one module that makes random values.
//!
//! Everybody else takes an `Arc<dyn Entropy>`: with one seed a test sees the same ids, jitter and boundaries twice.

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use ring::rand::{SecureRandom as _, SystemRandom};

/// A source of random octets.
pub trait Entropy: fmt::Debug + Send + Sync + 'static {
    /// Fills `octets`.
    fn fill(&self, octets: &mut [u8]);
}

/// A source that many share.
pub type SharedEntropy = Arc<dyn Entropy>;

/// Values made of random octets.
pub trait EntropyExt: Entropy {
    /// 64 random bits.
    fn bits(&self) -> u64 {
        let mut octets = [0; 8];
        self.fill(&mut octets);
        u64::from_le_bytes(octets)
    }

    /// A number from 0 to just under 1, evenly spread: the jitter that `policy` takes.
    #[expect(clippy::cast_precision_loss, reason = "53 bits are exact")]
    fn unit(&self) -> f64 {
        (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// 256 random bits as 43 characters of base64url: a `state`, a PKCE verifier.
    fn token_256(&self) -> String {
        let mut octets = [0; 32];
        self.fill(&mut octets);
        URL_SAFE_NO_PAD.encode(octets)
    }

    /// The bits of a ULID made at `now`.
    fn ulid(&self, now: Timestamp) -> u128 {
        let mut octets = [0; 16];
        self.fill(&mut octets);
        let milliseconds = u64::try_from(now.as_millisecond()).unwrap_or_default();
        ulid::Ulid::from_parts(milliseconds, u128::from_le_bytes(octets)).0
    }
}

impl<E: Entropy + ?Sized> EntropyExt for E {}

/// The operating system's random numbers.
#[derive(Clone, Debug)]
pub struct SystemEntropy(SystemRandom);

impl SystemEntropy {
    /// Opens the source.
    #[expect(clippy::disallowed_methods, reason = "this is the module that reads random numbers")]
    pub fn new() -> Self {
        Self(SystemRandom::new())
    }
}

impl Default for SystemEntropy {
    fn default() -> Self {
        Self::new()
    }
}

impl Entropy for SystemEntropy {
    /// Ends the process if the kernel gives no random numbers: nothing here would be safe without them.
    fn fill(&self, octets: &mut [u8]) {
        if self.0.fill(octets).is_err() {
            std::process::abort();
        }
    }
}

/// The same octets for the same seed (SplitMix64). For tests alone.
#[cfg(any(test, feature = "fakes"))]
#[derive(Debug)]
pub struct SeededEntropy(std::sync::atomic::AtomicU64);

#[cfg(any(test, feature = "fakes"))]
impl SeededEntropy {
    /// A source that begins at `seed`.
    pub fn new(seed: u64) -> Self {
        Self(std::sync::atomic::AtomicU64::new(seed))
    }

    fn next(&self) -> u64 {
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut z = self.0.fetch_add(STEP, std::sync::atomic::Ordering::Relaxed).wrapping_add(STEP);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

#[cfg(any(test, feature = "fakes"))]
impl Entropy for SeededEntropy {
    fn fill(&self, octets: &mut [u8]) {
        for chunk in octets.chunks_mut(8) {
            chunk.copy_from_slice(&self.next().to_le_bytes()[..chunk.len()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_seed_gives_one_sequence_and_the_system_never_the_same() {
        let (a, b) = (SeededEntropy::new(7), SeededEntropy::new(7));
        assert_eq!(a.token_256(), b.token_256());
        let system = SystemEntropy::new();
        assert_ne!(system.token_256(), system.token_256());
        assert_eq!(system.token_256().len(), 43);
        assert!((0.0..1.0).contains(&system.unit()));
    }
}
