//! Any bytes are what an execute binds, or an error; said as the other leg reads it, it binds the same. What it makes of
//! the types of a statement's parameters, it goes with.
#![no_main]

use libfuzzer_sys::fuzz_target;
use weir::protocol::{
    Capabilities, ParameterTypes, TypeStep,
    query_attributes::{Parameters, text, untyped},
};

fuzz_target!(|input: (u8, bool, bool, Vec<Vec<u8>>, &[u8])| {
    let (expected, counted, attributes, definitions, body) = input;
    let expected = usize::from(expected % 20);
    let capabilities = |attributes| if attributes { Capabilities::QUERY_ATTRIBUTES } else { Capabilities::NONE };
    let (from, to) = (capabilities(attributes), capabilities(!attributes));
    let _ = (text(body, from), untyped(body, expected));
    let Ok(Some(parameters)) = Parameters::parse(body, expected, counted, from) else { return };
    let Some((types, bound)) = parameters.types.zip(parameters.bound(None)) else { return };
    assert_eq!(bound.values().count(), parameters.count);

    let mut carried = Vec::new();
    if parameters.put(&mut carried, types, expected, to).is_ok() && !carried.is_empty() {
        let again = Parameters::parse(&carried, expected, true, to).expect("it was written").expect("it was bound");
        let values = again.bound(None).expect("types are always told");
        assert!(values.values().zip(bound.values()).all(|(one, other)| one == other));
    }

    let mut fresh = ParameterTypes::unknown(expected);
    for (place, definition) in definitions.iter().enumerate() {
        let _ = fresh.define(place, definition);
    }
    if let TypeStep::Other(types) = fresh.step(&fresh, &bound) {
        assert_eq!(types.step(&fresh, &bound), TypeStep::Same);
    }
});
