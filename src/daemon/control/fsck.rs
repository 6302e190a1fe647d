//! `fsck`: verify everything that is stored.

use super::super::service::Service;
use super::Sink;
use crate::base::Result;
use crate::wire::RawPath;
use crate::wire::control::FsckReport;

/// One report over all volumes asked for; paths are `VOLUME:/path`.
pub fn run(
    service: &Service,
    volume: Option<&str>,
    repair: bool,
    read_data: bool,
    sink: &mut dyn Sink,
) -> Result<FsckReport> {
    let mut sum = FsckReport::default();
    for known in service.volumes.named_or_all(volume)? {
        let open = service.volumes.open(&known)?;
        let mut report = open.verify(repair, read_data, &mut |progress| sink.progress(progress))?;
        for damage in &mut report.unrepairable {
            let prefixed = [known.name.as_bytes(), b":", damage.path.as_bytes()].concat();
            damage.path = RawPath::new(prefixed);
        }
        add(&mut sum, report);
    }
    Ok(sum)
}

fn add(sum: &mut FsckReport, report: FsckReport) {
    sum.checked = sum.checked.saturating_add(report.checked);
    sum.bad = sum.bad.saturating_add(report.bad);
    sum.repaired = sum.repaired.saturating_add(report.repaired);
    sum.unrepairable.extend(report.unrepairable);
}
