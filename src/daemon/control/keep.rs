//! `keep`: what this device keeps for others and cannot read.

use std::sync::Arc;

use super::super::keeping::Kept;
use super::super::service::Service;
use crate::base::Result;
use crate::wire::control::KeepStatus;

/// All of it.
pub fn list(service: &Arc<Service>) -> Result<Vec<KeepStatus>> {
    service.exchange.keeps().open(&service.exchange)?;
    Ok(service.exchange.keeps().all().iter().map(|kept| kept.status()).collect())
}

/// Change the bytes that one may take; 0 for as many as the disk has.
pub fn set(service: &Arc<Service>, name: &str, quota: Option<u64>) -> Result<KeepStatus> {
    let kept = find(service, name)?;
    if let Some(quota) = quota {
        kept.change(|about| about.quota = (quota > 0).then_some(quota))?;
        service.exchange.tell_room(&kept);
    }
    Ok(kept.status())
}

/// Ask its writers what they need of it, so that the rest goes.
pub fn collect(service: &Arc<Service>, name: &str) -> Result<KeepStatus> {
    service.exchange.keeps().open(&service.exchange)?;
    Ok(service.exchange.keeps().collect(name)?.status())
}

/// Keep it no more.
pub fn remove(service: &Arc<Service>, name: &str) -> Result<bool> {
    let id = find(service, name)?.id;
    service.exchange.keeps().remove(id)?;
    service.exchange.review();
    Ok(true)
}

fn find(service: &Arc<Service>, name: &str) -> Result<Arc<Kept>> {
    service.exchange.keeps().open(&service.exchange)?;
    service.exchange.keeps().named(name)
}
