//! See `lovage_fuzz::targets::control`.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| lovage_fuzz::targets::control(data));
