//! The conformance suite finds what it is there for: a bus that breaks one guarantee fails the case
//! of that guarantee.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use busway::buses::memory::MemoryBus;
use busway_core::{
    Bus, ChannelRef, SubscriptionRef,
    budget::MemoryBudget,
    bus::{
        Backlog, BusError, BusSpec, ChannelSpec, Credit, Deliveries, Delivery, HookError, Profile,
        PublishError, Settle, Settler, SubscriptionSpec,
    },
    world::SystemClock,
};
use busway_message::Message;
use busway_testkit::conformance::{
    Subject, Verdict, consuming, hooks, optional, publishing, run, settling,
};
use futures::StreamExt as _;

/// What is wrong with a bus.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    LosesEveryTenth,
    TakesUnknownChannels,
    ChangesHeaders,
    IgnoresCredit,
    ForgetsAttempts,
    CountsReleases,
    SettlesNothing,
    DropsWhatIsDropped,
    DelaysNothing,
    UnsubscribesOthers,
    DiscardsOnSubscribe,
    InventsBacklog,
}

struct Faulty {
    bus: MemoryBus,
    fault: Fault,
    published: AtomicU64,
}

struct Subjected(Fault);

#[async_trait]
impl Subject for Subjected {
    async fn open(&self) -> anyhow::Result<Arc<dyn Bus>> {
        Ok(Arc::new(Faulty {
            bus: MemoryBus::new(MemoryBudget::new(0), Arc::new(SystemClock)),
            fault: self.0,
            published: AtomicU64::new(0),
        }))
    }

    fn patience(&self) -> Duration {
        Duration::from_secs(3)
    }
}

#[async_trait]
impl Bus for Faulty {
    fn profile(&self) -> Profile {
        self.bus.profile()
    }

    async fn sync_bus(&self, bus: &BusSpec) -> Result<(), HookError> {
        self.bus.sync_bus(bus).await
    }

    async fn provision(&self, channel: &ChannelSpec) -> Result<(), HookError> {
        self.bus.provision(channel).await
    }

    async fn unprovision(&self, channel: &ChannelSpec) -> Result<(), HookError> {
        self.bus.unprovision(channel).await
    }

    async fn subscribe(&self, subscription: &SubscriptionSpec) -> Result<(), HookError> {
        if self.fault == Fault::DiscardsOnSubscribe {
            self.bus.unsubscribe(subscription).await?;
        }
        self.bus.subscribe(subscription).await
    }

    async fn unsubscribe(&self, subscription: &SubscriptionSpec) -> Result<(), HookError> {
        let mut subscription = subscription.clone();
        if self.fault == Fault::UnsubscribesOthers {
            subscription.uid = busway_core::Uid::new("subscription-s");
        }
        self.bus.unsubscribe(&subscription).await
    }

    async fn publish(&self, channel: &ChannelRef, message: Message) -> Result<(), PublishError> {
        let n = self.published.fetch_add(1, Ordering::Relaxed);
        let message = match self.fault {
            Fault::LosesEveryTenth if n % 10 == 9 => return Ok(()),
            Fault::ChangesHeaders => {
                let name = "tracestate".parse().unwrap();
                message.with_header(name, "joined=1".parse().unwrap())
            }
            _ => message,
        };
        match self.bus.publish(channel, message).await {
            Err(PublishError::UnknownChannel(_)) if self.fault == Fault::TakesUnknownChannels => {
                Ok(())
            }
            answer => answer,
        }
    }

    async fn consume(
        &self,
        subscription: &SubscriptionRef,
        mut credit: Credit,
    ) -> Result<Deliveries, BusError> {
        if self.fault == Fault::IgnoresCredit {
            (credit.messages, credit.bytes) = (usize::MAX, usize::MAX);
        }
        let fault = self.fault;
        let deliveries = self.bus.consume(subscription, credit).await?;
        Ok(deliveries
            .map(move |delivery| delivery.map(|delivery| spoil(fault, delivery)))
            .boxed())
    }

    async fn backlog(&self, subscription: &SubscriptionRef) -> Result<Option<Backlog>, BusError> {
        let mut backlog = self.bus.backlog(subscription).await?;
        if let Some(backlog) = &mut backlog
            && self.fault == Fault::InventsBacklog
        {
            backlog.count += backlog.in_flight;
        }
        Ok(backlog)
    }
}

fn spoil(fault: Fault, mut delivery: Delivery) -> Delivery {
    let attempts = delivery.attempts;
    let inner = delivery.settle;
    let settler = Spoilt {
        fault,
        attempts,
        inner: tokio::sync::Mutex::new(Some(inner)),
    };
    delivery.settle = Settle::new(Arc::new(settler), 0);
    if fault == Fault::ForgetsAttempts {
        delivery.attempts = 0;
    }
    delivery
}

struct Spoilt {
    fault: Fault,
    attempts: u32,
    inner: tokio::sync::Mutex<Option<Settle>>,
}

#[async_trait]
impl Settler for Spoilt {
    async fn done(&self, _: u64) -> Result<(), BusError> {
        let inner = self.inner.lock().await.take().unwrap();
        if self.fault == Fault::SettlesNothing {
            inner.release();
            return Ok(());
        }
        inner.done().await
    }

    async fn retry_at(&self, _: u64, at: SystemTime, attempts: u32) -> Result<(), BusError> {
        let inner = self.inner.lock().await.take().unwrap();
        let at = match self.fault {
            Fault::DelaysNothing => SystemTime::UNIX_EPOCH,
            _ => at,
        };
        inner.retry_at(at, attempts).await
    }

    fn release(&self, _: u64) {
        let inner = self.inner.try_lock().unwrap().take().unwrap();
        let now = SystemTime::now();
        match self.fault {
            Fault::CountsReleases => {
                let counted = inner.retry_at(now, self.attempts + 1);
                futures::FutureExt::now_or_never(counted).unwrap().unwrap();
            }
            Fault::DropsWhatIsDropped => {
                futures::FutureExt::now_or_never(inner.done())
                    .unwrap()
                    .unwrap();
            }
            _ => inner.release(),
        }
    }

    async fn extend(&self, _: u64, attempts: u32) -> Result<(), BusError> {
        match &*self.inner.lock().await {
            Some(inner) => inner.extend(attempts).await,
            None => Err(BusError::NotHeld),
        }
    }
}

fn fails<F: Future<Output = Verdict>>(
    fault: Fault,
    case: impl FnOnce(Arc<dyn Subject>) -> F,
) -> String {
    let verdict = run("a case", Subjected(fault), case);
    let error = verdict.expect_err(&format!("{fault:?} is not found"));
    format!("{error:#}")
}

/// A test a fault: the case that must find it, and what it must say.
macro_rules! found {
    ($($name:ident: $fault:ident by $case:path, $says:literal;)+) => {
        $(#[test]
        fn $name() {
            let said = fails(Fault::$fault, $case);
            assert!(said.contains($says), "{said}");
        })+
    };
}

found! {
    a_credit_that_is_ignored_is_found:
        IgnoresCredit by consuming::credit_in_messages_is_never_passed, "with a credit of 3";
    bytes_that_are_ignored_are_found:
        IgnoresCredit by consuming::credit_in_bytes_is_passed_by_one_message_at_most, "nothing was to come";
    an_unknown_channel_that_takes_messages_is_found:
        TakesUnknownChannels by publishing::an_unknown_channel_is_refused, "UnknownChannel";
    headers_that_are_joined_are_found:
        ChangesHeaders by publishing::headers_and_bytes_come_out_as_they_went_in, "headers of message";
    attempts_that_are_forgotten_are_found:
        ForgetsAttempts by settling::extending_stores_the_count, "7 attempts";
    a_release_that_counts_is_found:
        CountsReleases by settling::a_dropped_delivery_comes_back_and_is_no_attempt, "dropped 1 times";
    a_settlement_that_does_nothing_is_found:
        SettlesNothing by settling::done_is_final, "nothing was to come";
    a_delay_that_is_none_is_found:
        DelaysNothing by settling::a_delayed_message_comes_at_its_time_with_its_count, "before its time";
    a_late_hook_that_removes_the_new_one_is_found:
        UnsubscribesOthers by hooks::a_late_hook_of_an_old_identity_removes_nothing_of_the_new_one, "not known";
    a_hook_that_empties_the_queue_when_repeated_is_found:
        DiscardsOnSubscribe by hooks::every_hook_may_be_repeated, "was to get";
    a_backlog_that_is_invented_is_found:
        InventsBacklog by optional::the_backlog_is_what_is_accepted_and_not_settled, "of 2 held";
    lost_messages_are_found:
        LosesEveryTenth by publishing::many_publishers_and_consumers_lose_nothing, "no message came";
    a_drop_that_settles_is_found:
        DropsWhatIsDropped by settling::a_dropped_delivery_comes_back_and_is_no_attempt, "no message came";
}
