//! See `lovage_fuzz::targets::peer`.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| lovage_fuzz::targets::peer(data));
