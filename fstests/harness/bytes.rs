//! Deterministic content: a generator that repeats from its seed, so that tests need no fixtures.

/// SplitMix64: small, fast, good enough to make data no compressor shrinks.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// Starts from a seed.
    pub fn new(seed: u64) -> Self {
        Random(seed)
    }

    /// The next 64 bits.
    pub fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound` (which is above zero).
    pub fn below(&mut self, bound: u64) -> u64 {
        self.word() % bound
    }

    /// A usize below `bound`.
    #[allow(clippy::cast_possible_truncation)]
    pub fn index(&mut self, bound: usize) -> usize {
        self.below(bound as u64) as usize
    }

    /// `len` incompressible bytes.
    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        let mut out = Vec::with_capacity(len + 8);
        while out.len() < len {
            out.extend_from_slice(&self.word().to_le_bytes());
        }
        out.truncate(len);
        out
    }
}

/// `len` incompressible bytes that depend on `seed` only.
pub fn random(seed: u64, len: usize) -> Vec<u8> {
    Random::new(seed).bytes(len)
}

/// `len` bytes that read like source text and compress like it.
pub fn text(seed: u64, len: usize) -> Vec<u8> {
    const WORDS: &[&str] = &[
        "let", "fn", "return", "self", "block", "match", "=>", "(", ")", "{\n    ", "}\n", ";\n", "value", "index",
        "+ 1",
    ];
    let mut random = Random::new(seed);
    let mut out = Vec::with_capacity(len + 16);
    while out.len() < len {
        out.extend_from_slice(WORDS[random.index(WORDS.len())].as_bytes());
        out.push(b' ');
    }
    out.truncate(len);
    out
}

/// The seed of this run: `FSTESTS_SEED`, or one from the clock; printed either way.
#[allow(clippy::cast_possible_truncation)]
pub fn seed(test: &str) -> u64 {
    let clock = || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos() as u64;
    let seed = std::env::var("FSTESTS_SEED").ok().map_or_else(clock, |s| s.parse().expect("FSTESTS_SEED is a number"));
    println!("{test}: FSTESTS_SEED={seed}");
    seed
}

/// A count from the environment, or the default: how nightly runs ask for more.
pub fn count(name: &str, default: usize) -> usize {
    std::env::var(name).ok().map_or(default, |s| s.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}
