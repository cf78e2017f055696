#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    candle_mish_fuzz::darknet_weights(bytes);
});
