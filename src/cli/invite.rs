//! `lovage invite VOLUME`: a link that lets one device in.

use clap::Args;
use qrcode::render::unicode;
use qrcode::{EcLevel, QrCode};

use super::Outcome;
use super::output;
use super::session::Session;
use crate::base::Kind;
use crate::wire::Failure;
use crate::wire::control::{Invited, Request};

#[derive(Debug, Args)]
pub struct Invite {
    /// Volume to let the device into
    volume: String,
    /// What it may do: writer, reader, admin, or storage (keeps everything and can read nothing)
    #[arg(long, default_value = "writer")]
    role: String,
    /// How long the link is good: 90s, 30m, 24h, 7d
    #[arg(long, default_value = "24h")]
    expires: String,
    /// A store both devices can reach: the other one joins there when this one is not online
    #[arg(long, value_name = "STORE")]
    via: Option<String>,
    /// Also show the link as a QR code on the terminal
    #[arg(long)]
    qr: bool,
}

impl Invite {
    pub fn run(&self, session: &Session<'_>) -> Outcome {
        let seconds = seconds(&self.expires).ok_or_else(|| {
            Failure::new(Kind::Invalid, "invite", &self.expires, "that is no duration")
                .next("Write 90s, 30m, 24h or 7d.")
        })?;
        let request =
            Request::Invite { volume: self.volume.clone(), role: self.role.clone(), seconds, via: self.via.clone() };
        let invited: Invited = output::typed(session.ask_daemon(&request, &mut |_| Ok(()))?)?;
        if session.json() {
            return output::json(&invited);
        }
        output::line(&invited.link)?;
        if self.qr {
            output::line(&picture(&invited.link)?)?;
        }
        let what = if invited.role == "storage" { "lovage join LINK" } else { "lovage join LINK DIR" };
        output::note(&format!(
            "good for one device as {}, for {}. On the other machine: {what}",
            invited.role,
            output::span(seconds)
        ));
        Ok(())
    }
}

/// The link in half blocks, two rows of the code in a line, dark on light whatever the terminal's colours.
fn picture(link: &str) -> Result<String, Failure> {
    let failed = |e: &dyn std::fmt::Display| Failure::new(Kind::TooBig, "draw the link", "", e.to_string());
    // Capital letters and digits take less room, and a link is read in either case.
    let code = QrCode::with_error_correction_level(link.to_uppercase(), EcLevel::L).map_err(|e| failed(&e))?;
    let (dark, light) = (unicode::Dense1x2::Light, unicode::Dense1x2::Dark);
    Ok(code.render::<unicode::Dense1x2>().dark_color(dark).light_color(light).build())
}

/// `90s`, `30m`, `24h`, `7d` in seconds.
fn seconds(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor = match unit {
        "s" => 1,
        "m" | "min" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use super::{picture, seconds};

    #[test]
    fn a_link_fits_a_terminal_as_a_picture() {
        let link = format!("lovage://join/{}", "a2".repeat(160));
        let drawn = picture(&link).unwrap_or_default();
        let width = drawn.lines().map(|line| line.chars().count()).max().unwrap_or(0);
        assert!((40..=100).contains(&width), "{width}");
        assert!(drawn.lines().count() <= width.div_ceil(2) + 1);
    }

    #[test]
    fn durations_are_read_as_people_write_them() {
        assert_eq!(
            [seconds("90s"), seconds("30m"), seconds("24h"), seconds("7d")].map(Option::unwrap_or_default),
            [90, 1800, 86_400, 604_800]
        );
        assert!(["", "24", "h", "-1h", "1.5h", "99999999999999999999d"].into_iter().all(|t| seconds(t).is_none()));
    }
}
