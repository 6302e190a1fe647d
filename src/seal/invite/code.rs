//! Bytes as text that people copy: base32 with a check value, and words that two people compare aloud.
//!
//! Must never take a mistyped text for another one.

use crate::base::hash;

const LETTERS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
const CHECK: usize = 4;

/// Base32 (RFC 4648 letters, lower case, no padding) of `bytes` and the first four bytes of their hash.
pub fn encode(bytes: &[u8]) -> String {
    let sum = hash(&[b"lovage link", bytes]);
    let mut out = String::new();
    let (mut held, mut bits) = (0_u32, 0);
    for byte in bytes.iter().chain(sum.iter().take(CHECK)) {
        held = held << 8 | u32::from(*byte);
        bits += 8;
        while bits >= 5 {
            bits -= 5;
            out.push(letter(held >> bits & 31));
        }
        held &= (1 << bits) - 1;
    }
    if bits > 0 {
        out.push(letter(held << (5 - bits) & 31));
    }
    out
}

/// Undo [`encode`], in either case; `None` if a character is wrong or missing.
pub fn decode(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let (mut held, mut bits) = (0_u32, 0);
    for c in text.bytes() {
        let value = LETTERS.iter().position(|l| *l == c.to_ascii_lowercase())?;
        held = held << 5 | u32::try_from(value).ok()?;
        bits += 5;
        if bits >= 8 {
            bits -= 8;
            out.push(u8::try_from(held >> bits & 0xff).ok()?);
        }
        held &= (1 << bits) - 1;
    }
    let at = out.len().checked_sub(CHECK)?;
    let sum = out.split_off(at);
    let right = hash(&[b"lovage link", &out]);
    let canonical = held == 0 && bits < 5 && right.get(..CHECK) == Some(sum.as_slice());
    canonical.then_some(out)
}

fn letter(value: u32) -> char {
    let at = usize::try_from(value).unwrap_or(0);
    LETTERS.get(at).copied().map_or('a', char::from)
}

/// Six pronounceable words (proquints) that stand for 96 bits: consonant, vowel, consonant, vowel, consonant.
pub fn words(bytes: &[u8; 12]) -> String {
    let (pairs, _) = bytes.as_chunks::<2>();
    let spoken: Vec<String> = pairs.iter().map(|pair| word(u16::from_be_bytes(*pair))).collect();
    spoken.join("-")
}

fn word(value: u16) -> String {
    const CONSONANTS: &[u8; 16] = b"bdfghjklmnprstvz";
    const VOWELS: &[u8; 4] = b"aiou";
    let consonant = |shift: u32| CONSONANTS.get(usize::from(value >> shift & 15));
    let vowel = |shift: u32| VOWELS.get(usize::from(value >> shift & 3));
    let letters = [consonant(12), vowel(10), consonant(6), vowel(4), consonant(0)];
    letters.into_iter().flatten().copied().map(char::from).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn bytes_come_back_in_either_case(bytes: Vec<u8>) {
            let text = encode(&bytes);
            assert_eq!(decode(&text).unwrap(), bytes);
            assert_eq!(decode(&text.to_uppercase()).unwrap(), bytes);
        }

        #[test]
        fn a_changed_swapped_or_missing_character_is_noticed(bytes: [u8; 20], at in 0..38_usize) {
            let text = encode(&bytes);
            let mut letters: Vec<char> = text.chars().collect();
            letters[at] = if letters[at] == 'a' { 'b' } else { 'a' };
            assert!(decode(&letters.iter().collect::<String>()).is_none());
            let mut letters: Vec<char> = text.chars().collect();
            letters.swap(at, at - usize::from(at > 0));
            assert!(letters.iter().collect::<String>() == text || decode(&letters.iter().collect::<String>()).is_none());
            assert!(decode(&text[..at]).is_none());
        }

        #[test]
        fn no_text_makes_the_decoder_panic(text: String) {
            let _ = decode(&text);
        }
    }

    #[test]
    fn words_are_the_known_proquints() {
        assert_eq!(word(0x7f00), "lusab");
        assert_eq!(word(0x0001), "babad");
        assert_eq!(
            words(&[0x7f, 0, 0, 1, 0x3f, 0x54, 0xdc, 0xc1, 0, 0, 0xff, 0xff]),
            "lusab-babad-gutih-tugad-babab-zuzuz"
        );
    }
}
