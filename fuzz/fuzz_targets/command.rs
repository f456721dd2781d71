//! Any bytes are a client's command, or an error; a command names no bytes that are not there.
#![no_main]

use libfuzzer_sys::fuzz_target;
use weir::protocol::{Capabilities, Command};

fuzz_target!(|input: (u64, &[u8])| {
    let (capabilities, payload) = input;
    let Ok(command) = Command::parse(payload, Capabilities::from_bits(capabilities)) else { return };
    let body = match command {
        Command::InitDb(body) | Command::Query(body) | Command::ChangeUser(body) | Command::Prepare(body) => body,
        Command::FieldList { table } => table,
        Command::Execute(execute) => execute.parameters,
        Command::BulkExecute(bulk) => bulk.parameters,
        Command::LongData { data, .. } => data,
        _ => return,
    };
    assert!(body.len() < payload.len());
});
