//! What is looked at every few seconds: deliveries, counts, the cache.

use busway_core::routes::Flow;
use tokio::time::Instant;

use super::{Engine, Knows, TICK};
use crate::{
    cache::Loaded as Cached,
    feed::{Change, Item},
    health::WRITES_PER_SECOND,
    monitor::Sync,
    world::{Key, Tracked as _},
};

impl Engine {
    pub(super) fn tick(&mut self, now: Instant) {
        if self.writes() {
            self.refresh_deliveries(now);
            let counts: Vec<_> = self
                .world
                .channels
                .iter()
                .filter(|(_, s)| s.count_changed.is_some())
                .map(|(r, _)| Key::Channel(r.clone()))
                .collect();
            for key in counts {
                self.statuses.at(&key, now);
            }
        }
        if self.knows == Knows::Everything
            && let Some(cache) = self.cache.as_mut()
        {
            cache.save(&self.world, &self.given);
        }
    }

    /// At most so many objects a tick that the bound on writes a second holds.
    fn refresh_deliveries(&mut self, now: Instant) {
        let Some(data_plane) = self.given.data_plane.clone() else {
            return;
        };
        let wall = self.given.options.clock.now();
        let mut room = WRITES_PER_SECOND.saturating_mul(u32::try_from(TICK.as_secs()).unwrap_or(1));
        for (r, s) in &mut self.world.subscriptions {
            if room == 0 {
                return;
            }
            let Some(uid) = s.uid().filter(|_| s.is_alive()) else {
                continue;
            };
            let Some(health) = data_plane.health(&uid) else {
                continue;
            };
            if let Some(next) = s.delivering.refresh(&health, wall, now) {
                s.delivering = next;
                room -= 1;
                self.statuses.at(&Key::Subscription(r.clone()), now);
            }
        }
    }

    /// The source has not answered: what the last process knew is served.
    pub(super) fn load_cache(&mut self) {
        let Some(Cached {
            saved_at,
            bus,
            channels,
            subscriptions,
        }) = self.cache.as_ref().and_then(crate::cache::Cache::load)
        else {
            return;
        };
        tracing::warn!(
            ?saved_at,
            "the resources cannot be read; serving those of the last process"
        );
        self.take_item(Item::Bus(self.given.bus_ref.clone(), Change::Applied(bus)));
        for (r, channel) in channels {
            self.take_item(Item::Channel(r, Change::Applied(channel)));
        }
        for (r, subscription) in subscriptions {
            self.take_item(Item::Subscription(r, Change::Applied(subscription)));
        }
        self.knows = Knows::Cached;
        self.given
            .shown
            .sync
            .send_replace(Sync::Cached { saved_at });
        self.mark_all();
    }

    pub(crate) fn flow_of(&self, r: &busway_core::SubscriptionRef) -> Option<Flow> {
        let s = self.world.subscriptions.get(r)?;
        let view = s.view.as_ref()?;
        let blame = view.problem().map(|_| Self::blame_of_subscription(s, view));
        Some(super::publish::flow(blame, s.object.as_ref()?.spec.paused))
    }
}
