//! Random numbers from a seed: the same seed, the same lifetime.

/// SplitMix64 (Steele, Lea and Flood 2014): for jitter, where nobody gains by guessing.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// Returns a sequence of numbers that the seed decides.
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    /// Returns the next number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    /// Returns a number from 0 to `greatest`, all as likely.
    pub fn up_to(&mut self, greatest: u64) -> u64 {
        // The upper half of the product: off by less than one in 2^64 / greatest.
        ((u128::from(self.number()) * (u128::from(greatest) + 1)) >> 64) as u64
    }
}
