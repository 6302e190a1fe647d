//! Three machines, cut, killed and healed: one root in the end.

use std::fs;

use fstests::harness::device::{Device, until, until_equal};
use fstests::harness::lan::Lan;

#[test]
fn three_machines_are_cut_killed_and_healed_and_agree() {
    let Some(lan) = Lan::new(3) else { return };
    let mut all = [Device::new(&lan, 0, "alpha"), Device::new(&lan, 1, "beta"), Device::new(&lan, 2, "gamma")];
    all[0].mount("default");
    for n in 1..3 {
        let link = all[0].invite("default", &[]);
        all[n].join(&link);
    }
    let name = |who: usize, what: usize| format!("file-{who}-{what}");
    for (who, device) in all.iter().enumerate() {
        (0..5).for_each(|what| fs::write(device.at(&name(who, what)), name(who, what)).unwrap());
    }
    until_equal(&[&all[0], &all[1], &all[2]]);
    // Everyone alone; the first dies in the middle of its work.
    (0..3).for_each(|n| lan.cable(n, false));
    for (who, device) in all.iter().enumerate() {
        (5..10).for_each(|what| fs::write(device.at(&name(who, what)), name(who, what)).unwrap());
        fs::write(device.at("contested"), name(who, 99)).unwrap();
        fs::rename(device.at(&name(who, 0)), device.at(&format!("moved-{who}"))).unwrap();
        fs::remove_file(device.at(&name((who + 1) % 3, 1))).unwrap();
    }
    let file = fs::File::open(all[0].at("contested")).unwrap();
    file.sync_all().unwrap();
    drop(file);
    all[0].run(&["status"]).done();
    rustix::fs::syncfs(fs::File::open(all[0].dir()).unwrap()).unwrap();
    all[0].kill();
    lan.cable(2, true);
    lan.cable(1, true);
    lan.cable(0, true);
    all[0].mount("default");
    until("everyone has everything", || {
        all.iter().all(|device| (0..3).all(|who| (5..10).all(|what| device.at(&name(who, what)).exists())))
    });
    until_equal(&[&all[0], &all[1], &all[2]]);
    for device in &all {
        let versions = fs::read_dir(device.dir()).unwrap().map(|e| e.unwrap().path());
        let versions: Vec<_> = versions.filter(|p| p.to_string_lossy().contains("contested")).collect();
        let mut texts: Vec<_> = versions.iter().map(|p| fs::read_to_string(p).unwrap()).collect();
        texts.sort();
        assert_eq!(texts, (0..3).map(|who| name(who, 99)).collect::<Vec<_>>(), "every version is there");
        for who in 0..3 {
            assert!(device.at(&format!("moved-{who}")).exists());
            assert!(!device.at(&name(who, 1)).exists(), "removed everywhere");
        }
    }
}
