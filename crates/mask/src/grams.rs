//! A set of 8-byte words. A lookup is fast, but sometimes answers "yes" for a word that is not in the set.

/// A Bloom filter with two bits for each word. Both bits are in the same 64 bits, so one read of memory
/// answers.
///
/// With 32 bits for each member, about one in 200 other words counts as a member.
pub(crate) struct Grams {
    words: Vec<u64>,
    shift: u32,
}

impl Grams {
    /// The set of all 8-byte words of these byte strings.
    pub(crate) fn new<'a>(texts: impl Iterator<Item = &'a [u8]> + Clone) -> Self {
        let members = texts.clone().map(<[u8]>::len).sum::<usize>();
        let words = (members / 2).next_power_of_two().max(64);
        let mut grams = Self {
            words: vec![0; words],
            shift: u64::BITS - words.ilog2(),
        };
        for gram in texts.flat_map(|text| text.windows(8)).filter_map(word) {
            let (at, bits) = grams.place(gram);
            grams.words[at] |= bits;
        }
        grams
    }

    /// Looks up every `stride`th 8-byte word of a text. Returns the position of the first member, or else the
    /// position of the next word.
    pub(crate) fn find(&self, text: &[u8], stride: usize) -> Result<usize, usize> {
        let mut at = 0;
        while let Some(gram) = text.get(at..).and_then(word) {
            let (place, bits) = self.place(gram);
            if self.words[place] & bits == bits {
                return Ok(at);
            }
            at += stride;
        }
        Err(at)
    }

    /// The position of a word's bits, by Fibonacci hashing: the upper bits of the product depend on all
    /// bytes.
    fn place(&self, gram: u64) -> (usize, u64) {
        let hash = gram.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let (one, other) = (hash >> (self.shift - 6), hash >> (self.shift - 12));
        ((hash >> self.shift) as usize, 1 << (one & 63) | 1 << (other & 63))
    }
}

fn word(text: &[u8]) -> Option<u64> {
    text.first_chunk().map(|bytes| u64::from_le_bytes(*bytes))
}
