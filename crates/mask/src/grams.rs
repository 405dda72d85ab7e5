//! A set of words of up to 8 bytes. A lookup is fast, but sometimes answers "yes" for a word that is not in
//! the set.

/// A Bloom filter with three bits for each word. The three bits are in the same 64-bit integer, so a lookup
/// reads memory once.
///
/// The filter has at least 21 bits for each member that it has room for. So if it has no more members, at
/// most about one in 250 other words counts as a member.
pub(crate) struct Grams {
    words: Vec<u64>,
    shift: u32,
}

impl Grams {
    /// The empty set, with room for this number of members.
    pub(crate) fn with_room(members: usize) -> Self {
        let words = (members / 3).next_power_of_two().max(64);
        Self {
            words: vec![0; words],
            shift: u64::BITS - words.ilog2(),
        }
    }

    /// The set of all 8-byte words of these byte strings.
    pub(crate) fn new<'a>(texts: impl Iterator<Item = &'a [u8]> + Clone) -> Self {
        let mut grams = Self::with_room(texts.clone().map(<[u8]>::len).sum());
        for gram in texts.flat_map(|text| text.windows(8)).filter_map(word) {
            grams.add(gram);
        }
        grams
    }

    pub(crate) fn add(&mut self, gram: u64) {
        let (at, bits) = self.place(gram);
        self.words[at] |= bits;
    }

    pub(crate) fn has(&self, gram: u64) -> bool {
        let (at, bits) = self.place(gram);
        self.words[at] & bits == bits
    }

    /// Whether the set has a word of [`SHORT_WORD`] bytes.
    #[inline]
    pub(crate) fn has_short(&self, word: u32) -> bool {
        self.has(u64::from(word) | (SHORT_WORD as u64) << 56)
    }

    /// The position of the first 8-byte word of a text that the set has.
    #[inline(never)]
    pub(crate) fn find(&self, text: &[u8]) -> Option<usize> {
        text.windows(8)
            .position(|gram| word(gram).is_some_and(|gram| self.has(gram)))
    }

    /// The position of a word's bits in the filter, and the bits, by Fibonacci hashing: the upper bits of the
    /// product depend on all bytes.
    #[inline]
    fn place(&self, gram: u64) -> (usize, u64) {
        let hash = gram.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let bits = 1 << (hash >> 40 & 63) | 1 << (hash >> 34 & 63) | 1 << (hash >> 28 & 63);
        ((hash >> self.shift) as usize, bits)
    }
}

/// The number of bytes of the short words that the first look searches for.
pub(crate) const SHORT_WORD: usize = 4;

/// The first 8 bytes of a text as a number.
pub(crate) fn word(text: &[u8]) -> Option<u64> {
    text.first_chunk().map(|bytes| u64::from_le_bytes(*bytes))
}

/// A word of fewer than 8 bytes as a number. Words of different lengths have different numbers.
pub(crate) fn short_word(text: &[u8]) -> u64 {
    let mut bytes = [0; 8];
    bytes[..text.len()].copy_from_slice(text);
    bytes[7] = text.len() as u8;
    u64::from_le_bytes(bytes)
}
