//! Sizes as people write them: `4096`, `256MiB`, `1 g`. Powers of 1024 whatever the letter's dress.

/// Parse a size in bytes; `None` for anything else, including what does not fit 64 bits.
pub fn parse_size(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let shift = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        "t" | "tb" | "tib" => 40,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(1 << shift)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_people_write_them() {
        let table =
            [("0", 0), ("4096", 4096), ("1k", 1024), (" 256 MiB ", 256 << 20), ("2GB", 2 << 30), ("1TiB", 1 << 40)];
        for (text, bytes) in table {
            assert_eq!(parse_size(text), Some(bytes), "{text}");
        }
    }

    #[test]
    fn what_is_no_size_is_refused() {
        for text in ["", "MiB", "-1", "1.5g", "1 parsec", "99999999999999999999", "18446744073709551615k"] {
            assert_eq!(parse_size(text), None, "{text}");
        }
    }
}
