//! Boxes that come and go, in made-up time.
#![allow(clippy::unwrap_used)]

use super::*;

const VOLUME: VolumeId = VolumeId([7; 16]);
const WEEK: Duration = Duration::from_secs(7 * 86_400);

fn places(boxes: &[u8]) -> Places {
    (1, boxes.iter().map(|n| (WriterIndex::from(*n), Place { peer: [*n; 32], class: None })).collect())
}

struct World {
    placing: Placing,
    begin: Instant,
    /// Seconds since the beginning.
    at: u64,
}

impl World {
    fn new(path: PathBuf) -> Self {
        Self { placing: Placing::open(path), begin: Instant::now(), at: 0 }
    }

    /// After so many seconds, with these connected: out of a thousand, how many each of the boxes 1 to 3 should have.
    fn after(&mut self, secs: u64, connected: &[u8]) -> [u64; 3] {
        self.at += secs;
        let moment = Moment {
            secs: 1_000_000_000 + self.at,
            instant: self.begin + Duration::from_secs(self.at),
            connected: connected.iter().map(|n| Peer([*n; 32])).collect(),
            gone_after: WEEK,
        };
        let placement = self.placing.look(VOLUME, places(&[1, 2, 3]), &moment);
        [1, 2, 3].map(|n| placement.share(&[n; 32]).map_or(0, Share::permille))
    }
}

#[test]
fn a_box_that_was_away_for_a_week_gives_its_share_to_the_others_and_gets_it_back() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::new(dir.path().join("boxes"));
    let all = world.after(0, &[1, 2, 3]);
    assert!(all.iter().all(|share| *share > 250), "{all:?}");
    for _ in 0..7 {
        assert_eq!(world.after(86_400, &[1, 2]), all);
    }
    let [one, two, three] = world.after(1, &[1, 2]);
    assert_eq!((three, one > all[0], two > all[1]), (0, true, true));
    assert!(world.placing.standing(&Peer([3; 32])).unwrap().gone);
    assert_eq!(world.after(1, &[1, 2, 3]), all);
}

#[test]
fn a_device_that_was_away_itself_takes_nobody_for_gone_until_it_has_met_somebody_for_a_while() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("boxes");
    let mut world = World::new(path.clone());
    let all = world.after(0, &[1, 2, 3]);
    let mut world = World { at: world.at + 30 * 86_400, ..World::new(path) };
    assert_eq!(world.after(0, &[]), all);
    assert_eq!(world.after(86_400, &[]), all, "nobody is there: it is alone");
    assert_eq!(world.after(1, &[1]), all);
    assert_eq!(world.after(3_599, &[1]), all);
    assert_eq!(world.after(0, &[]), all, "a break");
    assert_eq!(world.after(3_600, &[1]), all);
    assert_eq!(world.after(3_600, &[1])[1..], [0, 0]);
}

#[test]
fn what_was_heard_and_mended_is_known_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("boxes");
    let mut world = World::new(path.clone());
    world.after(0, &[1]);
    let placement = Placement::new(VOLUME, 1, &[1, 2, 3].map(|n| Place { peer: [n; 32], class: None }));
    let (mine, peer) = (*placement.share(&[1; 32]).unwrap(), Peer([1; 32]));
    assert!(world.placing.is_due(&peer, &mine));
    world.placing.mended(&peer, Some(&(now(), mine)));
    world.after(1, &[]);
    let again = Placing::open(path.clone());
    assert!(!again.is_due(&peer, &mine) && !again.is_unmended(&peer, &Share::NONE));
    assert!(again.is_unmended(&peer, &Share::ALL), "it should have more than that");
    assert!(again.is_unmended(&Peer([2; 32]), &mine));
    assert_eq!(again.standing(&peer).unwrap().heard, 1_000_000_000);
    world.placing.mended(&peer, Some(&(now() - MENDED - 1, mine)));
    assert!(world.placing.is_due(&peer, &mine) && !world.placing.is_unmended(&peer, &mine));
    world.placing.mended(&peer, None);
    assert!(world.placing.is_unmended(&peer, &mine));
    fs::write(&path, "nonsense\n0102\t3\t4\n").unwrap();
    assert_eq!(Placing::open(path).standing(&peer), None);
}

#[test]
fn a_box_that_came_in_again_has_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::new(dir.path().join("boxes"));
    world.after(0, &[1]);
    let peer = Peer([1; 32]);
    world.placing.mended(&peer, Some(&(now(), Share::ALL)));
    world.after(1, &[1]);
    assert!(!world.placing.is_unmended(&peer, &Share::ALL));
    let again = vec![(77, Place { peer: peer.0, class: None })];
    let (instant, gone_after) = (world.begin + Duration::from_secs(9), WEEK);
    let moment = Moment { secs: 1_000_000_009, instant, connected: BTreeSet::from([peer]), gone_after };
    world.placing.look(VOLUME, (1, again), &moment);
    assert!(world.placing.is_unmended(&peer, &Share::ALL));
}

#[test]
fn who_is_no_member_any_more_is_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::new(dir.path().join("boxes"));
    world.after(0, &[1]);
    world.placing.told(Peer([9; 32]), Room::default());
    world.after(1, &[1]);
    assert_eq!(world.placing.standing(&Peer([9; 32])), None);
}
