//! A hundred devices of one volume that gossip, are cut off and crash.

use super::cluster::*;

const DEVICES: usize = 100;

/// Each round every device that is not cut off hears from two others. `None` once all know the same.
fn gossip(c: &Cluster, near: &[bool], random: &mut impl FnMut(u64) -> u64) -> Option<usize> {
    let mut news = 0;
    for to in 0..DEVICES {
        for _ in 0..2 {
            let from = random(DEVICES as u64) as usize;
            if from != to && near[from] && near[to] {
                let merged = c.tell(from, to);
                let fine = !merged.diverged && !merged.equivocated && !merged.set_back && !merged.own_future;
                assert!(fine, "{from} tells {to}: {merged:?}");
                news += 1;
            }
        }
    }
    let first = c.v(0).vector();
    let equal = (1..DEVICES).all(|at| c.v(at).vector() == first);
    (!equal).then_some(news)
}

#[test]
fn a_hundred_devices_agree_within_a_few_rounds_of_gossip() {
    let mut dice = 0x5eed_u64;
    let mut random = move |n: u64| {
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (dice >> 33) % n
    };
    let mut c = Cluster::new(DEVICES);
    let mut near = vec![true; DEVICES];
    for round in 0..4 {
        for at in 0..DEVICES {
            // Some alone, some all under one name.
            match random(4) {
                0 => create(c.v(at), &format!("own-{at}-{round}"), format!("{at} {round}").as_bytes()),
                1 if c.v(at).resolve(b"shared").is_ok() => edit(c.v(at), "shared", format!("{at} {round}").as_bytes()),
                1 => create(c.v(at), "shared", format!("{at} {round}").as_bytes()),
                _ => {}
            }
        }
        // A third is cut off for a while; a few crash.
        near.iter_mut().for_each(|near| *near = random(3) > 0);
        gossip(&c, &near, &mut random);
        for _ in 0..3 {
            let at = random(DEVICES as u64) as usize;
            c.crash(at);
        }
    }
    near.fill(true);
    let mut rounds = 0;
    while gossip(&c, &near, &mut random).is_some() {
        rounds += 1;
        assert!(rounds < 16, "news should reach everybody in about log2 of their number of rounds");
    }
    let (tree, root) = (show(c.v(0)), c.v(0).announce().unwrap().raw.logical);
    assert!(tree.len() > DEVICES / 2, "{}", tree.len());
    for at in 1..DEVICES {
        assert_eq!(c.v(at).announce().unwrap().raw.logical, root, "device {at}");
    }
    for at in [1, 50, 99] {
        assert_eq!(show(c.v(at)), tree, "device {at}");
        c.check(at);
    }
}
