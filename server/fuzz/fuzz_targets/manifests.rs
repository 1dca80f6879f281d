#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| chaski_fuzz::manifests(bytes));
