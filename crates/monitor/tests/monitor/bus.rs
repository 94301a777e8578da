//! A bus that records its hooks, and fails, panics and hangs as it is told to.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use busway_core::{
    Bus, ChannelRef, SubscriptionRef,
    bus::{
        BusError, BusSpec, Capabilities, ChannelSpec, Credit, Deliveries, Durability, HookError,
        MemorySettings, Ordering, Profile, PublishError, Scope, SubscriptionSpec,
    },
};

#[derive(Clone, Debug)]
pub(crate) enum Fault {
    Fails(HookError),
    Panics,
    Hangs,
}

#[derive(Default)]
struct Log {
    calls: Vec<String>,
    faults: HashMap<String, VecDeque<Fault>>,
    /// Keys with a hook that runs.
    active: HashSet<String>,
    overlaps: Vec<String>,
    most_at_once: usize,
    memory: Option<MemorySettings>,
}

pub(crate) struct FakeBus {
    log: Mutex<Log>,
    scope: Scope,
    hook_takes: std::time::Duration,
}

impl FakeBus {
    pub(crate) fn new(scope: Scope) -> Arc<Self> {
        Self::slow(scope, std::time::Duration::ZERO)
    }

    pub(crate) fn slow(scope: Scope, hook_takes: std::time::Duration) -> Arc<Self> {
        Arc::new(Self {
            log: Mutex::default(),
            scope,
            hook_takes,
        })
    }

    /// `hook key`, in the order of their beginnings.
    pub(crate) fn calls(&self) -> Vec<String> {
        self.log.lock().unwrap().calls.clone()
    }

    pub(crate) fn count(&self, call: &str) -> usize {
        self.calls().iter().filter(|c| c.starts_with(call)).count()
    }

    /// The next calls of `hook key` do this.
    pub(crate) fn fault(&self, call: &str, faults: impl IntoIterator<Item = Fault>) {
        let mut log = self.log.lock().unwrap();
        log.faults
            .entry(call.to_owned())
            .or_default()
            .extend(faults);
    }

    pub(crate) fn overlaps(&self) -> Vec<String> {
        self.log.lock().unwrap().overlaps.clone()
    }

    pub(crate) fn most_at_once(&self) -> usize {
        self.log.lock().unwrap().most_at_once
    }

    /// The bounds that it was last synced with.
    pub(crate) fn memory(&self) -> Option<MemorySettings> {
        self.log.lock().unwrap().memory
    }

    async fn hook(&self, hook: &str, key: &str, with: &str) -> Result<(), HookError> {
        let fault = {
            let mut log = self.log.lock().unwrap();
            log.calls.push(format!("{hook} {key}{with}"));
            if !log.active.insert(key.to_owned()) {
                log.overlaps.push(format!("{hook} {key}"));
            }
            log.most_at_once = log.most_at_once.max(log.active.len());
            log.faults
                .get_mut(&format!("{hook} {key}"))
                .and_then(VecDeque::pop_front)
        };
        let _over = Over(self, key.to_owned());
        if !self.hook_takes.is_zero() {
            tokio::time::sleep(self.hook_takes).await;
        }
        match fault {
            None => Ok(()),
            Some(Fault::Fails(error)) => Err(error),
            Some(Fault::Panics) => panic!("as the test asked"),
            Some(Fault::Hangs) => std::future::pending().await,
        }
    }
}

struct Over<'a>(&'a FakeBus, String);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.log.lock().unwrap().active.remove(&self.1);
    }
}

fn shown(parameters: &busway_core::parameters::ResolvedParameters) -> String {
    let all: Vec<_> = parameters
        .iter()
        .map(|(k, v)| format!(" {k}={v}"))
        .collect();
    all.concat()
}

#[async_trait]
impl Bus for FakeBus {
    fn profile(&self) -> Profile {
        Profile {
            scope: self.scope,
            durability: Durability::Memory,
            ordering: Ordering::SingleConsumer,
            can_delay: false,
            capabilities: Capabilities::NONE,
            channel_parameters: Vec::new(),
            subscription_parameters: Vec::new(),
        }
    }

    async fn sync_bus(&self, bus: &BusSpec) -> Result<(), HookError> {
        self.log.lock().unwrap().memory = bus.memory;
        self.hook("sync_bus", &bus.bus.to_string(), "").await
    }

    async fn provision(&self, channel: &ChannelSpec) -> Result<(), HookError> {
        let with = format!(" {}{}", channel.uid, shown(&channel.parameters));
        self.hook("provision", channel.channel.as_str(), &with)
            .await
    }

    async fn unprovision(&self, channel: &ChannelSpec) -> Result<(), HookError> {
        let with = format!(" {}", channel.uid);
        self.hook("unprovision", channel.channel.as_str(), &with)
            .await
    }

    async fn subscribe(&self, s: &SubscriptionSpec) -> Result<(), HookError> {
        let with = format!(" {}{}", s.uid, shown(&s.parameters));
        self.hook("subscribe", s.subscription.as_str(), &with).await
    }

    async fn unsubscribe(&self, s: &SubscriptionSpec) -> Result<(), HookError> {
        let with = format!(" {}", s.uid);
        self.hook("unsubscribe", s.subscription.as_str(), &with)
            .await
    }

    async fn publish(
        &self,
        channel: &ChannelRef,
        _: busway_message::Message,
    ) -> Result<(), PublishError> {
        Err(PublishError::UnknownChannel(channel.clone()))
    }

    async fn consume(&self, _: &SubscriptionRef, _: Credit) -> Result<Deliveries, BusError> {
        Err(BusError::UnknownSubscription)
    }
}
