//! `invite`: a link that lets one device in.

use std::sync::Arc;

use super::super::service::Service;
use super::super::volumes::Known;
use crate::base::{Error, Kind, Result};
use crate::kv::Location;
use crate::seal::membership::Role;
use crate::wire::Advice;
use crate::wire::control::Invited;

/// Longest life of an invite: thirty days, in seconds.
const LONGEST: u64 = 30 * 86_400;

/// The location of a store that the newcomer can reach as well.
fn shared_store(service: &Arc<Service>, known: &Known, name: &str) -> Result<String> {
    let attached = service.exchange.stores().find(known.id, name)?;
    let refuse = |why: &str| {
        let advice = Advice::new(why, "Choose a store that both devices can reach.");
        Err(Error::new(Kind::Invalid, "invite", name).with_source(advice))
    };
    match Location::parse(attached.url())?.for_others(attached.url()) {
        Some(url) if url.len() > 255 => refuse("its location does not fit into a link"),
        None => {
            refuse("only one device at a time can use such a store, or its password would have to go with the link")
        }
        Some(url) => Ok(url),
    }
}

/// Make the link. The volume is open and served from now on.
pub fn run(service: &Arc<Service>, volume: &str, role: &str, seconds: u64, via: Option<&str>) -> Result<Invited> {
    let known = service.volumes.find(volume)?;
    let refuse =
        |kind, why: &str, next: &str| Err(Error::new(kind, "invite", volume).with_source(Advice::new(why, next)));
    let Some(role) = Role::from_name(role) else {
        return refuse(Kind::Invalid, "there is no such role", "Use writer, reader, admin or storage.");
    };
    if seconds == 0 || seconds > LONGEST {
        return refuse(Kind::Invalid, "an invite lives for a second to thirty days", "Use --expires 24h, say.");
    }
    service.volumes.open(&known)?;
    let stores = via.map(|name| shared_store(service, &known, name)).transpose()?;
    let link = service.exchange.invite(&known, role, seconds, stores.into_iter().collect())?;
    Ok(Invited { link: link.text(), role: role.name().into(), expires: link.expires })
}
