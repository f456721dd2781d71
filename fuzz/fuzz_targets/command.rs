//! Any bytes are a client's command, or an error; a command names no bytes that are not there.
#![no_main]

use libfuzzer_sys::fuzz_target;
use weir::protocol::{Capabilities, Command};

fuzz_target!(|input: (bool, &[u8])| {
    let (attributes, payload) = input;
    let capabilities = if attributes { Capabilities::QUERY_ATTRIBUTES } else { Capabilities::NONE };
    let Ok(command) = Command::parse(payload, capabilities) else { return };
    let body = match command {
        Command::InitDb(body) | Command::Query(body) | Command::ChangeUser(body) | Command::Prepare(body) => body,
        Command::FieldList { table } => table,
        Command::Execute(execute) => execute.parameters,
        Command::LongData { data, .. } => data,
        _ => return,
    };
    assert!(body.len() < payload.len());
});
