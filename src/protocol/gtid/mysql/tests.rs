//! Tables of texts, and a model that knows only single GTIDs.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

const A: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562";
const B: &str = "4e11fa47-71ca-11e1-9e33-c80aa9429562";

fn parse(text: &str) -> MySqlSet {
    MySqlSet::parse(text.as_bytes()).unwrap_or_else(|| panic!("{text}"))
}

#[test]
fn canonical_texts() {
    let cases = [
        (String::new(), String::new()),
        (" \n,".into(), String::new()),
        (format!("{A}:1"), format!("{A}:1")),
        (format!("{A}:1-1"), format!("{A}:1")),
        (format!("{}:1-5", A.to_uppercase()), format!("{A}:1-5")),
        (format!("{B}:3,\n{A}:1-5"), format!("{A}:1-5,{B}:3")),
        (format!(" {A} : 7 : 1 - 5 "), format!("{A}:1-5:7")),
        (format!("{A}:1-5:6:7-9:3"), format!("{A}:1-9")),
        (format!("{A}:5-3"), String::new()),
        (format!("{A}:1,{A}:2,{A}:4"), format!("{A}:1-2:4")),
        (format!("{A}:Tag_1:1-3:5:b:2"), format!("{A}:b:2:tag_1:1-3:5")),
        (format!("{A}:1-2:tag:1-3,{B}:x:9"), format!("{A}:1-2:tag:1-3,{B}:x:9")),
        (format!("{A}:9223372036854775806"), format!("{A}:9223372036854775806")),
    ];
    for (text, canonical) in cases {
        assert_eq!(parse(&text).to_string(), canonical, "{text}");
    }
}

#[test]
fn refused_texts() {
    let long_tag = format!("{A}:{}:1", "t".repeat(33));
    let cases = [
        "x".to_owned(),
        A.to_owned(),
        format!("{A}:"),
        format!("{A}:0"),
        format!("{A}:-1"),
        format!("{A}:1-"),
        format!("{A}:1-2-3"),
        format!("{A}:+1"),
        format!("{A}:1 2"),
        format!("{A}:tag"),
        format!("{A}:ta-g:1"),
        long_tag,
        format!("{A}:9223372036854775807"),
        format!("{A}:1-99999999999999999999"),
        format!("{}:1", A.replace('-', "x")),
        format!("{}:1", A.replace('3', "g")),
        format!("{A}0:1"),
    ];
    for text in cases {
        assert_eq!(MySqlSet::parse(text.as_bytes()), None, "{text}");
    }
}

#[test]
fn covers_table() {
    let cases = [
        ("", "", true),
        ("A:1-5", "", true),
        ("", "A:1", false),
        ("A:1-5", "A:5", true),
        ("A:1-5", "A:6", false),
        ("A:1-5", "A:4-6", false),
        ("A:1-3:5-9", "A:3-5", false),
        ("A:1-3:5-9", "A:2:6-8", true),
        ("A:1-5", "B:1", false),
        ("A:1-5,B:1-2", "A:1,B:2", true),
        ("A:1-5", "A:t:1", false),
        ("A:t:1-5", "A:1", false),
        ("A:1:t:1-5", "A:t:2", true),
    ];
    let text = |text: &str| text.replace('A', A).replace('B', B);
    for (have, required, expected) in cases {
        let (have, required) = (parse(&text(have)), parse(&text(required)));
        assert_eq!(have.covers(&required), expected, "{have} ⊇ {required}");
    }
}

#[test]
fn the_narrowest_gaps_are_closed_first() {
    let mut set = parse(&format!("{A}:1:3:100:104,{B}:1:3"));
    set.close_gaps(5);
    assert_eq!(set.to_string(), format!("{A}:1-3:100:104,{B}:1:3"));
    set.close_gaps(3);
    assert_eq!(set.to_string(), format!("{A}:1-3:100-104,{B}:1-3"));
    set.close_gaps(0);
    assert_eq!(set.to_string(), format!("{A}:1-104,{B}:1-3"), "one run a source is the least");
}

#[test]
fn a_session_on_a_busy_writer_stays_small() {
    let mut required = MySqlSet::default();
    for number in (1..5000).step_by(7) {
        let own = parse(&format!("{A}:{number}"));
        required.merge(&own);
        required.close_gaps(MySqlSet::MAX_REQUIRED);
        assert!(required.covers(&own), "{required}");
        assert!(required.runs.len() <= MySqlSet::MAX_REQUIRED, "{required}");
        assert!(!required.covers(&parse(&format!("{A}:{}", number + 1))), "{required}");
    }
}

/// One GTID: which source, which number.
type Model = BTreeSet<(usize, u64)>;

const SOURCES: [(&str, &str); 4] = [(A, ""), (A, ":t"), (A, ":u"), (B, "")];

fn of_model(model: &Model) -> MySqlSet {
    let one = |&(source, number): &(usize, u64)| {
        let (uuid, tag) = SOURCES[source];
        format!("{uuid}{tag}:{number}")
    };
    parse(&model.iter().rev().map(one).collect::<Vec<_>>().join(","))
}

fn model() -> impl Strategy<Value = Model> {
    prop::collection::btree_set((0..SOURCES.len(), 1..12u64), 0..24)
}

proptest! {
    #[test]
    fn agrees_with_single_gtids(have in model(), required in model(), limit in 0..20usize) {
        let (set, wanted) = (of_model(&have), of_model(&required));
        prop_assert_eq!(set.covers(&wanted), have.is_superset(&required), "{} ⊇ {}", set, wanted);

        let mut merged = set.clone();
        merged.merge(&wanted);
        prop_assert_eq!(&merged, &of_model(&have.union(&required).copied().collect()), "{} ∪ {}", set, wanted);

        let news = of_model(&have.difference(&required).copied().collect());
        prop_assert_eq!(set.since(&wanted), news, "{} since {}", set, wanted);

        let mut closed = merged.clone();
        closed.close_gaps(limit);
        prop_assert!(closed.covers(&merged), "{} → {}", merged, closed);
        let sources: BTreeSet<_> = have.union(&required).map(|&(source, _)| source).collect();
        prop_assert_eq!(closed.runs.len(), merged.runs.len().min(limit.max(sources.len())), "{} → {}", merged, closed);
    }

    #[test]
    fn text_and_set_are_the_same(model in model()) {
        let set = of_model(&model);
        prop_assert_eq!(parse(&set.to_string()), set);
    }

    #[test]
    fn any_bytes_are_refused_or_canonical(text in prop::collection::vec(prop::sample::select(b"3e-:,1 09t".to_vec()), 0..80)) {
        if let Some(set) = MySqlSet::parse(&text) {
            prop_assert_eq!(parse(&set.to_string()), set);
        }
    }
}
