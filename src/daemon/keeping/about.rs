//! What is written here about a kept volume: its name, its quota, where its members were reached. Lines of text.

use std::fs;
use std::path::Path;

use super::super::home::replace_file;
use crate::base::{Context, DeviceId, Error, Kind, Result, hex};
use crate::net::Peer;

/// Most addresses remembered of one device, and most devices.
const MOST_EACH: usize = 8;
const MOST: usize = 256;

/// See the module.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct About {
    /// What people call it here.
    pub name: String,
    /// Most bytes that its blocks may take; none: what the disk has.
    pub quota: Option<u64>,
    /// Where members were reached.
    pub addresses: Vec<(Peer, Vec<String>)>,
}

impl About {
    /// Remember where a member was reached. Nothing is remembered of one that was reached nowhere.
    pub fn reached(&mut self, peer: Peer, mut addresses: Vec<String>) {
        addresses.retain(|address| !address.contains(['\n', '\t']));
        addresses.truncate(MOST_EACH);
        if addresses.is_empty() || self.addresses.iter().any(|known| *known == (peer, addresses.clone())) {
            return;
        }
        self.addresses.retain(|(known, _)| *known != peer);
        self.addresses.truncate(MOST - 1);
        self.addresses.push((peer, addresses));
    }

    /// Replace the file.
    pub fn write(&self, path: &Path) -> Result<()> {
        let quota = self.quota.map(|quota| format!("quota\t{quota}\n")).unwrap_or_default();
        let mut text = format!("name\t{}\n{quota}", self.name);
        for (peer, addresses) in &self.addresses {
            text.extend(["peer\t", &hex(&peer.0), "\t", &addresses.join("\t"), "\n"]);
        }
        replace_file(path, text.as_bytes())
    }

    /// Read the file. [`Kind::Unsupported`] for one with anything else in it.
    pub fn read(path: &Path) -> Result<Self> {
        let shown = || path.display().to_string();
        let text = fs::read_to_string(path).io("read", shown)?;
        let mut about = Self::default();
        for line in text.lines() {
            let unclear = || Error::new(Kind::Unsupported, "read", shown()).with_source(format!("unclear: {line}"));
            about.take(line).ok_or_else(unclear)?;
        }
        Ok(about)
    }

    fn take(&mut self, line: &str) -> Option<()> {
        let mut fields = line.split('\t');
        match fields.next()? {
            "name" => fields.next()?.clone_into(&mut self.name),
            "quota" => self.quota = Some(fields.next()?.parse().ok()?),
            "peer" => {
                let peer = Peer(DeviceId::from_hex(fields.next()?)?.0);
                self.addresses.push((peer, fields.map(str::to_owned).collect()));
            }
            _ => return None,
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("about");
        let mut about = About { name: "alpha".into(), quota: Some(1 << 40), addresses: Vec::new() };
        about.reached(Peer([7; 32]), vec!["/ip4/1.2.3.4/tcp/5".into(), "/ip6/::1/tcp/5".into()]);
        about.reached(Peer([8; 32]), vec!["/ip4/1.2.3.4/tcp/6".into(), "with\ta tab".into()]);
        about.reached(Peer([7; 32]), Vec::new());
        about.write(&path).unwrap();
        assert_eq!(About::read(&path).unwrap(), about);
        assert_eq!(about.addresses.len(), 2);
        fs::write(&path, "name\ta\ncolour\tred\n").unwrap();
        assert_eq!(About::read(&path).unwrap_err().kind(), Kind::Unsupported);
    }
}
