//! File operations, one file each: the tree is the feature list.

mod attr;
mod link;
mod listing;
mod make;
mod rename;
mod unlink;
mod xattr;
mod acl;
mod io;
mod space;
mod copy;
mod open;
mod filesystem;
