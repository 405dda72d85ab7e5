//! The judge of a log: reads a secret back from what the log shows, like a person with standard tools.
//!
//! The judge does not depend on the mask. It applies the standard decoders in `decode` to the log, and then
//! to each reading that a decoder returned, up to `DEPTH` decoders in a row. It searches every reading for
//! pieces of the secret. Tests ask it whether a masked log still gives the secret away.

mod bytes;
mod decode;
mod numbers;
mod pieces;
#[cfg(test)]
mod tests;
mod text;

use std::{
    collections::{HashSet, VecDeque},
    fmt,
    hash::{DefaultHasher, Hash as _, Hasher as _},
};

use decode::DECODERS;
use pieces::Pieces;

/// The number of decoders that a person applies one after the other.
const DEPTH: usize = 3;
/// The least number of secret characters in a log for the verdict [`Verdict::Partial`].
const SOME: usize = 24;
/// The share of the secret that is as good as the whole secret, in percent.
const USABLE: usize = 70;
/// The length of the shortest reading that can contain a piece of the secret, in bytes.
const SHORTEST: usize = 8;

/// The judge's answer, from harmless to harmful.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// The log shows fewer than `SOME` characters and less than `USABLE` percent of the secret.
    Nothing,
    /// The log shows at least `SOME` characters, but less than `USABLE` percent of the secret.
    Partial,
    /// The log shows at least `USABLE` percent of the secret.
    Usable,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nothing => "nothing",
            Self::Partial => "partial",
            Self::Usable => "usable",
        })
    }
}

/// The verdict, and its reason.
#[derive(Clone, Debug)]
pub struct Finding {
    pub verdict: Verdict,
    /// The share of the secret that the log shows, in percent.
    pub share: usize,
    /// The decoders that led to the reading with the most new characters of the secret. Empty if the log
    /// itself has the most.
    pub how: Vec<&'static str>,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let how = self
            .how
            .iter()
            .fold("plain".to_owned(), |how, decoder| format!("{how}, {decoder}"));
        write!(f, "{}, {} % by: {how}", self.verdict, self.share)
    }
}

/// Looks for one secret in logs. Of a JWT, only the signature counts, because nobody can use the rest without
/// the signature.
pub struct Judge {
    pieces: Pieces,
}

impl Judge {
    pub fn new(secret: &str) -> Self {
        let is_jwt = secret.starts_with("eyJ") && secret.split('.').count() == 3;
        let signature = secret.rsplit('.').next().filter(|_| is_jwt);
        Self {
            pieces: Pieces::of(signature.unwrap_or(secret), is_jwt),
        }
    }

    /// Reads a log.
    pub fn read(&self, log: &[u8]) -> Finding {
        let mut covered = self.pieces.nothing();
        let mut best = (0, Vec::new());
        let mut seen = HashSet::new();
        let mut readings = VecDeque::from([(log.to_vec(), Vec::new())]);
        while let Some((reading, how)) = readings.pop_front() {
            let new = self.pieces.find(&reading, &mut covered);
            if new > best.0 {
                best = (new, how.clone());
            }
            if self.share(&covered) >= USABLE {
                break;
            }
            if how.len() == DEPTH || !bytes::is_text(&reading) {
                continue;
            }
            for (name, decode) in DECODERS {
                for decoded in decode(&reading) {
                    if decoded.len() >= SHORTEST && decoded != reading && seen.insert(fingerprint(&decoded)) {
                        let how = how.iter().copied().chain([*name]).collect();
                        readings.push_back((decoded, how));
                    }
                }
            }
        }
        let characters = covered.iter().filter(|covered| **covered).count();
        let share = self.share(&covered);
        let verdict = match characters {
            _ if share >= USABLE => Verdict::Usable,
            SOME.. => Verdict::Partial,
            _ => Verdict::Nothing,
        };
        Finding {
            verdict,
            share,
            how: best.1,
        }
    }

    fn share(&self, covered: &[bool]) -> usize {
        covered.iter().filter(|covered| **covered).count() * 100 / covered.len().max(1)
    }
}

fn fingerprint(reading: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    reading.hash(&mut hasher);
    hasher.finish()
}
