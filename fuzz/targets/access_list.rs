//! See `lovage_fuzz::targets::access_list`.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| lovage_fuzz::targets::access_list(data));
