//! File operations, one file each: the tree is the feature list.

mod acl;
mod attr;
mod copy;
mod filesystem;
mod io;
mod link;
mod listing;
mod make;
mod open;
mod rename;
mod space;
mod unlink;
mod xattr;

#[cfg(feature = "fuzzing")]
pub(in crate::volume) use acl::try_access_list;
pub(in crate::volume) use listing::Listings;
