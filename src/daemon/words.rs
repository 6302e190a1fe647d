//! Figures and states in words for people: what the command line and `/.lovage/status` both say.
//!
//! Pure. Must never print.

use crate::wire::control::{CollectionStatus, KeepStatus, KeeperStatus, PeerStatus, Status, StoreStatus, VolumeStatus};

/// Bytes for people: `1.5 GiB`.
#[allow(clippy::cast_precision_loss)] // three digits are shown
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1023.95 && unit < 5 {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS.get(unit).unwrap_or(&"EiB"))
}

/// A duration for people: `2 d 3 h`.
pub fn span(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        3600..86400 => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{} d {} h", seconds / 86400, seconds % 86400 / 3600),
    }
}

/// A name as one line of a terminal can show it: control characters escaped.
pub fn printable(name: &str) -> String {
    name.chars().flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect()
}

/// Bytes a second sent to and received from a peer, by its id.
pub type Rates<'r> = &'r dyn Fn(&str) -> Option<(u64, u64)>;

/// What the daemon does, in lines; with `rates` also how fast.
pub fn describe(status: &Status, rates: Rates<'_>) -> String {
    let daemon = &status.daemon;
    let mut out = format!(
        "daemon   process {}, version {}, up {}\nhome     {}\n",
        daemon.pid,
        daemon.version,
        span(daemon.uptime_s),
        daemon.home
    );
    for volume in &status.volumes {
        out.push_str(&describe_volume(volume));
    }
    for peer in &status.peers {
        out.push_str(&describe_peer(peer, rates(&peer.id)));
    }
    for store in &status.stores {
        out.push_str(&describe_store(store));
    }
    for kept in &status.keeps {
        out.push_str(&describe_kept(kept));
    }
    if status.volumes.is_empty() && status.keeps.is_empty() {
        out.push_str("volumes  none\n");
    }
    out
}

/// How far the collection of a store is.
pub fn collected(name: &str, status: &CollectionStatus) -> String {
    let name = if name.is_empty() { String::new() } else { format!("{}: ", printable(name)) };
    let by = printable(&status.by);
    let waiting: Vec<_> = status.waiting.iter().map(|device| printable(device)).collect();
    let said = match status.state.as_str() {
        "waiting" => format!(
            "waiting for {}: each says what it needs when it next looks into this store (attach it there, or remove the \
             member); then it goes on by itself",
            waiting.join(", ")
        ),
        "sweeping" if by.is_empty() => format!("removing, {} of {} blocks", status.blocks, status.of),
        "done" => format!("collected {} blocks, {} freed", status.blocks, size(status.bytes)),
        "orphaned" => {
            format!("{by} was put out while it removed; when it surely runs no more, go on with `store gc --take-over`")
        }
        "asking" if status.owed => format!("{by} collects, and waits for this device"),
        "asking" => format!("{by} collects, and waits for others"),
        _ => format!("{by} collects"),
    };
    let trouble = if status.trouble.is_empty() {
        String::new()
    } else {
        format!("; this device cannot tell what it needs: {}", printable(&status.trouble))
    };
    format!("{name}{said}{trouble}")
}

/// One line about a store.
fn describe_store(store: &StoreStatus) -> String {
    let (stored, queued) = (size(store.stored_bytes), size(store.queue_bytes));
    let state = printable(&store.state);
    let collection = store.collection.as_ref().map(|c| format!("; {}", collected("", c))).unwrap_or_default();
    let name = printable(&store.name);
    format!("store    {name} of {}: {stored} stored, {queued} queued; {state}{collection}\n", store.volume)
}

/// One line about a volume that is kept for others.
fn describe_kept(kept: &KeepStatus) -> String {
    let quota = kept.quota_bytes.map(|quota| format!(" of {}", size(quota))).unwrap_or_default();
    let (name, used, state) = (printable(&kept.name), size(kept.used_bytes), printable(&kept.state));
    format!("kept     {name} for {} devices: {used}{quota}; {state}\n", kept.devices)
}

fn describe_peer(peer: &PeerStatus, rates: Option<(u64, u64)>) -> String {
    let how = if peer.connected {
        format!("connected by {}, {:.1} ms", peer.transport, peer.rtt_ms)
    } else {
        "away".to_owned()
    };
    let (sent, received) = (size(peer.sent_bytes), size(peer.received_bytes));
    let address = peer.addresses.first().map(|a| format!(" at {a}")).unwrap_or_default();
    let rates = rates.map(|(out, back)| format!(", {}/s out, {}/s in", size(out), size(back))).unwrap_or_default();
    format!("peer     {} {how}{address}; {sent} sent, {received} received{rates}\n", printable(&peer.device))
}

fn describe_keeper(keeper: &KeeperStatus) -> String {
    let state = match keeper.state.as_str() {
        "ok" => "has all that it should",
        state => state,
    };
    let share = match keeper.share_percent {
        100 => String::new(),
        percent => format!(", {percent} % of large blocks"),
    };
    let room = keeper.room_bytes.map(|room| format!(" of {}", size(room))).unwrap_or_default();
    let used = keeper.used_bytes.map(|used| format!(", {} used{room}", size(used))).unwrap_or_default();
    let (device, state, queued) = (printable(&keeper.device), printable(state), size(keeper.queue_bytes));
    format!("kept by {device}: {state}, {queued} queued{share}{used}")
}

fn describe_volume(volume: &VolumeStatus) -> String {
    let mounts: Vec<_> = volume.mounts.iter().map(ToString::to_string).collect();
    let mounts = if mounts.is_empty() { "not mounted".to_owned() } else { format!("on {}", mounts.join(", ")) };
    let mut out = format!("volume   {} {mounts}\n", volume.name);
    if volume.open {
        let (bytes, local) = (size(volume.bytes), size(volume.local_bytes));
        let (dirty, pad) = (size(volume.dirty_bytes), " ".repeat(9));
        let counts = format!("{pad}{} files, {bytes}; {local} stored here, {dirty} waiting to be stored", volume.files);
        out = format!("{out}{counts}\n{pad}root {}\n", volume.root);
        if volume.full {
            let garbage = size(volume.garbage_bytes);
            let how = "make room on the home's disk, or remove files here and run `lovage gc`";
            out = format!("{out}{pad}THE DISK IS FULL: writes are refused; {how} (it would free {garbage})\n");
        }
        for keeper in &volume.keepers {
            out = format!("{out}{pad}{}\n", describe_keeper(keeper));
        }
        if volume.damage > 0 {
            out = format!("{out}{pad}DAMAGE in {} places: run `lovage fsck`\n", volume.damage);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_and_damage_are_told_of_and_their_absence_is_not() {
        let fine = VolumeStatus { open: true, ..VolumeStatus::default() };
        let ill = VolumeStatus { full: true, damage: 3, garbage_bytes: 1 << 20, ..fine.clone() };
        let (fine, ill) = (describe_volume(&fine), describe_volume(&ill));
        assert!(!fine.contains("FULL") && !fine.contains("DAMAGE"), "{fine}");
        assert!(ill.contains("THE DISK IS FULL") && ill.contains("it would free 1.0 MiB"), "{ill}");
        assert!(ill.contains("DAMAGE in 3 places"), "{ill}");
    }

    #[test]
    fn a_box_is_told_of_with_its_share_and_what_it_uses() {
        let whole =
            KeeperStatus { device: "x".into(), state: "ok".into(), share_percent: 100, ..KeeperStatus::default() };
        assert_eq!(describe_keeper(&whole), "kept by x: has all that it should, 0 B queued");
        let (room_bytes, used_bytes) = (Some(2 << 30), Some(1 << 20));
        let part = KeeperStatus { share_percent: 67, room_bytes, used_bytes, ..whole.clone() };
        let said = "kept by x: has all that it should, 0 B queued, 67 % of large blocks, 1.0 MiB used of 2.0 GiB";
        assert_eq!(describe_keeper(&part), said);
        assert!(describe_keeper(&KeeperStatus { state: "away".into(), ..part }).contains("x: away"));
    }
}
