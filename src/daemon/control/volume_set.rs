//! `volume set`: what a person asks of one volume on this device.

use super::super::policy::{MOST_REPLICAS, Policy};
use super::super::service::Service;
use crate::base::{Error, Kind, Result};
use crate::wire::Advice;
use crate::wire::control::VolumeStatus;

/// Change what is given; 0 replicas: as the configuration says.
pub fn run(service: &Service, name: &str, replicas: Option<u64>, lazy: Option<bool>) -> Result<VolumeStatus> {
    let known = service.volumes.find(name)?;
    if let Some(count) = replicas.filter(|count| *count > MOST_REPLICAS as u64) {
        let advice = Advice::new(format!("{count} is too many"), "Give 1 to 16, or `default`.");
        return Err(Error::new(Kind::Invalid, "set replicas", name).with_source(advice));
    }
    service.volumes.change_policy(&known, &|policy: &mut Policy| {
        if let Some(count) = replicas {
            policy.replicas = usize::try_from(count).ok().filter(|count| *count > 0);
        }
        policy.lazy = lazy.or(policy.lazy);
    })?;
    super::status::volume(service, &known, false)
}
