//! Answers of HTTP/1.1: the first byte says where the rest is cut in two.

use busway_dataplane::http1::{Answer, MAX_HEAD, Malformed, Step};
use bytes::BytesMut;

pub(super) fn run(data: &[u8]) {
    let Some((cut, text)) = data.split_first() else {
        return;
    };
    let whole = read(&[text]);
    let (first, second) = text.split_at(usize::from(*cut).min(text.len()));
    assert_eq!(read(&[first, second]), whole, "cut at {cut}");
    if let Err(error) = whole {
        assert!(!error.to_string().is_empty());
    }
}

/// Status, body, whether the connection stays, and what is left of the bytes.
type Read = (u16, Vec<u8>, bool, usize);

fn read(pieces: &[&[u8]]) -> Result<Read, Malformed> {
    let mut pieces = pieces.iter();
    let mut came = BytesMut::new();
    let mut answer = Answer::default();
    let (head, mut rest) = loop {
        if let Some(found) = answer.take(&mut came, |_| true)? {
            break found;
        }
        assert!(came.len() <= MAX_HEAD);
        came.extend_from_slice(pieces.next().ok_or(Malformed::CutOff)?);
    };
    let mut body = Vec::new();
    loop {
        match rest.take(&mut came)? {
            Step::Piece(piece) => {
                assert!(!piece.is_empty(), "a piece brings something");
                body.extend_from_slice(&piece);
            }
            Step::End => break,
            Step::More => match pieces.next() {
                Some(piece) => came.extend_from_slice(piece),
                None => {
                    rest.end()?;
                    break;
                }
            },
        }
    }
    let left = came.len() + pieces.map(|piece| piece.len()).sum::<usize>();
    Ok((head.status, body, head.keeps_alive, left))
}
