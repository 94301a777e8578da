#![allow(clippy::unwrap_used, reason = "tests")]

use proptest::prelude::*;

use super::*;

const VALID: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

fn parse(text: &str) -> Option<TraceContext> {
    TraceContext::parse(text.as_bytes())
}

#[test]
fn the_standards_example_is_read_and_written_back() {
    let context = parse(VALID).unwrap();
    assert_eq!(
        context.trace_id(),
        0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c
    );
    assert_eq!(context.span_id(), 0xb7ad_6b71_6920_3331);
    assert!(context.is_sampled());
    assert_eq!(context.header_value(), VALID);
}

#[test]
fn what_the_standard_forbids_is_refused() {
    for text in [
        "",
        "00",
        "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "00-00000000000000000000000000000000-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
        "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0x",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01 ",
        "00_0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c_b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331_01",
        "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01x",
    ] {
        assert_eq!(parse(text), None, "{text:?}");
    }
}

#[test]
fn a_later_version_is_read_as_far_as_this_one_goes() {
    for text in [
        VALID.replacen("00", "cc", 1),
        VALID.replacen("00", "cc", 1) + "-what-comes",
    ] {
        assert_eq!(parse(&text).unwrap().header_value(), VALID, "{text:?}");
    }
}

#[test]
fn unknown_flags_are_not_passed_on() {
    let text = VALID.replace("-01", "-ff");
    assert_eq!(
        parse(&text).unwrap().header_value(),
        VALID.replace("-01", "-03").as_str()
    );
}

#[test]
fn two_trace_parents_are_none() {
    let mut headers = HeaderMap::new();
    assert_eq!(TraceContext::from_headers(&headers), None);
    headers.append(TRACEPARENT, HeaderValue::from_static(VALID));
    assert_eq!(TraceContext::from_headers(&headers), parse(VALID));
    headers.append(TRACEPARENT, HeaderValue::from_static(VALID));
    assert_eq!(TraceContext::from_headers(&headers), None);
}

#[test]
fn a_child_stays_in_its_trace_and_keeps_the_decision() {
    let child = parse(VALID).unwrap().child(7);
    assert_eq!(
        child.header_value(),
        "00-0af7651916cd43dd8448eb211c80319c-0000000000000007-01"
    );
}

proptest! {
    #[test]
    fn what_is_started_is_always_valid(trace in prop_oneof![Just(0), any::<u128>()], span in prop_oneof![Just(0), any::<u64>()]) {
        for context in [
            TraceContext::start(trace, span),
            TraceContext::start(trace, span).sampled(),
            TraceContext::start(trace, span).child(span),
        ] {
            prop_assert_eq!(TraceContext::parse(context.header_value().as_bytes()), Some(context));
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
        let _read = TraceContext::parse(&bytes);
    }

    #[test]
    fn a_broken_byte_never_changes_the_rest(at in 0..LENGTH, byte: u8) {
        let mut bytes = VALID.as_bytes().to_vec();
        bytes[at] = byte;
        if let Some(read) = TraceContext::parse(&bytes) {
            prop_assert_eq!(read.header_value().len(), LENGTH);
        }
    }
}
