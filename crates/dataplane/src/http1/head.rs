use std::mem::MaybeUninit;

use bytes::{Buf as _, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::{Body, Malformed};

/// The largest head of an answer, in bytes.
pub const MAX_HEAD: usize = 64 * 1024;
/// What every answer begins with.
const BEGIN: &[u8] = b"HTTP/1.";
/// The most headers of one.
const MAX_HEADERS: usize = 100;

/// Status line and headers of an answer.
#[derive(Debug)]
pub struct Head {
    /// The status.
    pub status: u16,
    /// The headers, where they were wanted.
    pub headers: HeaderMap,
    /// Whether the other side keeps the connection after it.
    pub keeps_alive: bool,
}

/// Looks for the head of an answer in what has come.
#[derive(Clone, Copy, Debug, Default)]
pub struct Answer {
    /// Bytes that the end of a head does not begin in.
    looked_at: usize,
}

impl Answer {
    /// The head and how its body comes, once all of it is there; taken off the front of `bytes`. Answers 1xx are
    /// passed over. Of a status that `wants_headers` does not ask for, headers are not kept.
    ///
    /// # Errors
    /// When what came is no head.
    pub fn take(
        &mut self,
        bytes: &mut BytesMut,
        wants_headers: impl Fn(u16) -> bool,
    ) -> Result<Option<(Head, Body)>, Malformed> {
        loop {
            // What is something else is not waited for.
            if !bytes.iter().zip(BEGIN).all(|(byte, begin)| byte == begin) {
                return Err(Malformed::Head);
            }
            // A head that comes byte by byte is parsed once.
            if !self.is_whole(bytes) {
                break;
            }
            let mut headers = [const { MaybeUninit::uninit() }; MAX_HEADERS];
            let mut parsed = httparse::Response::new(&mut []);
            let taken = httparse::ParserConfig::default().parse_response_with_uninit_headers(
                &mut parsed,
                bytes,
                &mut headers,
            );
            let Ok(httparse::Status::Complete(taken)) = taken else {
                return Err(Malformed::Head);
            };
            if taken > MAX_HEAD {
                return Err(Malformed::HeadTooLarge);
            }
            let status = parsed.code.filter(|code| *code >= 100);
            let status = status.ok_or(Malformed::Head)?;
            // Nobody asked for another protocol: 101 is no interim answer.
            let interim = (100..200).contains(&status) && status != 101;
            let found = (!interim).then(|| read(status, &parsed, &wants_headers));
            bytes.advance(taken);
            self.looked_at = 0;
            if let Some(found) = found {
                return found.map(Some);
            }
        }
        if bytes.len() > MAX_HEAD {
            return Err(Malformed::HeadTooLarge);
        }
        Ok(None)
    }

    /// Whether there is a whole head.
    fn is_whole(&mut self, bytes: &[u8]) -> bool {
        let new = bytes.get(self.looked_at..).unwrap_or_default();
        let whole = memchr::memchr_iter(b'\n', new).any(|end| {
            let next = new.get(end + 1..).unwrap_or_default();
            next.starts_with(b"\n") || next.starts_with(b"\r\n")
        });
        self.looked_at = bytes.len().saturating_sub(2);
        whole
    }
}

fn read(
    status: u16,
    parsed: &httparse::Response<'_, '_>,
    wants_headers: &impl Fn(u16) -> bool,
) -> Result<(Head, Body), Malformed> {
    let newer = parsed.version == Some(1);
    let (mut closes, mut keeps) = (false, newer);
    let (mut length, mut coded, mut chunked) = (Length::Unsaid, false, false);
    for header in &*parsed.headers {
        let is = |name: &str| header.name.eq_ignore_ascii_case(name);
        if is("content-length") {
            length = length.and(header.value);
        } else if is("transfer-encoding") {
            // The last one of the last header counts.
            coded = true;
            let last = items(header.value).next_back();
            chunked = last.is_some_and(|coding| coding.eq_ignore_ascii_case(b"chunked"));
        } else if is("connection") {
            let says = |option: &str| {
                items(header.value).any(|item| item.eq_ignore_ascii_case(option.as_bytes()))
            };
            closes |= says("close");
            keeps |= says("keep-alive");
        }
    }
    let body = match (status, coded, length) {
        (101 | 204 | 304, ..) => Body::none(),
        // Codings came with 1.1; from an older one, framing is anybody's guess (RFC 9112 §6.1).
        (_, true, _) if !newer => return Err(Malformed::Length),
        (_, true, _) if chunked => Body::chunked(),
        (_, false, Length::Unclear) => return Err(Malformed::Length),
        (_, false, Length::Said(length)) => Body::of(length),
        (_, true, _) | (_, false, Length::Unsaid) => Body::until_close(),
    };
    // With both, somebody between may have read it otherwise: it is not trusted with another.
    let both = coded && length != Length::Unsaid;
    let is_clear = !both && length != Length::Unclear && status != 101;
    let mut headers = HeaderMap::new();
    if wants_headers(status) {
        headers.reserve(parsed.headers.len());
        for header in &*parsed.headers {
            let name = HeaderName::from_bytes(header.name.as_bytes());
            let value = HeaderValue::from_bytes(header.value);
            let (Ok(name), Ok(value)) = (name, value) else {
                return Err(Malformed::Head);
            };
            headers.append(name, value);
        }
    }
    let head = Head {
        status,
        headers,
        keeps_alive: keeps && !closes && is_clear && !body.is_until_close(),
    };
    Ok((head, body))
}

/// The items of a list, as header values have them.
fn items(value: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    let items = value.split(|byte| *byte == b',');
    items.map(<[u8]>::trim_ascii)
}

/// What the headers say of the body's length.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Length {
    Unsaid,
    Said(u64),
    /// Two lengths, or no number.
    Unclear,
}

impl Length {
    /// With another header's value: digits only, once or several times the same.
    fn and(self, value: &[u8]) -> Self {
        items(value).fold(self, |known, digits| {
            let plain = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
            let text = std::str::from_utf8(digits).ok().filter(|_| plain);
            match (known, text.and_then(|text| text.parse().ok())) {
                (Self::Unsaid, Some(length)) => Self::Said(length),
                (Self::Said(known), Some(length)) if known == length => Self::Said(known),
                _ => Self::Unclear,
            }
        })
    }
}
