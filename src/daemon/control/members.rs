//! `members`: who belongs to a volume, and changing that.

use super::super::service::Service;
use crate::base::{Error, Kind, Result};
use crate::seal::membership::{MAX_COPIES, Role};
use crate::wire::Advice;
use crate::wire::control::{CopiesStatus, MemberStatus};

/// Everyone who belongs or did.
pub fn list(service: &Service, volume: &str) -> Result<Vec<MemberStatus>> {
    service.exchange.members(&service.volumes.find(volume)?)
}

/// Put a device out.
pub fn remove(service: &Service, volume: &str, device: &str, force: bool) -> Result<MemberStatus> {
    let known = service.volumes.find(volume)?;
    service.volumes.open(&known)?; // what only a box has is looked for
    service.exchange.remove_member(&known, device, force)
}

/// To how many members that keep without reading each large block goes, 0 for all; with `copies` changed to that.
pub fn copies(service: &Service, volume: &str, copies: Option<u64>) -> Result<CopiesStatus> {
    let known = service.volumes.find(volume)?;
    if let Some(copies) = copies {
        let fits = u8::try_from(copies).ok().filter(|copies| *copies <= MAX_COPIES);
        let advice = || Advice::new(format!("it is `all`, or 1 to {MAX_COPIES}"), "Use one of these.");
        let wrong = || Error::new(Kind::Invalid, "change the copies", copies.to_string()).with_source(advice());
        service.exchange.set_copies(&known, fits.ok_or_else(wrong)?)?;
    }
    let membership = service.volumes.membership(&known)?;
    let table = membership.table();
    let boxes = table.members().filter(|m| m.role == Role::Storage).count() as u64;
    Ok(CopiesStatus { copies: table.copies().into(), boxes })
}

/// Let a device do more or less.
pub fn role(service: &Service, volume: &str, device: &str, role: &str) -> Result<MemberStatus> {
    let advice = || Advice::new("a member's role is admin, writer or reader", "Use one of these.");
    let role = Role::from_name(role).filter(|role| role.reads());
    let role = role.ok_or_else(|| Error::new(Kind::Invalid, "change the role", device).with_source(advice()))?;
    service.exchange.set_role(&service.volumes.find(volume)?, device, role)
}
