#![allow(clippy::unwrap_used, reason = "tests")]

mod got;

use bytes::BytesMut;
use proptest::prelude::*;

use self::got::got;
use super::*;

#[test]
fn an_answer_is_as_long_as_rfc_9112_says() {
    for (text, status, body, keeps_alive, left) in [
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabc",
            200,
            "abc",
            true,
            0,
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcdef",
            200,
            "abc",
            true,
            3,
        ),
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 3, 3\r\ncontent-length: 3\r\n\r\nabc",
            200,
            "abc",
            true,
            0,
        ),
        (
            "HTTP/1.1 200\r\ncontent-length: 0\r\n\r\n",
            200,
            "",
            true,
            0,
        ),
        ("HTTP/1.1 204 No Content\r\n\r\n", 204, "", true, 0),
        (
            "HTTP/1.1 204 No Content\r\ncontent-length: 3\r\n\r\nabc",
            204,
            "",
            true,
            3,
        ),
        (
            "HTTP/1.1 304 Not Modified\r\ncontent-length: 3\r\n\r\n",
            304,
            "",
            true,
            0,
        ),
        (
            "HTTP/1.1 101 Switching\r\nconnection: upgrade\r\n\r\nabc",
            101,
            "",
            false,
            3,
        ),
        ("HTTP/1.1 200 OK\r\n\r\nabc", 200, "abc", false, 0),
        (
            "HTTP/1.0 200 OK\r\ncontent-length: 3\r\n\r\nabc",
            200,
            "abc",
            false,
            0,
        ),
        (
            "HTTP/1.0 200 OK\r\nconnection: Keep-Alive\r\ncontent-length: 3\r\n\r\nabc",
            200,
            "abc",
            true,
            0,
        ),
        (
            "HTTP/1.1 200 OK\r\nconnection: x, Close\r\ncontent-length: 3\r\n\r\nabc",
            200,
            "abc",
            false,
            0,
        ),
        (
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nlink: x\r\n\r\nHTTP/1.1 202 A\r\ncontent-length: 0\r\n\r\n",
            202,
            "",
            true,
            0,
        ),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0A;x=\"y\"\r\n0123456789\r\n0\r\n\r\n",
            200,
            "abc0123456789",
            true,
            0,
        ),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\nx: y\r\nz: w\r\n\r\nmore",
            200,
            "a",
            true,
            4,
        ),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, Chunked\r\n\r\n0\r\n\r\n",
            200,
            "",
            true,
            0,
        ),
        // One between us may have read it by its length.
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-length: 1\r\n\r\n0\r\n\r\n",
            200,
            "",
            false,
            0,
        ),
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ntransfer-encoding: gzip\r\n\r\nabc",
            200,
            "abc",
            false,
            0,
        ),
        (
            "HTTP/1.0 200 OK\r\nconnection: close, keep-alive\r\ncontent-length: 1\r\n\r\na",
            200,
            "a",
            false,
            0,
        ),
        // Lengths that are none, where none is asked for.
        (
            "HTTP/1.1 204 No Content\r\ncontent-length: -\r\n\r\n",
            204,
            "",
            false,
            0,
        ),
        (
            "HTTP/1.1 200 OK\r\ncontent-length: -\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
            200,
            "",
            false,
            0,
        ),
        // Lines may end with LF alone (§2.2).
        (
            "HTTP/1.1 200 OK\ncontent-length: 3\n\nabc",
            200,
            "abc",
            true,
            0,
        ),
    ] {
        let got = got([text.as_bytes()]).unwrap_or_else(|error| panic!("{text:?}: {error}"));
        let read = (got.status, got.body.as_slice(), got.keeps_alive, got.left);
        assert_eq!(
            read,
            (status, body.as_bytes(), keeps_alive, left),
            "{text:?}"
        );
    }
}

#[test]
fn what_is_no_answer_is_an_error() {
    let long = |part: &str, times: usize| part.repeat(times);
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    for (text, error) in [
        ("SSH-2.0-OpenSSH\r\n\r\n".to_owned(), Malformed::Head),
        ("220 mail ESMTP\r\n".to_owned(), Malformed::Head),
        ("\r\nHTTP/1.1 200 OK\r\n\r\n".to_owned(), Malformed::Head),
        ("HTTP/2 200 OK\r\n\r\n".to_owned(), Malformed::Head),
        ("HTTP/1.1 099 OK\r\n\r\n".to_owned(), Malformed::Head),
        ("HTTP/1.1 20x OK\r\n\r\n".to_owned(), Malformed::Head),
        (
            "HTTP/1.1 200 OK\r\nno colon\r\n\r\n".to_owned(),
            Malformed::Head,
        ),
        (
            "HTTP/1.1 200 OK\r\nname : x\r\n\r\n".to_owned(),
            Malformed::Head,
        ),
        (
            format!("HTTP/1.1 200 OK\r\n{}\r\n", long("a: b\r\n", 101)),
            Malformed::Head,
        ),
        (
            format!("HTTP/1.1 200 OK\r\na: {}", long("x", MAX_HEAD)),
            Malformed::HeadTooLarge,
        ),
        (
            format!("HTTP/1.1 200 OK\r\na: {}\r\n\r\n", long("x", MAX_HEAD)),
            Malformed::HeadTooLarge,
        ),
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n".to_owned(),
            Malformed::Length,
        ),
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 1, 2\r\n\r\n".to_owned(),
            Malformed::Length,
        ),
        (
            "HTTP/1.1 200 OK\r\ncontent-length: +1\r\n\r\n".to_owned(),
            Malformed::Length,
        ),
        (
            "HTTP/1.1 200 OK\r\ncontent-length: \r\n\r\n".to_owned(),
            Malformed::Length,
        ),
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 18446744073709551616\r\n\r\n".to_owned(),
            Malformed::Length,
        ),
        (
            "HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n".to_owned(),
            Malformed::Length,
        ),
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nabc".to_owned(),
            Malformed::CutOff,
        ),
        (format!("{chunked}3\r\nabc\r\n"), Malformed::CutOff),
        (format!("{chunked}0\r\n"), Malformed::CutOff),
        (format!("{chunked}x\r\n"), Malformed::Chunk),
        (format!("{chunked}3\r\nabc\r\n\r\n\r\n"), Malformed::Chunk),
        (format!("{chunked};x\r\n\r\n"), Malformed::Chunk),
        (
            format!("{chunked}1;x\ny\r\na\r\n0\r\n\r\n"),
            Malformed::Chunk,
        ),
        (format!("{chunked}11112222333344445\r\n"), Malformed::Chunk),
        (format!("{chunked}3\r\nabcd\r\n"), Malformed::Chunk),
        (format!("{chunked}0\r\nno colon\r\n\r\n"), Malformed::Chunk),
        (
            format!("{chunked}1;{}", long("x", 5000)),
            Malformed::ChunkTooLarge,
        ),
        (
            format!(
                "{chunked}{}",
                long(&format!("1;{}\r\na\r\n", long("x", 1000)), 20)
            ),
            Malformed::ChunkTooLarge,
        ),
        (
            format!("{chunked}0\r\na: {}", long("x", 20_000)),
            Malformed::ChunkTooLarge,
        ),
        (
            format!("{chunked}0\r\n{}\r\n", long("a: b\r\n", 101)),
            Malformed::Chunk,
        ),
    ] {
        let shown: String = text.chars().take(80).collect();
        assert_eq!(got([text.as_bytes()]).unwrap_err(), error, "{shown:?}");
    }
}

#[test]
fn headers_are_kept_where_they_are_wanted() {
    let text = b"HTTP/1.1 200 OK\r\nX-A: 1\r\nx-a: \xff\r\ncontent-length: 0\r\n\r\n";
    let expected = [
        ("x-a", &b"1"[..]),
        ("x-a", b"\xff"),
        ("content-length", b"0"),
    ];
    let expected = expected.map(|(name, value)| (name.to_owned(), value.to_vec()));
    assert_eq!(got([&text[..]]).unwrap().headers, expected);
    let mut bytes = BytesMut::from(&text[..]);
    let (head, _) = Answer::default()
        .take(&mut bytes, |status| status != 200)
        .unwrap()
        .unwrap();
    assert!(head.headers.is_empty());
}

proptest! {
    #[test]
    fn it_does_not_matter_how_the_bytes_are_cut(
        text in prop_oneof![
            Just("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\na: b\r\ntransfer-encoding: chunked\r\n\r\n3;e=f\r\nabc\r\n10\r\n0123456789abcdef\r\n0\r\nt: u\r\n\r\nmore"),
            Just("HTTP/1.1 422 No\ncontent-length: 12\n\nhello, world and more"),
            Just("HTTP/1.1 200 OK\r\n\r\nuntil it ends"),
            Just("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabcd\r\n"),
            Just("HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\nshort"),
        ],
        cuts in proptest::collection::vec(1usize..9, 0..120),
    ) {
        let whole = got([text.as_bytes()]);
        let mut rest = text.as_bytes();
        let mut pieces = Vec::new();
        for cut in cuts {
            let (piece, more) = rest.split_at(cut.min(rest.len()));
            pieces.push(piece);
            rest = more;
        }
        pieces.push(rest);
        pieces.retain(|piece| !piece.is_empty());
        prop_assert_eq!(got(pieces), whole);
    }

    #[test]
    fn no_bytes_are_too_strange(bytes in proptest::collection::vec(any::<u8>(), 0..300), chunked: bool) {
        let head = if chunked { "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" } else { "" };
        let _whatever = got([head.as_bytes(), &bytes[..]]);
    }
}
