//! A subscription's messages as a stream, woken by its queue and by one timer; no task.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::SystemTime,
};

use async_trait::async_trait;
use busway_core::{
    bus::{BusError, Credit, Deliveries, Delivery, Settle, Settler},
    world::Clock,
};
use futures::{FutureExt, Stream, StreamExt};
use tokio::time::{Instant, Sleep, sleep_until};

use super::{SharedQueue, handout::Handout, queue::Take};

/// The messages of a queue, within this credit.
pub(super) fn deliveries(
    queue: Arc<SharedQueue>,
    credit: Credit,
    handout: Handout,
    clock: Arc<dyn Clock>,
) -> Deliveries {
    let id = queue.lock().attach(credit, handout);
    let consumer = Arc::new(Consumer { queue, clock });
    Consuming {
        consumer,
        id,
        timer: None,
    }
    .boxed()
}

/// Ends deliveries. It outlives the stream in the hands of whoever still holds one; by then the
/// queue has put it back, and says so.
struct Consumer {
    queue: Arc<SharedQueue>,
    clock: Arc<dyn Clock>,
}

#[async_trait]
impl Settler for Consumer {
    async fn done(&self, token: u64) -> Result<(), BusError> {
        let wake = self.queue.lock().done(token)?;
        wake.wake();
        Ok(())
    }

    async fn retry_at(&self, token: u64, at: SystemTime, attempts: u32) -> Result<(), BusError> {
        let wait = at.duration_since(self.clock.now()).unwrap_or_default();
        let now = Instant::now();
        // A time beyond the clock's end is as good as never: the queue's bounds still hold.
        let due = now.checked_add(wait).unwrap_or(now + FAR_FUTURE);
        let wake = self.queue.lock().retry_at(token, due, attempts)?;
        wake.wake();
        Ok(())
    }

    fn release(&self, token: u64) {
        let wake = self.queue.lock().release(token);
        wake.wake();
    }

    async fn extend(&self, token: u64, attempts: u32) -> Result<(), BusError> {
        self.queue.lock().extend(token, attempts)
    }
}

/// Thirty years, as tokio's own far future.
const FAR_FUTURE: std::time::Duration = std::time::Duration::from_secs(86_400 * 365 * 30);

struct Consuming {
    consumer: Arc<Consumer>,
    id: u64,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Consuming {
    /// Ready when `due` has come.
    fn poll_timer(&mut self, due: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(due)));
        if timer.deadline() != due {
            timer.as_mut().reset(due);
        }
        timer.poll_unpin(cx)
    }
}

impl Stream for Consuming {
    type Item = Result<Delivery, BusError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            let take = self
                .consumer
                .queue
                .lock()
                .take(self.id, Instant::now(), cx.waker());
            match take {
                Take::Ended => return Poll::Ready(None),
                Take::Wait(None) => return Poll::Pending,
                Take::Wait(Some(due)) => {
                    if self.poll_timer(due, cx).is_pending() {
                        return Poll::Pending;
                    }
                }
                Take::Taken(taken) => {
                    let settler = Arc::clone(&self.consumer) as Arc<dyn Settler>;
                    return Poll::Ready(Some(Ok(Delivery {
                        message: taken.stored.message.clone(),
                        accepted_at: taken.stored.accepted_at,
                        attempts: taken.attempts,
                        fate: taken.fate,
                        settle: Settle::new(settler, taken.token),
                    })));
                }
            }
        }
    }
}

impl Drop for Consuming {
    fn drop(&mut self) {
        let wake = self.consumer.queue.lock().detach(self.id);
        wake.wake();
    }
}
