//! The fake server's reply packets. Results have no EOF packets (`CLIENT_DEPRECATE_EOF`) and text columns only.

use mysql_common::constants::{CapabilityFlags, ColumnType, StatusFlags};

use crate::{
    answers::{self, Change, Rows},
    wire::{put_length, put_packet, put_text},
};

/// The replies of the measured reads, encoded once.
pub(crate) struct Canned {
    pub(crate) point_text: Vec<u8>,
    pub(crate) point_binary: Vec<u8>,
    pub(crate) big_text: Vec<u8>,
}

impl Canned {
    pub(crate) fn new() -> Self {
        Self {
            point_text: result_set(&answers::point_row(), Encoding::Text),
            point_binary: result_set(&answers::point_row(), Encoding::Binary),
            big_text: result_set(&answers::big_result(), Encoding::Text),
        }
    }
}

/// How a row is written: a query's way, or a prepared statement's.
#[derive(Clone, Copy)]
pub(crate) enum Encoding {
    Text,
    Binary,
}

/// First byte of an OK packet.
const OK: u8 = 0x00;
/// First byte of the OK packet that ends a result.
const END_OF_ROWS: u8 = 0xfe;

pub(crate) fn ok(mut sequence: u8, changes: &[Change], capabilities: CapabilityFlags) -> Vec<u8> {
    let mut out = Vec::new();
    put_packet(&mut out, &mut sequence, |out| {
        let tracked = !changes.is_empty() && capabilities.contains(CapabilityFlags::CLIENT_SESSION_TRACK);
        let mut status = StatusFlags::SERVER_STATUS_AUTOCOMMIT;
        status.set(StatusFlags::SERVER_SESSION_STATE_CHANGED, tracked);
        out.extend([OK, 0, 0]); // no rows affected, no id inserted
        out.extend(status.bits().to_le_bytes());
        out.extend([0, 0]); // no warnings
        if tracked {
            let mut entries = Vec::new();
            changes.iter().for_each(|change| put_change(&mut entries, change));
            put_text(out, ""); // info
            put_length(out, entries.len());
            out.extend(entries);
        }
    });
    out
}

/// An entry: its type, then its data with a length in front.
fn put_change(out: &mut Vec<u8>, change: &Change) {
    let mut data = Vec::new();
    let kind = match change {
        Change::Variable(name, value) => {
            put_text(&mut data, name);
            put_text(&mut data, value);
            0
        }
        Change::Schema(name) => {
            put_text(&mut data, name);
            1
        }
        Change::State => {
            put_text(&mut data, "1");
            2
        }
    };
    out.push(kind);
    put_length(out, data.len());
    out.extend(data);
}

pub(crate) fn error(code: u16, sql_state: &str, message: &str) -> Vec<u8> {
    let mut out = Vec::new();
    put_packet(&mut out, &mut 1, |out| {
        out.push(0xff);
        out.extend(code.to_le_bytes());
        out.extend(format!("#{sql_state}{message}").into_bytes());
    });
    out
}

pub(crate) fn prepared(id: u32, parameters: usize, columns: &[String]) -> Vec<u8> {
    let (mut out, mut sequence) = (Vec::new(), 1);
    put_packet(&mut out, &mut sequence, |out| {
        out.push(OK);
        out.extend(id.to_le_bytes());
        out.extend((columns.len() as u16).to_le_bytes());
        out.extend((parameters as u16).to_le_bytes());
        out.extend([0, 0, 0]); // filler, no warnings
    });
    for name in std::iter::repeat_n("?", parameters).chain(columns.iter().map(String::as_str)) {
        put_packet(&mut out, &mut sequence, |out| put_column(out, name));
    }
    out
}

pub(crate) fn result_set(result: &Rows, encoding: Encoding) -> Vec<u8> {
    let (mut out, mut sequence) = (Vec::new(), 1);
    put_packet(&mut out, &mut sequence, |out| put_length(out, result.columns.len()));
    for name in &result.columns {
        put_packet(&mut out, &mut sequence, |out| put_column(out, name));
    }
    for row in &result.rows {
        put_packet(&mut out, &mut sequence, |out| {
            if let Encoding::Binary = encoding {
                let null_bitmap = (row.len() + 2).div_ceil(8);
                out.extend(std::iter::repeat_n(0, 1 + null_bitmap));
            }
            row.iter().for_each(|value| put_text(out, value));
        });
    }
    put_packet(&mut out, &mut sequence, |out| {
        out.extend([END_OF_ROWS, 0, 0]);
        out.extend(StatusFlags::SERVER_STATUS_AUTOCOMMIT.bits().to_le_bytes());
        out.extend([0, 0]); // no warnings
    });
    out
}

fn put_column(out: &mut Vec<u8>, name: &str) {
    for text in ["def", "bench", "t", "t", name, name] {
        put_text(out, text);
    }
    let charset_utf8mb4 = 255_u16;
    let longest = 4096_u32;
    put_length(out, 12); // bytes of the fixed part below
    out.extend(charset_utf8mb4.to_le_bytes());
    out.extend(longest.to_le_bytes());
    out.push(ColumnType::MYSQL_TYPE_VAR_STRING as u8);
    out.extend([0, 0, 0, 0, 0]); // flags, decimals, filler
}
