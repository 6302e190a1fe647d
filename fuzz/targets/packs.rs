//! See `lovage_fuzz::targets::packs`.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| lovage_fuzz::targets::packs(data));
