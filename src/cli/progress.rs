//! A progress bar on standard error, when that is a terminal; otherwise silence.

use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::wire::control::Progress;

/// The bar of one piece of work; gone when dropped.
#[derive(Debug)]
pub struct Bar {
    bar: ProgressBar,
}

impl Bar {
    /// A bar that appears with its first report. `wanted` false (as with `--json`) never shows one.
    pub fn new(wanted: bool) -> Self {
        let bar = ProgressBar::no_length();
        if !wanted || !std::io::stderr().is_terminal() {
            bar.set_draw_target(ProgressDrawTarget::hidden());
        }
        Self { bar }
    }

    /// Show a report. A total smaller than what is done counts as unknown.
    pub fn show(&self, report: &Progress) {
        let total = report.total.filter(|total| *total >= report.done);
        if let Ok(style) = ProgressStyle::with_template(template(total.is_some(), report.bytes)) {
            self.bar.set_style(style);
        }
        match total {
            Some(total) => self.bar.set_length(total),
            None => self.bar.unset_length(),
        }
        self.bar.set_message(report.stage.clone());
        self.bar.set_position(report.done);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

fn template(known: bool, bytes: bool) -> &'static str {
    match (known, bytes) {
        (true, true) => "{msg} {wide_bar} {bytes} of {total_bytes}, {binary_bytes_per_sec}, {eta} left",
        (true, false) => "{msg} {wide_bar} {human_pos} of {human_len}, {eta} left",
        (false, true) => "{msg} {spinner} {bytes} of unknown, {binary_bytes_per_sec}",
        (false, false) => "{msg} {spinner} {human_pos} of unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_shows_a_total_or_says_unknown_and_never_runs_over() {
        let bar = Bar::new(false);
        let report = |done, total| Progress { stage: "reading".into(), done, total, bytes: true };
        bar.show(&report(5, Some(10)));
        assert_eq!((bar.bar.position(), bar.bar.length()), (5, Some(10)));
        bar.show(&report(15, Some(10)));
        assert_eq!((bar.bar.position(), bar.bar.length()), (15, None));
        bar.show(&report(16, None));
        assert_eq!(bar.bar.length(), None);
    }
}
