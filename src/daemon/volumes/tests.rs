//! Names, keys and directories of volumes, without opening any.
#![allow(clippy::unwrap_used)]

use super::super::keys::{self, PassphraseSource};
use super::*;

fn volumes(home: &Home) -> Arc<Volumes> {
    let keystore = keys::open_or_create(home, &PassphraseSource::Given(None)).unwrap();
    {
        let exchange = Exchange::new(home.clone(), crate::daemon::exchange::NetSettings::none());
        Volumes::new(home.clone(), Config::default(), keystore, exchange)
    }
}

fn home() -> (tempfile::TempDir, Home) {
    let dir = tempfile::tempdir().unwrap();
    let home = Home::at(dir.path()).unwrap();
    (dir, home)
}

#[test]
fn a_volume_is_found_by_name_and_by_id_also_by_the_next_process() {
    let (_dir, home) = home();
    let made = volumes(&home).create("photos", Dedup::Volume, Chunking::Cdc).unwrap();
    let later = volumes(&home);
    assert_eq!(later.find("photos").unwrap(), made);
    assert_eq!(later.find(&made.id.to_string()).unwrap(), made);
    assert_eq!(later.list().unwrap(), [made]);
}

#[test]
fn only_the_default_volume_is_made_by_asking_for_it() {
    let (_dir, home) = home();
    let volumes = volumes(&home);
    let error = volumes.find_or_make_default("photos").unwrap_err();
    assert_eq!(error.kind(), Kind::NotFound);
    assert!(error.chain().contains("lovage volume create photos"), "{}", error.chain());
    let made = volumes.find_or_make_default(DEFAULT).unwrap();
    assert_eq!(volumes.find_or_make_default(DEFAULT).unwrap(), made);
}

#[test]
fn a_name_is_taken_once() {
    let (_dir, home) = home();
    let volumes = volumes(&home);
    volumes.create("a", Dedup::Off, Chunking::Fixed).unwrap();
    assert_eq!(volumes.create("a", Dedup::Off, Chunking::Fixed).unwrap_err().kind(), Kind::Exists);
    volumes.create("b", Dedup::Off, Chunking::Fixed).unwrap();
    let names: Vec<_> = volumes.list().unwrap().into_iter().map(|k| k.name).collect();
    assert_eq!(names, ["a", "b"]);
}

#[test]
fn what_could_be_a_path_or_an_option_is_no_name() {
    for bad in ["", "-x", ".", "..", ".hidden", "a/b", "a:b", "a b", "x\n", &"n".repeat(65)] {
        assert_eq!(check_name(bad).unwrap_err().kind(), Kind::Invalid, "{bad:?}");
    }
    for good in ["default", "Fotos-2026", "größe", "a.b_c"] {
        check_name(good).unwrap();
    }
}

#[test]
fn forgetting_removes_keys_and_content() {
    let (_dir, home) = home();
    let volumes = volumes(&home);
    let known = volumes.create("old", Dedup::Volume, Chunking::Cdc).unwrap();
    assert!(home.volume(known.id).exists());
    volumes.forget(&known).unwrap();
    assert!(!home.volume(known.id).exists());
    assert_eq!(volumes.find("old").unwrap_err().kind(), Kind::NotFound);
    assert!(self::volumes(&home).list().unwrap().is_empty());
}

#[test]
fn a_volume_whose_name_is_lost_is_still_there_under_its_id() {
    let (_dir, home) = home();
    let volumes = volumes(&home);
    let known = volumes.create("x", Dedup::Volume, Chunking::Cdc).unwrap();
    fs::remove_file(home.volume(known.id).join("name")).unwrap();
    assert_eq!(volumes.list().unwrap()[0].name, known.id.to_string());
    assert_eq!(volumes.find(&known.id.to_string()).unwrap().id, known.id);
}
