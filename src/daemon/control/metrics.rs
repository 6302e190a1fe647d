//! `metrics`: the same figures as `status`, as Prometheus text.

use std::fmt::Write;

use super::super::service::Service;
use crate::base::Result;
use crate::wire::control::Status;

/// Prometheus text exposition of the daemon's figures.
pub fn run(service: &Service) -> Result<String> {
    let memory = resident_bytes().unwrap_or(0);
    Ok(render(&super::status::run(service, false)?, memory))
}

fn render(status: &Status, memory: u64) -> String {
    let mut out = String::new();
    let mut family = |name: &str, kind: &str, help: &str, samples: &[(String, u64)]| {
        // Writing to a string cannot fail.
        let _ = write!(out, "# HELP lovage_{name} {help}\n# TYPE lovage_{name} {kind}\n");
        for (labels, value) in samples {
            let _ = writeln!(out, "lovage_{name}{labels} {value}");
        }
    };
    let one = |value| vec![(String::new(), value)];
    family("uptime_seconds", "gauge", "Seconds since the daemon started.", &one(status.daemon.uptime_s));
    family("resident_memory_bytes", "gauge", "Memory of the daemon.", &one(memory));
    family("sent_bytes_total", "counter", "Bytes sent to peers and stores.", &one(status.daemon.sent_bytes));
    family("received_bytes_total", "counter", "Bytes received.", &one(status.daemon.received_bytes));
    let each = |value: fn(&crate::wire::control::VolumeStatus) -> u64| -> Vec<(String, u64)> {
        status.volumes.iter().map(|v| (format!("{{volume=\"{}\"}}", escape(&v.name)), value(v))).collect()
    };
    family("volume_mounts", "gauge", "Mounts of the volume.", &each(|v| v.mounts.len() as u64));
    family("volume_files", "gauge", "Files in the volume.", &each(|v| v.files));
    family("volume_bytes", "gauge", "Bytes of content in the volume.", &each(|v| v.bytes));
    family("volume_local_bytes", "gauge", "Bytes the volume takes on this device.", &each(|v| v.local_bytes));
    family("volume_dirty_bytes", "gauge", "Bytes written and not yet stored.", &each(|v| v.dirty_bytes));
    out
}

fn escape(label: &str) -> String {
    label.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

fn resident_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find_map(|l| l.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::control::VolumeStatus;

    #[test]
    fn every_family_has_help_type_and_escaped_labels() {
        let volume = VolumeStatus { name: "a\"b".into(), bytes: 7, ..VolumeStatus::default() };
        let text = render(&Status { volumes: vec![volume], ..Status::default() }, 5);
        assert!(text.contains("lovage_volume_bytes{volume=\"a\\\"b\"} 7\n"), "{text}");
        assert!(text.contains("lovage_resident_memory_bytes 5\n"));
        assert_eq!(text.matches("# HELP").count(), text.matches("# TYPE").count());
    }
}
