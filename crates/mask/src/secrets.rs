//! All secrets, prepared for the search.
//!
//! A *form* of a secret is the secret in a common encoding (see [`forms`]). A *piece* is a part of a secret
//! that the search found in the log. A *view* decodes the log before the search. A *source* tells the masker
//! about secrets that are made after the log has begun.

use std::{
    iter,
    ops::Range,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use base64::{
    Engine as _,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use zeroize::Zeroizing;

use crate::{
    ANYWHERE, ANYWHERE_IF_BINARY, ANYWHERE_IN_SIGNATURE, LEAST, PIECE,
    forms::{Encoding, Form, expiry, forms, jwt, public_length, rare_parts, sole_part},
    grams::{Grams, SHORT_WORD, short_word, word},
    scan::SEEN,
    text::Text,
    views::{self, unescaped},
};

/// The least length of a secret that needs no other view if one view shows it whole. A secret of this length
/// does not overlap with another secret by chance.
pub(crate) const LONG: usize = 64;

/// The least length of a secret that the masker also searches for in text without separators.
const JOINED: usize = PIECE;

/// The least length of a secret whose forms the views find. For a shorter secret, and for a secret that
/// contains an escape itself, the masker also searches for each form as it is.
const SHORT: usize = 32;

/// The least number of bytes of a piece that may be anywhere behind the piece before it.
pub(crate) const LINK: usize = 3;

/// The secrets that the masker searches for.
pub(crate) struct Secrets {
    list: Arc<[Secret]>,
    /// The place of every 8-byte word of every secret, sorted by the word.
    places: Vec<Place>,
    grams: Grams,
    /// The words of up to [`SHORT_WORD`] bytes after which more of a secret can follow.
    ends: Grams,
    /// The 8-byte words of `shown`.
    gate: Grams,
    /// The words of 3 bytes of `shown`.
    three: Grams,
    /// The words of 4 bytes of `shown`.
    short: Grams,
    /// The rare parts of the secrets, and most of their forms, one after the other. Leaves out the header and
    /// the first claims of a JWT's form.
    shown: Zeroizing<Vec<u8>>,
    /// The parts of `shown` that are random: signatures and decoded bytes.
    random: Vec<Range<u32>>,
    /// The words of [`LINK`] bytes that are in a JWT's signature only once.
    links: Grams,
    /// The places of these words, sorted by the word.
    linked: Vec<Place>,
    /// The positions of the words of `gate` in `shown`, sorted by the word.
    words: Vec<u32>,
    /// Whether all text in `shown` has only the bytes of tokens.
    is_plain: bool,
    /// Whether all longer parts of the text in `shown` have a capital.
    are_mixed: bool,
    /// The least number of secret bytes in a piece of any of these secrets.
    shortest: usize,
    /// The length of the shortest secret.
    least: usize,
}

/// A position in a secret.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) secret: u32,
    pub(crate) at: u32,
}

impl Place {
    /// The 8-byte word at this position.
    fn word(self, list: &[Secret]) -> Option<u64> {
        word(&list[self.secret as usize].bytes[self.at as usize..])
    }
}

pub(crate) struct Secret {
    bytes: Zeroizing<Vec<u8>>,
    /// The positions at which the secret begins and, in a JWT, its claims and its signature.
    pub(crate) starts: Vec<usize>,
    /// The secret bytes: all but a JWT's header and first claims.
    own: Parts,
    /// The bytes that no other token has.
    sole: Parts,
    /// The bytes that other text seldom has. A JWT's header and first claims count as such bytes.
    rare: Parts,
    /// Whether the secret is long and has no separators.
    is_token: bool,
    /// Whether the secret is bytes of any value, not text.
    is_binary: bool,
    /// Whether the bytes that no other token has are those of a JWT's signature.
    has_signature: bool,
    /// The number of bytes that tell one byte: 2 if this is another secret in hexadecimal digits.
    width: usize,
}

/// Parts of a secret that do not overlap.
struct Parts(Vec<Range<usize>>);

/// The texts of the secrets.
#[derive(Clone)]
pub(crate) struct Known {
    fixed: Vec<Zeroizing<String>>,
    /// Secrets that the masker learned from its [`SecretSource`]s, the newest last.
    learned: Vec<Zeroizing<String>>,
}

/// The greatest number of secrets from sources that a masker knows, so that its memory has a bound. A job
/// that renews a token of one hour each minute has fewer valid ones.
const MOST_LEARNED: usize = 256;

/// The number of secrets from sources that a masker keeps even if they have expired.
const KEPT: usize = 16;

/// The number of seconds for which an expired token counts as valid: kube-apiserver accepts it for a while,
/// and clocks differ.
const LEEWAY: u64 = 300;

impl Known {
    pub(crate) fn new<'a>(secrets: impl IntoIterator<Item = &'a str>) -> Self {
        let fixed = secrets.into_iter().map(|secret| secret.to_owned().into());
        Self {
            fixed: fixed.collect(),
            learned: Vec::new(),
        }
    }

    /// Adds a secret. Returns `true` if it is new and the list has room for it.
    pub(crate) fn learn(&mut self, secret: &str) -> bool {
        let is_new = !self
            .fixed
            .iter()
            .chain(&self.learned)
            .any(|known| known.as_str() == secret);
        if is_new {
            self.learned.push(secret.to_owned().into());
            // A source can tell about any number of secrets at once.
            if self.learned.len() > MOST_LEARNED {
                self.forget();
            }
        }
        // `forget` removes the new secret from a full list.
        is_new && self.learned.last().is_some_and(|known| known.as_str() == secret)
    }

    /// Forgets expired tokens that sources told about, the oldest first, but keeps [`KEPT`] secrets. The
    /// claim `exp` tells the expiry. If more than [`MOST_LEARNED`] secrets are left, this forgets the latest
    /// ones, so that made-up secrets cannot push out a token.
    pub(crate) fn forget(&mut self) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        self.forget_at(now.unwrap_or_default().as_secs());
    }

    fn forget_at(&mut self, now: u64) {
        let mut surplus = self.learned.len().saturating_sub(KEPT);
        self.learned.retain(|secret| {
            let goes =
                surplus > 0 && expiry(secret).is_some_and(|expiry| expiry.saturating_add(LEEWAY) < now);
            surplus -= usize::from(goes);
            !goes
        });
        self.learned.truncate(MOST_LEARNED);
    }

    pub(crate) fn secrets(&self) -> Secrets {
        Secrets::new(
            self.fixed
                .iter()
                .chain(&self.learned)
                .map(|secret| secret.as_str()),
        )
    }
}

impl Secrets {
    pub(crate) fn new<'a>(secrets: impl IntoIterator<Item = &'a str>) -> Self {
        let mut list: Vec<Secret> = Vec::new();
        let mut shown: Vec<Form> = Vec::new();
        for text in secrets {
            let text = text.trim();
            let is_known = |known: &Secret| *known.bytes == text.as_bytes();
            if text.len() < LEAST || list.iter().any(is_known) {
                continue;
            }
            list.push(Secret::new(text));
            list.extend(Secret::decoded(text));
            let forms = forms(text);
            // A part of a short secret's form may be too short for a view. And the escapes view also changes
            // what looks like an escape in the secret itself.
            let has_escapes = unescaped(&Text::plain(text.as_bytes())).bytes != text.as_bytes();
            if text.len() < SHORT || has_escapes {
                list.extend(forms.iter().skip(1).map(|form| Secret {
                    width: if form.encoding == Encoding::Hex { 2 } else { 1 },
                    ..Secret::new(form.expose())
                }));
            }
            shown.extend(distinct(forms));
        }
        let mut places = Vec::with_capacity(list.iter().map(|secret| secret.bytes.len()).sum());
        for (secret, known) in (0..).zip(&list) {
            let words = known.bytes.len().saturating_sub(LEAST - 1) as u32;
            places.extend((0..words).map(|at| Place { secret, at }));
        }
        places.sort_unstable_by_key(|place| (place.word(&list), place.secret, place.at));
        // There are few different words of one byte. The search corrects the errors of a small set.
        let mut ends = Grams::with_room(list.iter().map(|secret| secret.bytes.len()).sum());
        for secret in &list {
            for length in 1 + secret.hidden_after()..=SHORT_WORD {
                // After the last byte of a secret, no more of it can follow.
                let words = secret.bytes[..secret.bytes.len() - 1].windows(length);
                words.for_each(|bytes| ends.add(short_word(bytes)));
            }
        }
        let texts = list.iter().map(|secret| secret.bytes.as_slice());
        // A vector that grows leaves copies in memory, which nobody wipes.
        let lengths = texts.clone().map(<[u8]>::len);
        let room = lengths
            .chain(shown.iter().map(|form| form.secret_part().len()))
            .sum();
        let mut known = Zeroizing::new(Vec::with_capacity(room));
        let mut words = Vec::with_capacity(room);
        let mut are_mixed = true;
        let mut know = |bytes: &[u8]| {
            let at = known.len() as u32;
            are_mixed &= !bytes.is_ascii()
                || bytes
                    .windows(ANYWHERE)
                    .all(|part| part.iter().any(u8::is_ascii_uppercase));
            words.extend((at..).take(bytes.len().saturating_sub(LEAST - 1)));
            known.extend_from_slice(bytes);
            at
        };
        let mut random = Vec::new();
        for secret in &list {
            match std::str::from_utf8(&secret.bytes) {
                Ok(text) => rare_parts(text).into_iter().for_each(|part| {
                    let at = know(&secret.bytes[part.clone()]);
                    let before = sole_part(text).start.saturating_sub(part.start) as u32;
                    random.extend(secret.is_random().then_some(at + before..at + part.len() as u32));
                }),
                Err(_) => {
                    let at = know(&secret.bytes);
                    random.push(at..at + secret.bytes.len() as u32);
                }
            }
        }
        for form in &shown {
            know(form.secret_part().as_bytes());
        }
        // The padding of base64 is no part of a token.
        let is_plain = |text: &str| text.trim_end_matches('=').bytes().all(views::is_token_byte);
        let texts_are_plain = |secret: &Secret| std::str::from_utf8(&secret.bytes).map_or(true, is_plain);
        let is_plain =
            list.iter().all(texts_are_plain) && shown.iter().all(|form| is_plain(form.secret_part()));
        let mut three = Grams::with_room(known.len() / 2);
        known.windows(3).for_each(|bytes| three.add(short_word(bytes)));
        // The first look reads this set most often. With half the bits for each word, it stays in the fastest
        // memory of a processor, and the set of long words corrects its errors.
        let mut short = Grams::with_room(known.len() / 2);
        known
            .windows(SHORT_WORD)
            .for_each(|bytes| short.add(short_word(bytes)));
        words.sort_unstable_by_key(|at| (word(&known[*at as usize..]), *at));
        let mut gate = Grams::with_room(words.len());
        known
            .windows(LEAST)
            .filter_map(word)
            .for_each(|word| gate.add(word));
        let mut linked = Vec::new();
        for (secret, known) in (0..).zip(&list) {
            let signature = known.signature();
            if list[..secret as usize]
                .iter()
                .any(|other| other.signature() == signature)
            {
                continue;
            }
            let first = (known.bytes.len() - signature.len()) as u32;
            let mut words: Vec<_> = (first..).zip(signature.windows(LINK)).collect();
            words.sort_unstable_by_key(|(at, word)| (*word, *at));
            let same = words.chunk_by(|(_, one), (_, other)| one == other);
            linked.extend(same.filter(|same| same.len() == 1).map(|same| Place {
                secret,
                at: same[0].0,
            }));
        }
        let word_of = |place: &Place| &list[place.secret as usize].bytes[place.at as usize..][..LINK];
        linked.sort_unstable_by_key(|place| (word_of(place), place.secret));
        let mut links = Grams::with_room(linked.len());
        linked
            .iter()
            .for_each(|place| links.add(short_word(word_of(place))));
        let lengths = list.iter().map(|secret| secret.need(PIECE));
        Self {
            links,
            linked,
            grams: Grams::new(texts),
            gate,
            three,
            short,
            shown: known,
            is_plain,
            are_mixed,
            random,
            words,
            shortest: lengths.min().unwrap_or(PIECE).max(LEAST),
            least: list.iter().map(|secret| secret.bytes.len()).min().unwrap_or(0),
            places,
            ends,
            list: list.into(),
        }
    }

    /// The secrets themselves. An index in this list stands for the secret.
    pub(crate) fn list(&self) -> Arc<[Secret]> {
        Arc::clone(&self.list)
    }

    pub(crate) fn get(&self, secret: u32) -> &Secret {
        &self.list[secret as usize]
    }

    /// The index of a secret of another list.
    pub(crate) fn index_of(&self, secret: &Secret) -> Option<u32> {
        let known = self.list.iter().position(|known| known.bytes == secret.bytes)?;
        u32::try_from(known).ok()
    }

    /// The set of words of secrets and forms, for the first look (`scan`).
    pub(crate) fn gate(&self) -> &Grams {
        &self.gate
    }

    /// Whether a word has at least 3 bytes and may begin a piece of a secret.
    pub(crate) fn may_begin(&self, word: &[u8]) -> bool {
        match word.first_chunk() {
            Some(four) => self.may_have(u32::from_le_bytes(*four)),
            None => word.len() == 3 && self.three.has(short_word(word)),
        }
    }

    /// Whether a word of [`SHORT_WORD`] bytes may belong to a word of a secret or of a form.
    #[inline]
    pub(crate) fn may_have(&self, short: u32) -> bool {
        self.short.has_short(short)
    }

    /// Whether a word of [`LINK`] bytes may be one of a signature. The first byte is the lowest one.
    #[inline]
    pub(crate) fn may_link(&self, word: u32) -> bool {
        self.links.has(u64::from(word) | (LINK as u64) << 56)
    }

    /// The places in signatures of the word of [`LINK`] bytes with which a text begins. Leaves out words that a
    /// signature has several times.
    pub(crate) fn linked(&self, text: &[u8]) -> impl Iterator<Item = Place> {
        let word = &text[..LINK];
        let word_of = |place: &Place| &self.get(place.secret).bytes[place.at as usize..][..LINK];
        let first = self.linked.partition_point(|place| word_of(place) < word);
        let places = self.linked[first..].iter().copied();
        places.take_while(move |place| word_of(place) == word)
    }

    /// Like [`seen`](Self::seen), for the words of which the short word at `at` is a part.
    #[inline]
    pub(crate) fn seen_near(&self, text: &[u8], at: usize, least: usize) -> Option<Range<usize>> {
        let short = text[at..].first_chunk().map(|bytes| u32::from_le_bytes(*bytes));
        let is_short = short.is_some_and(|short| self.may_have(short));
        is_short.then(|| self.seen_around(text, at, least)).flatten()
    }

    #[cold]
    fn seen_around(&self, text: &[u8], at: usize, least: usize) -> Option<Range<usize>> {
        let words = (at + SHORT_WORD).saturating_sub(LEAST)..=at;
        let is_known = |at: &usize| word(&text[*at..]).is_some_and(|word| self.gate.has(word));
        let mut seen = words.filter(is_known).filter_map(|at| self.seen(text, at, least));
        seen.next()
    }

    /// The longest stretch of `text` around the word at `at` that also stands in a secret or in one of its
    /// forms. If the stretch is a part of a long secret that the text has whole, this returns the whole
    /// secret. Returns `None` if no stretch is as long as `least` or as the shortest piece. If the word is
    /// part of a signature or of decoded bytes, a stretch of any length counts: no other text has such a word
    /// by chance.
    pub(crate) fn seen(&self, text: &[u8], at: usize, least: usize) -> Option<Range<usize>> {
        let word = word(&text[at..])?;
        let known = |at: &u32| self::word(&self.shown[*at as usize..]);
        let first = self.words.partition_point(|at| known(at) < Some(word));
        let places = self.words[first..]
            .iter()
            .take_while(|at| known(at) == Some(word));
        let mut is_random = false;
        let stretches = places.map(|place| {
            is_random |= self.random.iter().any(|part| part.contains(place));
            let (before, after) = self.shown.split_at(*place as usize);
            let same = |(one, other): &(&u8, &u8)| one == other;
            let before = before
                .iter()
                .rev()
                .zip(text[..at].iter().rev())
                .take_while(same)
                .count();
            at - before..at + after.iter().zip(&text[at..]).take_while(same).count()
        });
        let longest = stretches.max_by_key(ExactSizeIterator::len)?;
        if !is_random && longest.len() < least.min(self.shortest) {
            return None;
        }
        let whole = self.whole(text, at).map(|(_, whole)| whole);
        let is_longer = |whole: &Range<usize>| whole.start <= longest.start && longest.end <= whole.end;
        Some(whole.filter(is_longer).unwrap_or(longest))
    }

    /// The secret of at least [`LONG`] bytes that a text has whole around the word at `at`, and its place.
    pub(crate) fn whole(&self, text: &[u8], at: usize) -> Option<(u32, Range<usize>)> {
        let starts = self.places(word(&text[at..])?);
        let mut whole = starts.filter_map(|place| {
            let start = at.checked_sub(place.at as usize)?;
            let bytes = self.get(place.secret).bytes();
            let is_whole = bytes.len() >= LONG && text[start..].starts_with(bytes);
            is_whole.then(|| (place.secret, start..start + bytes.len()))
        });
        whole.next()
    }

    /// The position at which a secret of at least [`LONG`] bytes begins if all text from there on is a part of
    /// it. `at` is the position of a word in this text.
    pub(crate) fn begun(&self, text: &[u8], at: usize) -> Option<usize> {
        let starts = self.places(word(&text[at..])?);
        let mut begun = starts.filter_map(|place| {
            let start = at.checked_sub(place.at as usize)?;
            let bytes = self.get(place.secret).bytes();
            (bytes.len() >= LONG && bytes.starts_with(&text[start..])).then_some(start)
        });
        begun.next()
    }

    /// Whether all secrets have at least `text` bytes, and all decoded ones `decoded` bytes.
    pub(crate) fn are_at_least(&self, text: usize, decoded: usize) -> bool {
        let is_long = |secret: &Secret| secret.bytes.len() >= if secret.is_binary { decoded } else { text };
        self.list.iter().all(is_long)
    }

    /// The number of bytes of the longest secret.
    pub(crate) fn longest(&self) -> usize {
        let lengths = self.list.iter().map(|secret| secret.bytes.len());
        lengths.max().unwrap_or_default()
    }

    /// The set of words of the secrets themselves.
    pub(crate) fn grams(&self) -> &Grams {
        &self.grams
    }

    /// The least number of secret bytes in a piece of any of these secrets.
    pub(crate) fn shortest(&self) -> usize {
        self.shortest
    }

    /// Whether the secrets and their forms have only the bytes of tokens, except for random bytes.
    pub(crate) fn is_plain(&self) -> bool {
        self.is_plain
    }

    /// Whether each part of [`ANYWHERE`] bytes of the secrets and of their forms has a capital.
    pub(crate) fn are_mixed(&self) -> bool {
        self.are_mixed
    }

    /// The length of the shortest secret.
    pub(crate) fn least(&self) -> usize {
        self.least
    }

    /// The positions in secrets at which this word begins.
    pub(crate) fn places(&self, gram: u64) -> impl Iterator<Item = Place> {
        let word = |place: &Place| place.word(&self.list);
        let first = self.places.partition_point(|place| word(place) < Some(gram));
        let places = self.places[first..].iter().copied();
        places.take_while(move |place| word(place) == Some(gram))
    }

    /// The length of the longest word of a secret, up to 7 bytes, at the end of a text.
    pub(crate) fn short_end(&self, text: &[u8]) -> usize {
        let lengths = 1..=text.len().min(LEAST - 1);
        let is_known = |length: &usize| {
            let end = &text[text.len() - length..];
            let last = &end[end.len().saturating_sub(SHORT_WORD)..];
            // The set also says yes to a few other words, and those must not hold a log back.
            self.ends.has(short_word(last)) && self.list.iter().any(|secret| secret.has_before_end(end))
        };
        lengths.rev().find(is_known).unwrap_or(0)
    }

    /// The least number of secret bytes at the beginning of a piece that the masker holds back even if the
    /// log pauses.
    pub(crate) fn firm(&self) -> usize {
        (self.shortest / 4).clamp(2, 4)
    }
}

impl Secret {
    fn new(text: &str) -> Self {
        let public = public_length(text);
        let starts = jwt(text).map_or(vec![0], |(header, claims, _)| {
            vec![0, header.len() + 1, header.len() + claims.len() + 2]
        });
        Self {
            own: Parts::one(public..text.len()),
            sole: Parts::one(sole_part(text)),
            rare: Parts(iter::once(0..public).chain(rare_parts(text)).collect()),
            starts,
            is_token: text.len() >= JOINED && text.trim_end_matches('=').bytes().all(views::is_token_byte),
            is_binary: false,
            has_signature: jwt(text).is_some(),
            width: 1,
            bytes: text.as_bytes().to_vec().into(),
        }
    }

    /// The decoded signature of a JWT. For a secret that is not a JWT, its bytes decoded from base64 with `+`
    /// and `/`. Leaves out bytes that look like text, or that are fewer than [`ANYWHERE`].
    ///
    /// Many decoders leave out the dots of a JWT, and some also `-` and `_`, without an error: `base64 -di`,
    /// Python's `b64decode`, `Buffer.from` of Node. In what they make of a whole token, the bits of the
    /// signature can begin anywhere in a byte. So there are some decoded secrets, one for each way.
    fn decoded(secret: &str) -> Vec<Self> {
        const SKIPPING: GeneralPurpose = GeneralPurpose::new(
            &base64::alphabet::URL_SAFE,
            GeneralPurposeConfig::new()
                .with_decode_padding_mode(DecodePaddingMode::Indifferent)
                .with_decode_allow_trailing_bits(true),
        );
        let is_base64 = |text: &str| {
            text.bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"+/".contains(&byte))
        };
        let digits = match jwt(secret) {
            Some((_, _, signature)) => signature,
            None => Some(secret.trim_end_matches('='))
                .filter(|text| is_base64(text))
                .unwrap_or_default(),
        };
        let url_safe = |byte| match byte {
            b'+' => b'-',
            b'/' => b'_',
            other => other,
        };
        let digits = Zeroizing::new(digits.bytes().map(url_safe).collect::<Vec<_>>());
        // A vector that grows leaves copies in memory, which nobody wipes.
        let mut few_digits = Zeroizing::new(Vec::with_capacity(digits.len()));
        few_digits.extend(digits.iter().filter(|byte| byte.is_ascii_alphanumeric()));
        let mut texts = vec![&digits];
        texts.extend(Some(&few_digits).filter(|few| few.len() < digits.len()));
        let mut decoded = Vec::new();
        for (text, skipped) in texts
            .into_iter()
            .flat_map(|text| (0..4).map(move |skipped| (text, skipped)))
        {
            let Some(digits) = text.get(skipped..) else {
                continue;
            };
            // One digit more than a multiple of four has too few bits for a byte.
            let whole = digits.len() - usize::from(digits.len() % 4 == 1);
            let bytes = Zeroizing::new(SKIPPING.decode(&digits[..whole]).unwrap_or_default());
            // Decoded text can be ordinary words, which a log has anyway.
            let is_random = bytes.iter().filter(|byte| !byte.is_ascii_graphic()).count() > bytes.len() / 4;
            if bytes.len() >= ANYWHERE && is_random {
                let all = || Parts::one(0..bytes.len());
                decoded.push(Self {
                    own: all(),
                    sole: all(),
                    rare: all(),
                    starts: vec![0],
                    is_token: false,
                    is_binary: true,
                    has_signature: jwt(secret).is_some(),
                    width: 1,
                    bytes,
                });
            }
        }
        decoded
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The signature of a JWT. Empty if the secret is none.
    fn signature(&self) -> &[u8] {
        match *self.starts {
            [_, _, signature] => &self.bytes[signature..],
            _ => &[],
        }
    }

    /// Whether the secret contains these bytes before its last byte, and they are enough to hold a log back.
    fn has_before_end(&self, bytes: &[u8]) -> bool {
        let before_end = &self.bytes[..self.bytes.len() - 1];
        bytes.len() > self.hidden_after() && memchr::memmem::find(before_end, bytes).is_some()
    }

    /// The number of secret bytes in a part.
    pub(crate) fn own(&self, from: usize, to: usize) -> usize {
        self.own.count(from..to)
    }

    /// The number of bytes in a part that no other token has.
    pub(crate) fn sole(&self, from: usize, to: usize) -> usize {
        self.sole.count(from..to)
    }

    /// The number of bytes in a part that other text seldom has.
    pub(crate) fn rare(&self, from: usize, to: usize) -> usize {
        self.rare.count(from..to)
    }

    /// Whether a part is long enough that other text seldom has it by chance.
    pub(crate) fn is_sole(&self, from: usize, to: usize) -> bool {
        self.sole(from, to) >= self.width * LEAST || self.has_rare(from, to, self.width * SEEN)
    }

    /// Whether a part has `count` bytes in a row that other text seldom has.
    fn has_rare(&self, from: usize, to: usize, count: usize) -> bool {
        (from..(to + 1).saturating_sub(count)).any(|at| self.rare(at, at + count) == count)
    }

    /// The number of secret bytes that make a piece: `most`, or all bytes of a shorter secret.
    pub(crate) fn need(&self, most: usize) -> usize {
        (self.width * most).min(self.own(0, self.bytes.len()))
    }

    /// The least number of bytes that the masker masks anywhere in a log. Counts only bytes that no other
    /// token has.
    pub(crate) fn need_of_sole(&self) -> usize {
        let most = match self.is_random() {
            _ if self.has_signature => ANYWHERE_IN_SIGNATURE,
            true => ANYWHERE_IF_BINARY,
            false => ANYWHERE,
        };
        (self.width * most).min(self.sole(0, self.bytes.len()))
    }

    /// Whether the bytes that no other secret has are random: a signature or decoded bytes.
    fn is_random(&self) -> bool {
        self.is_binary || self.has_signature
    }

    /// The number of bytes at the beginning of a piece that the masker does not replace, but that count if they
    /// are of a signature.
    pub(crate) fn counted_before(&self) -> usize {
        if self.has_signature {
            self.hidden_after()
        } else {
            0
        }
    }

    /// The number of bytes at the beginning of a piece that the masker does not replace. Of decoded bytes,
    /// these are two, because a log can have two bytes of a secret in a row by chance.
    pub(crate) fn hidden_after(&self) -> usize {
        if self.is_binary { 2 } else { 0 }
    }

    /// Whether the masker also searches for the secret in text without separators.
    pub(crate) fn is_token(&self) -> bool {
        self.is_token
    }
}

impl Parts {
    fn one(part: Range<usize>) -> Self {
        Self(iter::once(part).collect())
    }

    /// The number of bytes in a stretch of the secret that belong to one of the parts.
    fn count(&self, stretch: Range<usize>) -> usize {
        let common = |part: &Range<usize>| {
            let end = part.end.min(stretch.end);
            end.saturating_sub(part.start.max(stretch.start))
        };
        self.0.iter().map(common).sum()
    }
}

/// The forms of a secret that the first look ([`scan`](crate::scan)) searches for.
fn distinct(forms: Vec<Form>) -> Vec<Form> {
    // `Secrets` has the secret itself. The first look decodes numbers, and lines of base64 are parts of
    // longer base64.
    let is_new = |form: &Form| match form.encoding {
        Encoding::Raw | Encoding::Claims | Encoding::Signature => false,
        Encoding::Hex | Encoding::Base64Line => false,
        Encoding::Base64 | Encoding::Percent | Encoding::Json | Encoding::Xml | Encoding::Shell => true,
    };
    let mut forms: Vec<_> = forms.into_iter().filter(is_new).collect();
    // Base64 with padding also has all words of the same base64 without it.
    forms.sort_by(|one, other| one.secret_part().cmp(other.secret_part()));
    forms.dedup_by(|next, last| {
        let is_longer = next.secret_part().starts_with(last.secret_part());
        if is_longer {
            std::mem::swap(next, last);
        }
        is_longer
    });
    forms
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    use super::*;

    fn token(issued: u64) -> String {
        let claims = format!(r#"{{"exp":{},"iat":{issued}}}"#, issued + 3600);
        let parts = [r#"{"alg":"RS256"}"#, &claims, "a signature of some bytes"];
        parts.map(|part| URL_SAFE_NO_PAD.encode(part)).join(".")
    }

    fn is_known(known: &Known, secret: &str) -> bool {
        let all = known.fixed.iter().chain(&known.learned);
        all.map(|known| known.as_str()).any(|known| known == secret)
    }

    /// A week of renewals. Every token is known while it is valid, and the masker's memory does not grow.
    #[test]
    fn renewed_tokens_are_known_while_they_are_valid() {
        let mut known = Known::new(["the first secret"]);
        for renewal in 0..3000 {
            let now = 1_790_000_000 + 200 * renewal;
            assert!(known.learn(&token(now)));
            known.forget_at(now);
            for valid in 0..=renewal.min(18) {
                assert!(is_known(&known, &token(now - 200 * valid)), "{renewal} {valid}");
            }
            assert!(known.learned.len() <= 32);
        }
        assert!(is_known(&known, "the first secret"));
    }

    #[test]
    fn made_up_secrets_push_out_no_token() {
        let now = 4_000_000_000;
        let mut known = Known::new(["the first secret"]);
        known.learn(&token(now));
        (0..10_000).for_each(|number| {
            known.learn(&format!("made up {number}"));
        });
        known.forget_at(now);
        assert!(is_known(&known, "the first secret"));
        assert!(is_known(&known, &token(now)));
        assert_eq!(known.learned.len(), MOST_LEARNED);
    }
}
