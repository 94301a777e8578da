//! An answer as one reads it: what unit tests and the fuzz target (`fuzz/src/targets/answers.rs`) look at.

use bytes::BytesMut;

use super::{Answer, MAX_HEAD, Malformed, Step};

/// What one reads of an answer that comes in these pieces, and then ends.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Got {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, Vec<u8>)>,
    pub(super) body: Vec<u8>,
    pub(super) keeps_alive: bool,
    pub(super) left: usize,
}

pub(super) fn got<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Result<Got, Malformed> {
    let mut pieces = pieces.into_iter();
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
                assert!(!piece.is_empty());
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
    let again = rest.take(&mut BytesMut::new());
    assert!(matches!(again, Ok(Step::End | Step::More)), "{again:?}");
    let headers = head.headers.iter();
    Ok(Got {
        status: head.status,
        headers: headers
            .map(|(name, value)| (name.to_string(), value.as_bytes().to_vec()))
            .collect(),
        body,
        keeps_alive: head.keeps_alive,
        left: came.len() + pieces.map(<[u8]>::len).sum::<usize>(),
    })
}
