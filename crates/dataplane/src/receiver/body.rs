//! Reading a request's body within its bounds.

use std::time::Duration;

use busway_core::budget::{MemoryBudget, Reservation};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use hyper::body::Body;
use tokio::time::timeout;

use crate::problem::Problem;

/// What is set aside for a body at first, whatever its sender says of its length.
const FIRST_CAPACITY: u64 = 64 * 1024;

/// A body, and the memory it is counted for.
pub(super) struct Taken {
    pub(super) bytes: Bytes,
    /// Given back when the message is with the bus, or refused.
    pub(super) held: Vec<Reservation>,
}

/// Reads a body of at most `max` bytes; a longer one is not read to its end. Memory is taken for
/// what came, not for what was announced.
pub(super) async fn read<B>(
    body: B,
    max: usize,
    within: Duration,
    budget: &MemoryBudget,
) -> Result<Taken, Problem>
where
    B: Body<Data = Bytes> + Unpin,
{
    if body.size_hint().lower() > u64::try_from(max).unwrap_or(u64::MAX) {
        return Err(Problem::TooLarge { limit: max });
    }
    timeout(within, collect(body, max, budget))
        .await
        .unwrap_or(Err(Problem::SlowBody { limit: within }))
}

async fn collect<B>(mut body: B, max: usize, budget: &MemoryBudget) -> Result<Taken, Problem>
where
    B: Body<Data = Bytes> + Unpin,
{
    let announced = body.size_hint().lower();
    let mut held = Vec::new();
    let mut first = Bytes::new();
    let mut rest = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Problem::BrokenBody)?;
        // Trailers are not kept.
        let Ok(data) = frame.into_data() else {
            continue;
        };
        if data.is_empty() {
            continue;
        }
        let so_far = first.len().max(rest.len());
        if data.len() > max - so_far {
            return Err(Problem::TooLarge { limit: max });
        }
        held.push(budget.make_room(data.len()).ok_or(Problem::Overloaded)?);
        // A body that came in one piece is not copied.
        if so_far == 0 {
            first = data;
            continue;
        }
        if rest.is_empty() {
            let capacity = announced.min(FIRST_CAPACITY);
            rest.reserve(
                usize::try_from(capacity)
                    .unwrap_or(0)
                    .max(so_far + data.len()),
            );
            rest.extend_from_slice(&first);
        }
        rest.extend_from_slice(&data);
    }
    let bytes = if rest.is_empty() {
        first
    } else {
        rest.freeze()
    };
    Ok(Taken { bytes, held })
}
