//! The words that describe a machine's two ways. Must never guess: an unknown word is an error.

use std::net::Ipv4Addr;
use std::time::Duration;

use super::Outcome;

/// One direction. The default limits nothing.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Profile {
    /// Bytes a second; 0: as fast as can be.
    pub rate: u64,
    /// How long every packet is on its way.
    pub delay: Duration,
    /// Up to so much more, evenly spread. Order is kept.
    pub jitter: Duration,
    /// Share of packets that do not arrive, 0 to 1.
    pub loss: f64,
    /// Bytes that may wait for their turn; 0: 100 ms of the rate.
    pub queue: u64,
}

/// Both directions of a machine.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Shape {
    /// From the machine.
    pub up: Profile,
    /// To the machine.
    pub down: Profile,
}

/// `ADDRESS,UP,DOWN`.
pub fn addressed(text: &str) -> Outcome<(Ipv4Addr, Shape)> {
    let words: Vec<&str> = text.split(',').collect();
    let [address, up, down] = words[..] else { return Err(format!("{text}: not ADDRESS,UP,DOWN")) };
    let address = address.parse().map_err(|e| format!("{address}: {e}"))?;
    Ok((address, Shape { up: profile(up)?, down: profile(down)? }))
}

fn profile(text: &str) -> Outcome<Profile> {
    let mut profile = Profile::default();
    for word in text.split(';').filter(|w| !w.is_empty()) {
        let (name, value) = word.split_once('=').ok_or_else(|| format!("{word}: not NAME=NUMBER"))?;
        let number: f64 = value.parse().map_err(|e| format!("{word}: {e}"))?;
        if !(0.0..=1e12).contains(&number) {
            return Err(format!("{word}: out of range"));
        }
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // checked above
        match name {
            "rate" => profile.rate = number as u64,
            "delay" => profile.delay = Duration::from_secs_f64(number / 1e3),
            "jitter" => profile.jitter = Duration::from_secs_f64(number / 1e3),
            "loss" if number <= 100.0 => profile.loss = number / 100.0,
            "queue" => profile.queue = number as u64,
            _ => return Err(format!("{word}: no such word")),
        }
    }
    Ok(profile)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn words_are_read_and_what_is_left_out_does_not_limit() {
        let (address, shape) = addressed("10.0.0.1,rate=25000000;delay=12.5;loss=0.5,").unwrap();
        assert_eq!(address, Ipv4Addr::new(10, 0, 0, 1));
        let up = Profile { rate: 25_000_000, delay: Duration::from_micros(12_500), loss: 0.005, ..Profile::default() };
        assert_eq!(shape, Shape { up, down: Profile::default() });
    }

    #[test]
    fn what_is_not_understood_is_an_error() {
        for text in
            ["10.0.0.1,", "x,,", "10.0.0.1,speed=1,", "10.0.0.1,loss=101,", "10.0.0.1,rate=-1,", "10.0.0.1,rate,"]
        {
            assert!(addressed(text).is_err(), "{text}");
        }
    }
}
