//! A tiny random generator (SplitMix64). Not a crate: the same seed must train
//! the same model in every later release, which libraries do not promise.

pub(crate) struct Rng(u64);

impl Rng {
    /// Streams of one seed are independent of each other.
    pub(crate) fn new(seed: u64, stream: u64) -> Self {
        let mut rng = Self(seed ^ stream.wrapping_mul(0xD6E8_FEB8_6659_FD93));
        rng.next();
        rng
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `bound`, which must not be zero.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.next()) * bound as u128) >> 64) as usize
    }

    /// A number in [0, 1).
    pub(crate) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.below(i + 1));
        }
    }

    /// `count` of `items`, in ascending order.
    pub(crate) fn sample(&mut self, items: &[u32], count: usize) -> Vec<u32> {
        let mut taken = items.to_vec();
        if count < taken.len() {
            for i in 0..count {
                let j = i + self.below(taken.len() - i);
                taken.swap(i, j);
            }
            taken.truncate(count);
            taken.sort_unstable();
        }
        taken
    }
}
