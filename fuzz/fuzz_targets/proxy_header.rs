//! Any bytes in front of a client are a PROXY header, the beginning of one, or an error.
#![no_main]

use libfuzzer_sys::fuzz_target;
use weir::protocol::ProxyHeader;

fuzz_target!(|bytes: &[u8]| {
    let _ = ProxyHeader::hear(bytes);
});
