//! The operations as data. Operands are numbers taken modulo what lives when they run, so that a sequence
//! still means something after steps were left out.

use proptest::prelude::*;

/// One operation; every field is reduced to something that exists, or to a name of a small pool.
#[derive(Debug, Clone)]
pub enum Operation {
    Create { dir: usize, name: usize, mode: u32 },
    Mkdir { dir: usize, name: usize, mode: u32 },
    Mkfifo { dir: usize, name: usize, mode: u32 },
    Symlink { dir: usize, name: usize, target: usize },
    Link { path: usize, dir: usize, name: usize },
    Unlink { path: usize },
    Rmdir { path: usize },
    Rename { path: usize, dir: usize, name: usize },
    RenameOnto { path: usize, onto: usize },
    NoReplace { path: usize, onto: usize },
    Exchange { path: usize, with: usize },
    Write { path: usize, offset: u64, len: usize, seed: u64 },
    Append { path: usize, len: usize, seed: u64 },
    Read { path: usize, offset: u64, len: usize },
    Truncate { path: usize, size: u64 },
    Punch { path: usize, offset: u64, len: u64 },
    Zero { path: usize, offset: u64, len: u64 },
    Allocate { path: usize, offset: u64, len: u64, keep: bool },
    CopyRange { from: usize, to: usize, from_offset: u64, to_offset: u64, len: usize },
    Chmod { path: usize, mode: u32 },
    Chown { path: usize, uid: u32, gid: u32 },
    SetTimes { path: usize, atime: (i64, u32), mtime: (i64, u32) },
    SetXattr { path: usize, name: usize, len: usize, how: u8 },
    GetXattr { path: usize, name: usize },
    RemoveXattr { path: usize, name: usize },
    Stat { path: usize },
    List { dir: usize },
    ReadLink { path: usize },
    Open { path: usize },
    WriteOpen { handle: usize, offset: u64, len: usize, seed: u64 },
    ReadOpen { handle: usize, offset: u64, len: usize },
    TruncateOpen { handle: usize, size: u64 },
    SyncOpen { handle: usize },
    StatOpen { handle: usize },
    Close { handle: usize },
}

/// Offsets and sizes that sit on, beside and far from block borders.
fn offset() -> impl Strategy<Value = u64> {
    prop_oneof![
        4 => 0..200_u64,
        4 => (0..40_u64, 0..3_u64).prop_map(|(block, by)| (block * 4096 + by).saturating_sub(1)),
        3 => 0..300_000_u64,
        1 => 0..3_000_000_u64,
    ]
}

fn len() -> impl Strategy<Value = usize> {
    prop_oneof![1 => Just(0_usize), 5 => 1..300_usize, 4 => 1..20_000_usize, 1 => 1..400_000_usize]
}

fn mode() -> impl Strategy<Value = u32> {
    prop_oneof![3 => Just(0o644_u32), 1 => 0..0o1000_u32, 1 => 0..0o10000_u32]
}

fn time() -> impl Strategy<Value = (i64, u32)> {
    (0..4_000_000_000_i64, 0..1_000_000_000_u32)
}

/// Any operation, those that build more often than those that tear down.
pub fn any() -> impl Strategy<Value = Operation> {
    prop_oneof![4 => namespace(), 4 => content(), 2 => attributes(), 2 => handles()]
}

fn namespace() -> impl Strategy<Value = Operation> {
    use Operation::*;
    let (i, n) = (0..1000_usize, 0..1000_usize);
    prop_oneof![
        6 => (i.clone(), n.clone(), mode()).prop_map(|(dir, name, mode)| Create { dir, name, mode }),
        4 => (i.clone(), n.clone(), mode()).prop_map(|(dir, name, mode)| Mkdir { dir, name, mode }),
        1 => (i.clone(), n.clone(), mode()).prop_map(|(dir, name, mode)| Mkfifo { dir, name, mode }),
        1 => (i.clone(), n.clone(), i.clone()).prop_map(|(dir, name, target)| Symlink { dir, name, target }),
        2 => (i.clone(), i.clone(), n.clone()).prop_map(|(path, dir, name)| Link { path, dir, name }),
        2 => i.clone().prop_map(|path| Unlink { path }),
        1 => i.clone().prop_map(|path| Rmdir { path }),
        3 => (i.clone(), i.clone(), n.clone()).prop_map(|(path, dir, name)| Rename { path, dir, name }),
        2 => (i.clone(), i.clone()).prop_map(|(path, onto)| RenameOnto { path, onto }),
        1 => (i.clone(), i.clone()).prop_map(|(path, onto)| NoReplace { path, onto }),
        1 => (i.clone(), i.clone()).prop_map(|(path, with)| Exchange { path, with }),
        2 => i.clone().prop_map(|dir| List { dir }),
        1 => i.prop_map(|path| ReadLink { path }),
    ]
}

fn content() -> impl Strategy<Value = Operation> {
    use Operation::*;
    let i = 0..1000_usize;
    prop_oneof![
        5 => (i.clone(), offset(), len(), 0..u64::MAX).prop_map(|(path, offset, len, seed)| Write { path, offset, len, seed }),
        2 => (i.clone(), len(), 0..u64::MAX).prop_map(|(path, len, seed)| Append { path, len, seed }),
        3 => (i.clone(), offset(), len()).prop_map(|(path, offset, len)| Read { path, offset, len }),
        2 => (i.clone(), offset()).prop_map(|(path, size)| Truncate { path, size }),
        1 => (i.clone(), offset(), offset()).prop_map(|(path, offset, len)| Punch { path, offset, len }),
        1 => (i.clone(), offset(), offset()).prop_map(|(path, offset, len)| Zero { path, offset, len }),
        1 => (i.clone(), offset(), offset(), proptest::bool::ANY)
            .prop_map(|(path, offset, len, keep)| Allocate { path, offset, len, keep }),
        1 => (i.clone(), i, offset(), offset(), len())
            .prop_map(|(from, to, from_offset, to_offset, len)| CopyRange { from, to, from_offset, to_offset, len }),
    ]
}

fn attributes() -> impl Strategy<Value = Operation> {
    use Operation::*;
    let i = 0..1000_usize;
    prop_oneof![
        1 => (i.clone(), mode()).prop_map(|(path, mode)| Chmod { path, mode }),
        1 => (i.clone(), 0..4_u32, 0..4_u32).prop_map(|(path, uid, gid)| Chown { path, uid, gid }),
        1 => (i.clone(), time(), time()).prop_map(|(path, atime, mtime)| SetTimes { path, atime, mtime }),
        2 => (i.clone(), 0..4_usize, 0..900_usize, 0..6_u8).prop_map(|(path, name, len, how)| SetXattr { path, name, len, how }),
        1 => (i.clone(), 0..4_usize).prop_map(|(path, name)| GetXattr { path, name }),
        1 => (i.clone(), 0..4_usize).prop_map(|(path, name)| RemoveXattr { path, name }),
        2 => i.prop_map(|path| Stat { path }),
    ]
}

fn handles() -> impl Strategy<Value = Operation> {
    use Operation::*;
    let i = 0..1000_usize;
    prop_oneof![
        3 => i.clone().prop_map(|path| Open { path }),
        3 => (i.clone(), offset(), len(), 0..u64::MAX).prop_map(|(handle, offset, len, seed)| WriteOpen { handle, offset, len, seed }),
        2 => (i.clone(), offset(), len()).prop_map(|(handle, offset, len)| ReadOpen { handle, offset, len }),
        1 => (i.clone(), offset()).prop_map(|(handle, size)| TruncateOpen { handle, size }),
        1 => i.clone().prop_map(|handle| SyncOpen { handle }),
        1 => i.clone().prop_map(|handle| StatOpen { handle }),
        1 => i.prop_map(|handle| Close { handle }),
    ]
}
