//! Sequences that once parted the two, shrunk and named.

use fstests::harness::place::Place;
use fstests::harness::scratch::Scratch;

use crate::compare;
use crate::operation::Operation::{self, *};

fn same(name: &str, operations: &[Operation]) {
    let (place, local) = (Place::new(name), Scratch::new(name));
    compare(&place, &local, operations, "case").unwrap_or_else(|why| panic!("{why}"));
}

#[test]
fn a_write_through_a_handle_shows_under_the_new_name() {
    same(
        "renamed",
        &[
            Create { dir: 0, name: 0, mode: 0o644 },
            Open { path: 1 },
            WriteOpen { handle: 0, offset: 10, len: 5_000, seed: 1 },
            Rename { path: 1, dir: 0, name: 1 },
            WriteOpen { handle: 0, offset: 4_000, len: 3_000, seed: 2 },
            Read { path: 1, offset: 0, len: 10_000 },
            Unlink { path: 1 },
            ReadOpen { handle: 0, offset: 0, len: 10_000 },
            StatOpen { handle: 0 },
        ],
    );
}

#[test]
fn exchanged_directories_swap_what_is_in_them() {
    same(
        "exchanged",
        &[
            Mkdir { dir: 0, name: 0, mode: 0o755 },
            Mkdir { dir: 0, name: 1, mode: 0o700 },
            Create { dir: 1, name: 2, mode: 0o600 },
            Exchange { path: 1, with: 2 },
            List { dir: 1 },
            List { dir: 2 },
            Exchange { path: 1, with: 3 },
        ],
    );
}

#[test]
fn a_change_of_owner_by_root_takes_setgid_from_an_executable_file() {
    same("chown", &[Create { dir: 0, name: 0, mode: 0o3130 }, Chown { path: 1, uid: 0, gid: 0 }, Stat { path: 1 }]);
}
