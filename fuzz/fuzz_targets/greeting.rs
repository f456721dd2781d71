//! Any bytes are a greeting that survives being written and read again, or an error.
#![no_main]

use libfuzzer_sys::fuzz_target;
use weir::protocol::{Capabilities, Greeting, ServerError, ServerVersion};

fuzz_target!(|payload: &[u8]| {
    if let Ok(greeting) = Greeting::parse(payload) {
        assert_eq!(Greeting::parse(&greeting.payload()).as_ref(), Ok(&greeting));
        assert!(ServerVersion::parse(&greeting.version).number < 1_000_000);
    }
    if let Ok(error) = ServerError::parse(payload) {
        assert_eq!(ServerError::parse(&error.payload(Capabilities::PROTOCOL_41)), Ok(error));
    }
});
