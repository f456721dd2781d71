//! Any bytes are an OK or EOF packet, or an error; what was read is written and read again as the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use weir::protocol::{OkPacket, changes};

fuzz_target!(|payload: &[u8]| {
    if let Ok(ok) = OkPacket::parse(payload) {
        let mut written = Vec::new();
        ok.put(&mut written, 0);
        assert_eq!(OkPacket::parse(&written), Ok(ok));
        assert!(changes(ok.changes).filter(Result::is_ok).count() <= payload.len());
    }
    let _ = OkPacket::parse_eof(payload);
});
