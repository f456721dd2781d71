//! Replies of every shape, cut at every byte, and what is no reply.

use super::*;

const DEFINITION: &[u8] = b"\x03def";
const EOF: &[u8] = b"\xFE\0\0\x02\0";
const EOF_CURSOR: &[u8] = b"\xFE\0\0\x42\0";
const EOF_OUT: &[u8] = b"\xFE\0\0\x0A\x10";
const EOF_MORE: &[u8] = b"\xFE\0\0\x0A\0";
const OK: &[u8] = b"\0\0\0\x02\0\0\0";
const OK_MORE: &[u8] = b"\0\x01\0\x0A\0\0\0";
const OK_END: &[u8] = b"\xFE\0\0\x02\0\0\0";
const ERR: &[u8] = b"\xFF\x28\x04#42000You have an error";

fn packets(payloads: &[&[u8]]) -> Vec<u8> {
    let (mut out, mut sequence) = (Vec::new(), 1);
    for payload in payloads {
        super::super::packet::put_packets(&mut out, &mut sequence, payload);
    }
    out
}

fn agreed(deprecate_eof: bool) -> Capabilities {
    if deprecate_eof { Capabilities::DEPRECATE_EOF } else { Capabilities::NONE }
}

/// Feeds `stream` in pieces of `piece` bytes, and returns the control packets.
fn run(shape: Shape, capabilities: Capabilities, stream: &[u8], piece: usize) -> Result<Vec<ControlKind>, Malformed> {
    follow(ResponseTracker::new(shape, capabilities), stream, piece)
}

fn follow(mut tracker: ResponseTracker, stream: &[u8], piece: usize) -> Result<Vec<ControlKind>, Malformed> {
    let mut stream = stream.to_vec();
    let (mut start, mut end, mut kinds) = (0, 0, Vec::new());
    while !tracker.is_done() {
        if end == stream.len() && start == end {
            return Err(Malformed("stream ended"));
        }
        let before = (start, end);
        end = (end + piece).min(stream.len());
        loop {
            let progress = tracker.advance(&mut stream[start..end])?;
            start += progress.pass;
            let Some(control) = progress.control else { break };
            assert_eq!(control.last, tracker.is_done());
            start += control.length;
            kinds.push(control.kind);
        }
        if before == (start, end) {
            return Err(Malformed("no progress"));
        }
    }
    assert_eq!(start, stream.len(), "everything was taken");
    Ok(kinds)
}

#[test]
fn finds_the_end_of_every_reply_however_it_is_cut() {
    use ControlKind::{Eof, Err as Error, Ok as Fine, Prepared};
    let row: &[u8] = b"\x03abc";
    let prepared: &[u8] = b"\0\x07\0\0\0\x01\0\x02\0\0\0\0";
    let bare: &[u8] = b"\0\x07\0\0\0\0\0\0\0\0\0\0";
    let null_row: &[u8] = b"\xFB";
    let big = vec![b'x'; MAX_PAYLOAD + 3];
    let exact = vec![b'x'; MAX_PAYLOAD];
    let cases: Vec<(&str, Shape, bool, Vec<&[u8]>, Vec<ControlKind>)> = vec![
        ("ok", Shape::Results, true, vec![OK], vec![Fine]),
        ("err", Shape::Results, true, vec![ERR], vec![Error]),
        ("rows", Shape::Results, true, vec![b"\x01", DEFINITION, row, row, OK_END], vec![Fine]),
        ("rows with eof", Shape::Results, false, vec![b"\x01", DEFINITION, EOF, row, EOF], vec![Eof, Eof]),
        ("no rows", Shape::Results, true, vec![b"\x02", DEFINITION, DEFINITION, OK_END], vec![Fine]),
        ("null", Shape::Results, true, vec![b"\x01", DEFINITION, null_row, OK_END], vec![Fine]),
        ("error after rows", Shape::Results, true, vec![b"\x01", DEFINITION, row, ERR], vec![Error]),
        (
            "a cursor of the procedure's own",
            Shape::Results,
            false,
            vec![b"\x01", DEFINITION, EOF_CURSOR, row, EOF],
            vec![Eof, Eof],
        ),
        ("many", Shape::Results, true, vec![OK_MORE, b"\x01", DEFINITION, row, OK_END], vec![Fine, Fine]),
        (
            "rows then ok",
            Shape::Results,
            false,
            vec![b"\x01", DEFINITION, EOF, row, EOF_MORE, OK],
            vec![Eof, Eof, Fine],
        ),
        (
            "output parameters",
            Shape::Results,
            false,
            vec![b"\x01", DEFINITION, EOF_OUT, row, EOF, OK],
            vec![Eof, Eof, Fine],
        ),
        (
            "output parameters said twice",
            Shape::Results,
            false,
            vec![b"\x01", DEFINITION, EOF_OUT, row, EOF_OUT, OK],
            vec![Eof, Eof, Fine],
        ),
        ("fetch", Shape::Rows, false, vec![b"\0\0abc", EOF], vec![Eof]),
        ("fields", Shape::Rows, true, vec![DEFINITION, OK_END], vec![Fine]),
        ("simple", Shape::Simple, true, vec![OK], vec![Fine]),
        ("simple eof", Shape::Simple, false, vec![EOF], vec![Eof]),
        ("text", Shape::Text, true, vec![b"Uptime: 5"], vec![]),
        ("prepare, nothing", Shape::Prepare, true, vec![bare], vec![Prepared]),
        ("prepare", Shape::Prepare, true, vec![prepared, DEFINITION, DEFINITION, DEFINITION], vec![Prepared]),
        (
            "prepare with eof",
            Shape::Prepare,
            false,
            vec![prepared, DEFINITION, DEFINITION, EOF, DEFINITION, EOF],
            vec![Prepared, Eof, Eof],
        ),
        ("prepare error", Shape::Prepare, true, vec![ERR], vec![Error]),
        ("a row over 16 MiB", Shape::Results, true, vec![b"\x01", DEFINITION, &big, row, OK_END], vec![Fine]),
        ("a row of 16 MiB - 1", Shape::Results, true, vec![b"\x01", DEFINITION, &exact, OK_END], vec![Fine]),
    ];
    for (name, shape, deprecate_eof, payloads, expected) in cases {
        let stream = packets(&payloads);
        for piece in [1, 2, 3, 5, 7, 64, stream.len()] {
            if stream.len() < 1000 || piece > 7 {
                let found = run(shape, agreed(deprecate_eof), &stream, piece);
                assert_eq!(found.as_ref(), Ok(&expected), "{name} in pieces of {piece}");
            }
        }
    }
}

#[test]
fn replies_have_the_form_that_was_agreed_on() {
    use ControlKind::{Eof, Ok as Fine, Prepared};
    let report: &[u8] = b"\xFF\xFF\xFF\x01\x01\x02\0\0\0\x05stage";
    let none: &[u8] = b"\0\x07\0\0\0\x02\0\x01\0\0\0\0\0";
    let full: &[u8] = b"\0\x07\0\0\0\x02\0\x01\0\0\0\0\x01";
    let row: &[u8] = b"\x03abc";
    let optional = Capabilities::OPTIONAL_RESULTSET_METADATA;
    let modern = Capabilities::DEPRECATE_EOF;
    let cases: Vec<(&str, Shape, Capabilities, Vec<&[u8]>, Vec<ControlKind>)> = vec![
        ("reports", Shape::Results, modern.with(Capabilities::PROGRESS), vec![report, report, OK], vec![Fine]),
        (
            "a report among rows",
            Shape::Results,
            modern.with(Capabilities::PROGRESS),
            vec![b"\x01", DEFINITION, report, row, report, OK_END],
            vec![Fine],
        ),
        ("an error with its number", Shape::Results, modern, vec![report], vec![ControlKind::Err]),
        ("an error", Shape::Results, modern.with(Capabilities::PROGRESS), vec![ERR], vec![ControlKind::Err]),
        ("defined", Shape::Results, optional.with(modern), vec![b"\x01\x01", DEFINITION, row, OK_END], vec![Fine]),
        ("not defined", Shape::Results, optional.with(modern), vec![b"\x01\0", row, OK_END], vec![Fine]),
        ("not defined, eof", Shape::Results, optional, vec![b"\x01\0", EOF, row, EOF], vec![Eof, Eof]),
        ("many columns", Shape::Results, optional.with(modern), vec![b"\xFC\0\x10\0", row, OK_END], vec![Fine]),
        (
            "prepared",
            Shape::Prepare,
            optional,
            vec![full, DEFINITION, EOF, DEFINITION, DEFINITION, EOF],
            vec![Prepared, Eof, Eof],
        ),
        ("prepared, not defined", Shape::Prepare, optional, vec![none, EOF, EOF], vec![Prepared, Eof, Eof]),
        ("nothing but a head", Shape::Prepare, optional.with(modern), vec![none], vec![Prepared]),
    ];
    for (name, shape, capabilities, payloads, expected) in cases {
        let stream = packets(&payloads);
        for piece in [1, 2, 3, 5, 7, 64, stream.len()] {
            let found = run(shape, capabilities, &stream, piece);
            assert_eq!(found.as_ref(), Ok(&expected), "{name} in pieces of {piece}");
        }
    }
}

#[test]
fn the_reply_to_who_asks_for_a_cursor_may_end_behind_the_columns() {
    let opened = packets(&[b"\x01", DEFINITION, EOF_CURSOR]);
    let row: &[u8] = b"\0\0\x03abc";
    let nothing_opened = packets(&[b"\x01", DEFINITION, EOF, row, EOF]);
    for (stream, expected) in [(opened, 1), (nothing_opened, 2)] {
        let tracker = ResponseTracker::new(Shape::Results, agreed(false)).asking_for_cursor(true);
        assert_eq!(follow(tracker, &stream, 3).map(|kinds| kinds.len()), Ok(expected), "{stream:x?}");
    }
}

#[test]
fn nonsense_is_malformed() {
    let cases: &[(&str, &str, Shape, &[u8])] = &[
        ("wrong sequence", "packet order", Shape::Results, b"\x07\0\0\x05\0\0\0\x02\0\0\0"),
        ("empty first packet", "empty packet", Shape::Results, b"\0\0\0\x01"),
        ("an empty row", "empty packet", Shape::Rows, b"\0\0\0\x01\x07\0\0\x02\xFE\0\0\x02\0\0\0"),
        ("ok cut short", "insert id", Shape::Results, b"\x02\0\0\x01\0\0"),
        ("columns for a simple command", "header byte", Shape::Simple, b"\x01\0\0\x01\x05"),
        ("columns without end", "column count", Shape::Results, b"\x09\0\0\x01\xFE\xFF\xFF\xFF\xFF\0\0\0\0"),
        ("a giant control packet", "end of result", Shape::Simple, b"\xFF\xFF\x7F\x01\0"),
    ];
    for (name, field, shape, stream) in cases {
        let mut tracker = ResponseTracker::new(*shape, agreed(true));
        let mut at = 0;
        let result = loop {
            match tracker.advance(&mut stream.to_vec()[at..]) {
                Ok(Progress { pass, control: Some(control) }) => at += pass + control.length,
                other => break other,
            }
        };
        assert_eq!(result, Err(Malformed(field)), "{name}");
    }
}

#[test]
fn numbers_are_set_right_where_they_mean_nothing() {
    let right = packets(&[b"\x01", DEFINITION, b"\x03abc", OK_END]);
    let mut wrong = right.clone();
    let mut at = 0;
    while let Some(header) = wrong.get(at..).and_then(Header::parse) {
        wrong[at + 3] = 77;
        at += HEADER + header.length;
    }
    let tracker = || ResponseTracker::new(Shape::Results, agreed(true));
    assert_eq!(tracker().advance(&mut wrong.clone()), Err(Malformed("packet order")));
    tracker().renumbering(true).advance(&mut wrong).unwrap();
    assert_eq!(wrong, right);
}

#[test]
fn columns_are_shown_to_who_wants_to_see_them() {
    use ControlKind::{Column, Eof, Head, Ok as Fine, Prepared};
    let prepared: &[u8] = b"\0\x07\0\0\0\x02\0\x01\0\0\0\0";
    let cases: [(&str, Shape, bool, &[&[u8]], &[ControlKind]); 4] = [
        ("rows", Shape::Results, true, &[b"\x02", DEFINITION, DEFINITION, OK_END], &[Head, Column, Column, Fine]),
        (
            "two results",
            Shape::Results,
            false,
            &[b"\x01", DEFINITION, EOF, EOF_MORE, b"\x01", DEFINITION, EOF, EOF],
            &[Head, Column, Eof, Eof, Head, Column, Eof, Eof],
        ),
        // Not the parameters.
        ("prepare", Shape::Prepare, true, &[prepared, DEFINITION, DEFINITION, DEFINITION], &[Prepared, Column, Column]),
        ("fields", Shape::Rows, true, &[DEFINITION, OK_END], &[Fine]),
    ];
    for (name, shape, deprecate_eof, payloads, expected) in cases {
        let stream = packets(payloads);
        for piece in [1, 2, 3, 5, 7, 64, stream.len()] {
            let tracker = ResponseTracker::new(shape, agreed(deprecate_eof)).showing_columns(true);
            let found = follow(tracker, &stream, piece);
            assert_eq!(found.as_deref(), Ok(expected), "{name} in pieces of {piece}");
        }
    }
}

#[test]
fn packets_behind_omitted_ones_have_lower_numbers() {
    let mut bytes = packets(&[b"\x01", DEFINITION, b"\x03abc", OK_END]);
    let rows = HEADER + 1 + HEADER + DEFINITION.len();
    let mut tracker = ResponseTracker::new(Shape::Results, agreed(true));
    tracker.advance(&mut bytes[..rows]).unwrap();
    tracker.omit(1);
    assert_eq!(tracker.boundary(), Some(2));
    // What is offered again, because it was not whole, is what the server sent.
    for end in rows + 1..=bytes.len() {
        let mut fresh = ResponseTracker { ..tracker };
        let mut piece = bytes[rows..end].to_vec();
        let taken = fresh.advance(&mut piece).unwrap();
        let taken = taken.pass + taken.control.map_or(0, |control| control.length);
        assert_eq!(piece[taken..], bytes[rows + taken..end], "to {end}");
    }
    tracker.advance(&mut bytes[rows..]).unwrap();
    assert!(tracker.is_done());
    assert_eq!(bytes[rows..], packets(&[b"\x01", b"\x03abc", OK_END])[HEADER + 1..]);
}

proptest::proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes: Vec<u8>, capabilities: u64, shows: bool) {
        for shape in [Shape::Results, Shape::Rows, Shape::Prepare, Shape::Simple, Shape::Text] {
            let mut tracker = ResponseTracker::new(shape, Capabilities::from_bits(capabilities)).showing_columns(shows);
            let mut at = 0;
            while let Ok(progress) = tracker.advance(&mut bytes.clone()[at..]) {
                at += progress.pass;
                let Some(control) = progress.control else { break };
                at += control.length;
            }
            proptest::prop_assert!(at <= bytes.len());
        }
    }
}
