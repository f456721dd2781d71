//! Any bytes are compressed packets, the beginning of some, or an error; every step goes on or says that it cannot.
#![no_main]

use libfuzzer_sys::fuzz_target;
use weir::{config::Algorithm, net::Unpacker};

fuzz_target!(|input: (bool, u16, &[u8])| {
    let (zstd, room, mut bytes) = input;
    let mut unpacker = Unpacker::new(if zstd { Algorithm::Zstd } else { Algorithm::Zlib });
    let mut output = vec![0; usize::from(room) + 1];
    while let Ok(step) = unpacker.step(bytes, &mut output) {
        if step.read == 0 && step.written == 0 {
            break;
        }
        bytes = &bytes[step.read..];
    }
});
