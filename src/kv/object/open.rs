//! From `s3://...`, `sftp://...`, `webdav(s)://...` to a service. Contacts nobody.
//!
//! Secrets come from the environment or the service's usual files. Must never take one from a location.

use std::path::Path;

use opendal::Operator;
use opendal::services::{S3, Sftp, Webdav};

use super::ObjectKv;
use super::index::Index;
use super::service::{Service, failed};
use crate::base::{Error, Kind, Result};

/// A location of a service, taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place<'a> {
    whole: &'a str,
    scheme: &'a str,
    host: &'a str,
    path: &'a str,
    query: &'a str,
}

impl<'a> Place<'a> {
    /// `scheme` and what follows its colon. [`Kind::Invalid`] for an unknown option or a password in it.
    pub fn parse(whole: &'a str, scheme: &'a str, rest: &'a str) -> Result<Self> {
        let invalid = |why: &'static str| Error::new(Kind::Invalid, "understand location", whole).with_source(why);
        let rest = rest.strip_prefix("//").ok_or_else(|| invalid("write SCHEME://HOST/PATH"))?;
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        let place = Self { whole, scheme, host, path, query };
        let known: &[&str] = match scheme {
            "s3" => &["endpoint", "region", "profile"],
            "sftp" => &["key", "known_hosts"],
            _ => &["user"],
        };
        if host.starts_with('-') || place.option("endpoint").is_some_and(|endpoint| endpoint.contains('@')) {
            return Err(Error::new(Kind::Invalid, "understand location", format!("{scheme}://..."))
                .with_source("its host or endpoint is not one"));
        }
        if host.is_empty() {
            return Err(invalid("it names no host or bucket"));
        }
        if host.split_once('@').is_some_and(|(user, _)| user.contains(':')) {
            return Err(Error::new(Kind::Invalid, "understand location", format!("{scheme}://..."))
                .with_source("a location carries no password: give it by the environment or a key file"));
        }
        if place.options().any(|(name, _)| !known.contains(&name)) {
            return Err(invalid("it has an unknown option"));
        }
        Ok(place)
    }

    /// Whether somebody else's word is enough to contact it: no credentials of the environment go there in plain, and
    /// it names no file of ours. `None` otherwise; else without the options that are one device's own.
    pub fn for_others(&self) -> Option<String> {
        match self.scheme {
            "s3" => Some(self.whole.to_owned()),
            "sftp" => Some(self.whole.split('?').next().unwrap_or_default().to_owned()),
            _ => None,
        }
    }

    fn options(&self) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.query.split('&').filter(|o| !o.is_empty()).map(|o| o.split_once('=').unwrap_or((o, "")))
    }

    fn option(&self, name: &str) -> Option<&'a str> {
        self.options().find(|(n, _)| *n == name).map(|(_, value)| value)
    }

    /// The store there; what is known of it is kept in the file `cache`, else in memory. [`Kind::Invalid`] if something
    /// is missing.
    pub fn open(&self, cache: Option<&Path>) -> Result<ObjectKv> {
        // Once in a process; later calls change nothing.
        opendal::install_default();
        let service = match self.scheme {
            "s3" => self.s3(),
            "sftp" => self.sftp(),
            _ => self.webdav(),
        };
        let service = service.map_err(|e| failed("open the store", self.whole, &e))?;
        Ok(ObjectKv::new(Service::new(self.whole.to_owned(), service), Index::open(cache)))
    }

    /// Credentials: `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`, or the usual AWS files.
    fn s3(&self) -> opendal::Result<Operator> {
        let from_env = |name: &str| std::env::var(name).ok();
        let region = self.option("region").map(str::to_owned).or_else(|| from_env("AWS_REGION"));
        let mut s3 = S3::default()
            .bucket(self.host)
            .root(&format!("/{}", self.path))
            .region(&region.unwrap_or_else(|| "us-east-1".to_owned()))
            .disable_ec2_metadata();
        if let Some(endpoint) = self.option("endpoint") {
            s3 = s3.endpoint(endpoint);
        }
        if let Some(profile) = self.option("profile") {
            s3 = s3.profile(profile);
        }
        Operator::new(s3)
    }

    /// Runs `ssh`, with its own configuration, agent and keys.
    fn sftp(&self) -> opendal::Result<Operator> {
        let (user, host) = self.host.split_once('@').unwrap_or(("", self.host));
        let mut sftp = Sftp::default().endpoint(&format!("ssh://{host}")).root(&format!("/{}", self.path));
        if !user.is_empty() {
            sftp = sftp.user(user);
        }
        if let Some(key) = self.option("key") {
            sftp = sftp.key(key);
        }
        Operator::new(sftp.known_hosts_strategy(self.option("known_hosts").unwrap_or("strict")))
    }

    /// User from the location or `LOVAGE_WEBDAV_USER`, password from `LOVAGE_WEBDAV_PASSWORD`.
    fn webdav(&self) -> opendal::Result<Operator> {
        let protocol = if self.scheme == "webdavs" { "https" } else { "http" };
        let (user, host) = self.host.split_once('@').unwrap_or((self.option("user").unwrap_or_default(), self.host));
        let mut webdav = Webdav::default().endpoint(&format!("{protocol}://{host}")).root(&format!("/{}", self.path));
        let user = Some(user.to_owned()).filter(|u| !u.is_empty()).or_else(|| std::env::var("LOVAGE_WEBDAV_USER").ok());
        if let Some(user) = user {
            webdav = webdav.username(&user);
        }
        if let Ok(password) = std::env::var("LOVAGE_WEBDAV_PASSWORD") {
            webdav = webdav.password(&password);
        }
        Operator::new(webdav)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn passwords_unknown_options_and_missing_hosts_are_refused() {
        for rest in ["", "host", "///x", "//u:secret@h/x", "//h/x?secret=1", "//-oProxyCommand=x/y"] {
            let refused = Place::parse("sftp:...", "sftp", rest).unwrap_err();
            assert_eq!(refused.kind(), Kind::Invalid, "{rest}");
            assert!(!refused.chain().contains("u:secret"));
        }
    }

    #[test]
    fn a_location_opens_without_contacting_anyone() {
        let whole = "s3://bucket/prefix?endpoint=http://127.0.0.1:1&region=x";
        let (scheme, rest) = whole.split_once(':').unwrap();
        let kv = Place::parse(whole, scheme, rest).unwrap().open(None).unwrap();
        assert_eq!(crate::kv::Kv::name(&kv), whole);
    }
}
