//! `members`: who belongs to a volume, and changing that.

use super::super::service::Service;
use crate::base::{Error, Kind, Result};
use crate::seal::membership::Role;
use crate::wire::Advice;
use crate::wire::control::MemberStatus;

/// Everyone who belongs or did.
pub fn list(service: &Service, volume: &str) -> Result<Vec<MemberStatus>> {
    service.exchange.members(&service.volumes.find(volume)?)
}

/// Put a device out.
pub fn remove(service: &Service, volume: &str, device: &str) -> Result<MemberStatus> {
    service.exchange.remove_member(&service.volumes.find(volume)?, device)
}

/// Let a device do more or less.
pub fn role(service: &Service, volume: &str, device: &str, role: &str) -> Result<MemberStatus> {
    let advice = || Advice::new("a member's role is admin, writer or reader", "Use one of these.");
    let role = Role::from_name(role).filter(|role| role.reads());
    let role = role.ok_or_else(|| Error::new(Kind::Invalid, "change the role", device).with_source(advice()))?;
    service.exchange.set_role(&service.volumes.find(volume)?, device, role)
}
