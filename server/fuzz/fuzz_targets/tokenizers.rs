#![no_main]

libfuzzer_sys::fuzz_target!(
    // Panics that are caught are no findings; those that are not end the run all the same.
    init: std::panic::set_hook(Box::new(|_| {})),
    |bytes: &[u8]| chaski_fuzz::tokenizers(bytes)
);
