#![allow(clippy::unwrap_used, reason = "tests")]

use std::{collections::HashSet, time::Duration};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;
use crate::wait::until;

#[test]
fn the_list_has_every_manner() {
    let last = Manner::WrongHostCertificate as usize;
    assert_eq!(Manner::ALL.len(), last + 1);
    let each: HashSet<Manner> = Manner::ALL.into_iter().collect();
    assert_eq!(each.len(), Manner::ALL.len());
}

#[tokio::test]
async fn what_never_ends_ends_with_its_reader() {
    for manner in [
        Manner::Endless,
        Manner::EndlessHeader,
        Manner::EndlessHeaders,
        Manner::EndlessInterim,
    ] {
        let endless = Misbehaving::start(manner).await.unwrap();
        let mut stream = TcpStream::connect(endless.address).await.unwrap();
        let request = b"POST / HTTP/1.1\r\ncontent-length: 0\r\n\r\n";
        stream.write_all(request).await.unwrap();
        let mut read = vec![0; 64 * 1024];
        stream.read_exact(&mut read).await.unwrap();
        drop(stream);
        assert_eq!(endless.requests(), 1);
        // It is told what was read, and what the sockets held.
        let mut before = 0;
        until("it writes no more", Duration::from_secs(10), || {
            let now = endless.written();
            let same = now == std::mem::replace(&mut before, now);
            async move { if same { Ok(()) } else { Err(now) } }
        })
        .await
        .unwrap();
        let written = endless.written();
        assert!((64 * 1024..8 * 1024 * 1024).contains(&written), "{written}");
    }
}
