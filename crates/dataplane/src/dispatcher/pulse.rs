//! Once a second, what each busy subscription of a shard is doing is written down.

use std::{
    cell::RefCell,
    convert::Infallible,
    rc::{Rc, Weak},
    time::Duration,
};

use tokio::{sync::Notify, task::yield_now, time::sleep};

use super::state::Subscription;
use crate::metrics::Metrics;

/// How often that is: people look at it, and scrapes are seldom more frequent than some seconds.
const BEAT: Duration = Duration::from_secs(1);
/// So many are read before others of this shard have their turn.
const READ_AT_ONCE: usize = 64;

/// The subscriptions of a shard that something happens to. While there is none, it costs nothing.
pub(super) struct Pulse {
    pub(super) shard: usize,
    pub(super) metrics: Metrics,
    busy: RefCell<Vec<Weak<Subscription>>>,
    some: Notify,
}

impl Pulse {
    pub(super) fn new(shard: usize, metrics: Metrics) -> Rc<Self> {
        Rc::new(Self {
            shard,
            metrics,
            busy: RefCell::default(),
            some: Notify::new(),
        })
    }

    /// Something happens to a subscription.
    pub(super) fn stir(&self, subscription: &Rc<Subscription>) {
        self.busy.borrow_mut().push(Rc::downgrade(subscription));
        self.some.notify_one();
    }

    /// Beats for ever.
    pub(super) async fn beat(&self) -> Infallible {
        loop {
            while self.busy.borrow().is_empty() {
                self.some.notified().await;
            }
            let busy = self.busy.take();
            for some in busy.chunks(READ_AT_ONCE) {
                for subscription in some.iter().filter_map(Weak::upgrade) {
                    if subscription.write_down() {
                        self.busy.borrow_mut().push(Rc::downgrade(&subscription));
                    }
                }
                yield_now().await;
            }
            sleep(BEAT).await;
        }
    }
}
