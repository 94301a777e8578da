//! W3C Trace Context: <https://www.w3.org/TR/trace-context-2/>.
//!
//! `tracestate`, `baggage` and B3 headers are only passed on.

use http::{HeaderMap, HeaderValue};

use crate::names::TRACEPARENT;

/// The flag "sampled" (level 1).
const SAMPLED: u8 = 1;
/// The flag "the trace id is random" (level 2).
const RANDOM: u8 = 2;
/// Length of a `traceparent` of version 00: `00-<32>-<16>-<2>`.
const LENGTH: usize = 55;

/// One span's place in a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TraceContext {
    trace_id: u128,
    span_id: u64,
    flags: u8,
}

impl TraceContext {
    /// A new trace, not sampled.
    #[must_use]
    pub const fn start(trace_id_random: u128, span_id_random: u64) -> Self {
        Self {
            trace_id: if trace_id_random == 0 {
                1
            } else {
                trace_id_random
            },
            span_id: non_zero(span_id_random),
            flags: RANDOM,
        }
    }

    /// The same, recorded by those who follow the caller's decision.
    #[must_use]
    pub const fn sampled(mut self) -> Self {
        self.flags |= SAMPLED;
        self
    }

    /// A new span of the same trace.
    #[must_use]
    pub const fn child(&self, span_id_random: u64) -> Self {
        Self {
            trace_id: self.trace_id,
            span_id: non_zero(span_id_random),
            flags: self.flags,
        }
    }

    /// That of these headers, if there is a valid one and only one.
    ///
    /// Without one a new trace has to be started, and `tracestate`, which belongs to another
    /// trace, has to go (§3.2 there).
    #[must_use]
    pub fn from_headers(headers: &HeaderMap) -> Option<Self> {
        let mut values = headers.get_all(TRACEPARENT).iter();
        let value = values.next()?;
        if values.next().is_some() {
            return None;
        }
        Self::parse(value.as_bytes())
    }

    /// Reads a `traceparent`; strict, as the standard asks for.
    ///
    /// Of a version after 00 the part that 00 has is read.
    #[must_use]
    pub fn parse(value: &[u8]) -> Option<Self> {
        let (known, rest) = value.split_at_checked(LENGTH)?;
        let version = u8::try_from(hex(known.get(..2)?)?).ok()?;
        let rest_fits = match version {
            0 => rest.is_empty(),
            0xff => false,
            _ => matches!(rest, [] | [b'-', ..]),
        };
        if !rest_fits || [2, 35, 52].iter().any(|&at| known.get(at) != Some(&b'-')) {
            return None;
        }
        let trace_id = hex(known.get(3..35)?)?;
        let span_id = u64::try_from(hex(known.get(36..52)?)?).ok()?;
        let flags = u8::try_from(hex(known.get(53..55)?)?).ok()?;
        (trace_id != 0 && span_id != 0).then_some(Self {
            trace_id,
            span_id,
            // What we do not know must not be passed on.
            flags: flags & (SAMPLED | RANDOM),
        })
    }

    /// The trace, never 0.
    #[must_use]
    pub const fn trace_id(&self) -> u128 {
        self.trace_id
    }

    /// The span, never 0.
    #[must_use]
    pub const fn span_id(&self) -> u64 {
        self.span_id
    }

    /// Whether the caller records this trace.
    #[must_use]
    pub const fn is_sampled(&self) -> bool {
        self.flags & SAMPLED != 0
    }

    /// As the value of `traceparent`; allocates nothing but the value itself.
    #[must_use]
    pub fn header_value(&self) -> HeaderValue {
        let mut text = *b"00-00000000000000000000000000000000-0000000000000000-00";
        put_hex(&mut text[3..35], self.trace_id);
        put_hex(&mut text[36..52], u128::from(self.span_id));
        put_hex(&mut text[53..55], u128::from(self.flags));
        // Hex digits and hyphens are always a header value.
        HeaderValue::from_bytes(&text).unwrap_or_else(|_| HeaderValue::from_static(""))
    }
}

const fn non_zero(span_id: u64) -> u64 {
    if span_id == 0 { 1 } else { span_id }
}

/// At most 32 lower-case hex digits.
fn hex(digits: &[u8]) -> Option<u128> {
    digits.iter().try_fold(0, |number, digit| {
        let value = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(number << 4 | u128::from(value))
    })
}

fn put_hex(digits: &mut [u8], mut number: u128) {
    for digit in digits.iter_mut().rev() {
        *digit = b"0123456789abcdef"[(number & 15) as usize];
        number >>= 4;
    }
}

#[cfg(test)]
mod tests;
