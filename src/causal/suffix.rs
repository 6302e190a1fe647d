//! Names for what cannot keep its own: `name (conflict DEVICE DATE xxxx).ext`.
//!
//! Must give a valid name for any input, the same on every device.

use super::clock::Stamp;
use crate::base::{Name, limits};

/// Longest device label used, in bytes.
const LABEL: usize = 48;
/// Longest extension kept at the end, in bytes, with its dot.
const EXTENSION: usize = 16;

/// `name` marked as a conflict of `label` at `stamp`; `tag` tells several apart. Directories keep no
/// extension apart. The stem is cut where the whole would exceed 255 bytes.
pub(super) fn conflict_name(name: &Name, label: &str, stamp: Stamp, tag: &str, directory: bool) -> Name {
    let (stem, extension) = if directory { (name.as_bytes(), &[][..]) } else { split(name.as_bytes()) };
    let mark = format!(" (conflict {} {} {tag})", printable(label), date(stamp.time.secs()));
    let room = limits::MAX_NAME.saturating_sub(mark.len() + extension.len());
    let whole = [cut(stem, room), mark.as_bytes(), extension].concat();
    Name::new(&whole).unwrap_or_else(|_| name.clone())
}

/// Before and from the last dot, if what follows looks like an extension.
fn split(name: &[u8]) -> (&[u8], &[u8]) {
    match name.iter().rposition(|b| *b == b'.') {
        Some(at) if at > 0 && name.len() - at <= EXTENSION => name.split_at(at),
        _ => (name, &[]),
    }
}

/// At most `room` bytes, not ending inside a UTF-8 character.
fn cut(stem: &[u8], room: usize) -> &[u8] {
    let mut end = room.min(stem.len());
    while end > 0 && stem.get(end).is_some_and(|b| b & 0xc0 == 0x80) {
        end -= 1;
    }
    stem.get(..end).unwrap_or(&[])
}

fn printable(label: &str) -> String {
    let clean = label.chars().map(|c| if c == '/' || c.is_control() { '-' } else { c });
    clean
        .scan(0, |len, c| Some((std::mem::replace(len, *len + c.len_utf8()) + c.len_utf8(), c)))
        .take_while(|(len, _)| *len <= LABEL)
        .map(|(_, c)| c)
        .collect()
}

/// The UTC date of a moment, `2026-11-20`. After Howard Hinnant, "chrono-compatible low-level date
/// algorithms", `civil_from_days`.
fn date(secs: i64) -> String {
    let days = secs.div_euclid(86_400) + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let (month, carry) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    format!("{:04}-{month:02}-{day:02}", year_of_era + era * 400 + carry)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::base::port::Time;

    fn at(secs: i64) -> Stamp {
        Stamp { time: Time::from_parts(secs, 0), writer: 1 }
    }

    fn named(name: &[u8], label: &str, directory: bool) -> Vec<u8> {
        conflict_name(&Name::new(name).unwrap(), label, at(1_763_596_800), "ab12", directory).as_bytes().to_vec()
    }

    #[test]
    fn the_mark_goes_before_the_extension() {
        assert_eq!(named(b"report.txt", "laptop", false), b"report (conflict laptop 2025-11-20 ab12).txt");
        assert_eq!(named(b".bashrc", "laptop", false), b".bashrc (conflict laptop 2025-11-20 ab12)");
        assert_eq!(named(b"a.b.tar", "x", true), b"a.b.tar (conflict x 2025-11-20 ab12)");
    }

    #[test]
    fn dates_are_right_at_the_corners() {
        for (secs, text) in [
            (0, "1970-01-01"),
            (-1, "1969-12-31"),
            (951_782_400, "2000-02-29"),
            (951_868_800, "2000-03-01"),
            (4_107_542_400, "2100-03-01"),
            (3_471_292_800, "2080-01-01"),
        ] {
            assert_eq!(date(secs), text);
        }
    }

    #[test]
    fn any_name_and_label_give_a_valid_name() {
        let long = "ä".repeat(127);
        for label in ["a/b\0c", "", &"ü".repeat(400)] {
            for name in [long.as_bytes(), &[0xff; 255], b"x", &[b'.'; 255]] {
                let made = named(name, label, false);
                assert!(made.len() <= 255 && !made.contains(&b'/') && !made.contains(&0));
                assert!(made.windows(9).any(|w| w == b"(conflict"), "{made:?}");
            }
        }
        assert!(String::from_utf8(named(long.as_bytes(), "x", false)).is_ok(), "cut between characters");
    }
}
