//! A look at a few numbers between words: times, versions, addresses and identifiers. Most logs have some in
//! each line, and this look needs no list of them.

use super::{DIGITS, decode::may_have_words};
use crate::{
    LEAST,
    classes::{BLOCK, in_a_row, ones, positions},
    secrets::Secrets,
    views::GUID,
};

/// The least number of decimal digits of a word of eight bytes.
const LONG: usize = 10;

/// The digits of a GUID, as one bit for each character.
const GUID_DIGITS: u64 = {
    let (mut bits, mut number) = (0, GUID.len());
    while number > 0 {
        number -= 1;
        bits = bits << (GUID[number] + 1) | ((1 << GUID[number]) - 1);
    }
    bits
};

/// The number of characters of a GUID.
const GUID_LENGTH: usize = 36;

/// Numbers of which no list, table or dump consists. They stand for eight bytes only if all of their digits
/// together do, or if one of them is a word of eight bytes. The last eight bytes of a GUID are in the order
/// of its digits.
pub(super) struct Few {
    /// One bit for each hexadecimal digit of the text, and for each decimal one.
    hex: u64,
    decimal: u64,
}

impl Few {
    /// The numbers of a text of at most 64 bytes. `None` if they may belong to a list or a dump.
    pub(super) fn of(text: &[u8], hex: u64, decimal: u64) -> Option<Self> {
        let starts = hex & !(hex << 1);
        let of_length = |least| in_a_row(hex, least) & starts;
        let words = of_length(4);
        let is_guid = |at: usize| hex >> at & ones(GUID_LENGTH + 1) == GUID_DIGITS;
        let most = if positions(of_length(GUID[0])).any(is_guid) {
            GUID.len()
        } else {
            1
        };
        let is_list = words.count_ones() as usize > most
            || starts.count_ones() as usize >= LEAST && is_regular(text, starts);
        (!is_list).then_some(Self { hex, decimal })
    }

    /// Whether the numbers may stand for a word of a secret. `text` is that of [`of`](Self::of).
    pub(super) fn may_have_words(&self, secrets: &Secrets, text: &[u8]) -> bool {
        let (mut digits, mut count) = ([0; BLOCK], 0);
        if self.hex.count_ones() as usize >= DIGITS {
            // This has no branch for each byte, because a processor could not predict it.
            for (at, byte) in text.iter().enumerate() {
                digits[count] = *byte;
                count += (self.hex >> at & 1) as usize;
            }
        }
        let decimal = in_a_row(self.decimal, LONG) & !(self.decimal << 1);
        may_have_words(secrets, &digits[..count])
            || positions(decimal).any(|at| is_word(secrets, &text[at..]))
    }
}

/// Whether so many separators before numbers are as one of the two before that the numbers can be a list of
/// eight bytes. The separators of a list with indexes alternate.
fn is_regular(text: &[u8], starts: u64) -> bool {
    let (mut latest, mut equal) = ([None; 2], 0);
    for at in positions(starts) {
        let separator = match text[..at] {
            // A minus sign belongs to the number.
            [.., before, b'-'] if !before.is_ascii_hexdigit() => Some(before),
            [.., before] => Some(before),
            [] => None,
        };
        equal += usize::from(separator.is_some() && latest.contains(&separator));
        latest = [latest[1], separator];
    }
    // A list of eight bytes has seven separators. If they alternate, the first two of them have no equal
    // before.
    equal + 3 >= LEAST
}

/// Whether a text begins with a decimal number that is a word of a secret.
fn is_word(secrets: &Secrets, text: &[u8]) -> bool {
    let digits = text.iter().map_while(|byte| char::from(*byte).to_digit(10));
    let value = digits.fold(0_u64, |value, digit| {
        value.wrapping_mul(10).wrapping_add(digit.into())
    });
    [value, value.wrapping_neg()]
        .into_iter()
        .any(|value| secrets.gate().has(value) || secrets.gate().has(value.swap_bytes()))
}
