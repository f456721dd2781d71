//! Any bytes are a client's first packet that survives being written and read again, or an error; and a `COM_CHANGE_USER`
//! under any capabilities, or an error.
#![no_main]

use libfuzzer_sys::fuzz_target;
use weir::protocol::Capabilities;
use weir::protocol::login::{ChangeUser, FirstPacket};

fuzz_target!(|payload: &[u8]| {
    if let Ok(first) = FirstPacket::parse(payload) {
        let written = match &first {
            FirstPacket::Tls(head) => head.payload(),
            FirstPacket::Login(login) => {
                assert!(login.attributes.iter().count() <= payload.len());
                login.payload().expect("a response that was read fits its length field")
            }
        };
        assert_eq!(FirstPacket::parse(&written), Ok(first));
    }
    if let Some((bits, body)) = payload.split_first_chunk() {
        let _ = ChangeUser::parse(body, Capabilities::from_bits(u64::from_le_bytes(*bits)));
    }
});
