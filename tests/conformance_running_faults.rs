//! The suite for running dispatchers finds what it is there for: a process with one fault fails the case of that
//! guarantee. The process is the test itself, started again.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use busway::buses::memory::MemoryBus;
use busway_buskit::{DispatcherArgs, runner};
use busway_core::{
    Bus, ChannelRef, SubscriptionRef,
    bus::{
        BusError, BusSpec, ChannelSpec, Credit, Deliveries, Durability, HookError, Profile,
        PublishError, Scope, Settle, Settler, SubscriptionSpec,
    },
};
use busway_message::Message;
use busway_monitor::Role;
use busway_testkit::conformance::{
    Verdict,
    running::{Kept, Mode, Store, Subject, World, deleting, restarting, run, serving},
};
use clap::Parser;
use futures::StreamExt as _;
use serde_json::json;

/// Set in the process that has the fault.
const FAULTY: &str = "FAULTY_DISPATCHER";
/// Long enough for a process to start on a machine that is busy; what a fault keeps from happening takes it all.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is wrong with a process.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    LosesMessages,
    ChangesBodies,
    SettlesNothing,
    OnlySaysThatItIsDurable,
    ListensElsewhere,
    ServesAnotherBus,
    LeavesAtOnce,
    EndsInFailure,
    LeavesSomething,
}

struct Faulty {
    bus: MemoryBus,
    fault: Fault,
}

fn profile(fault: Fault, bus: Profile) -> Profile {
    let durability = Durability::Durable {
        detail: "in words only".to_owned(),
    };
    match fault {
        Fault::OnlySaysThatItIsDurable => Profile {
            durability,
            scope: Scope::Shared,
            ..bus
        },
        _ => bus,
    }
}

#[async_trait]
impl Bus for Faulty {
    fn profile(&self) -> Profile {
        profile(self.fault, self.bus.profile())
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
        self.bus.subscribe(subscription).await
    }

    async fn unsubscribe(&self, subscription: &SubscriptionSpec) -> Result<(), HookError> {
        self.bus.unsubscribe(subscription).await
    }

    async fn publish(&self, channel: &ChannelRef, message: Message) -> Result<(), PublishError> {
        match self.fault {
            Fault::LosesMessages => Ok(()),
            Fault::ChangesBodies => {
                let text = String::from_utf8_lossy(message.body()).into_owned();
                self.bus
                    .publish(channel, message.with_body(text.into()))
                    .await
            }
            _ => self.bus.publish(channel, message).await,
        }
    }

    async fn consume(
        &self,
        subscription: &SubscriptionRef,
        credit: Credit,
    ) -> Result<Deliveries, BusError> {
        let deliveries = self.bus.consume(subscription, credit).await?;
        if self.fault != Fault::SettlesNothing {
            return Ok(deliveries);
        }
        let spoilt = deliveries.map(|delivery| {
            delivery.map(|mut delivery| {
                let inner = std::sync::Mutex::new(Some(delivery.settle));
                delivery.settle = Settle::new(Arc::new(HandsBack(inner)), 0);
                delivery
            })
        });
        Ok(spoilt.boxed())
    }
}

/// Ends every delivery by handing it back.
struct HandsBack(std::sync::Mutex<Option<Settle>>);

#[async_trait]
impl Settler for HandsBack {
    async fn done(&self, token: u64) -> Result<(), BusError> {
        self.release(token);
        Ok(())
    }

    async fn retry_at(&self, token: u64, _: SystemTime, _: u32) -> Result<(), BusError> {
        self.release(token);
        Ok(())
    }

    fn release(&self, _: u64) {
        drop(self.0.lock().unwrap().take());
    }

    async fn extend(&self, _: u64, _: u32) -> Result<(), BusError> {
        Ok(())
    }
}

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    args: DispatcherArgs,
}

/// The process with the fault; what is for it stands after `--`.
fn serve(fault: Fault) {
    let mut args = Cli::parse_from(std::env::args().skip_while(|arg| arg != "--")).args;
    match fault {
        Fault::ListensElsewhere => args.listen = Some(([127, 0, 0, 1], 0).into()),
        Fault::ServesAnotherBus => args.bus = Some("default/conformance-other".to_owned()),
        Fault::LeavesAtOnce => args.grace = Duration::ZERO,
        _ => {}
    }
    let served = runner::serve(&args, Role::Whole, |given| {
        let bus = MemoryBus::new(given.budget.clone(), Arc::clone(&given.clock));
        Ok(Arc::new(Faulty { bus, fault }))
    });
    served.unwrap();
    assert_ne!(fault, Fault::EndsInFailure);
}

/// A store in which there is always a channel, with a message.
struct Leftover;

impl Store for Leftover {
    fn kept(&self, _: &Path) -> anyhow::Result<Kept> {
        Ok(Kept {
            channels: 1,
            messages: vec![("waits".into(), 0)],
            ..Kept::default()
        })
    }
}

fn subject(fault: Fault, test: &str) -> Subject {
    let memory = MemoryBus::new(
        busway_core::budget::MemoryBudget::new(0),
        Arc::new(busway_core::world::SystemClock),
    );
    let subject = Subject::new(
        std::env::current_exe().unwrap(),
        profile(fault, memory.profile()),
    )
    .args(["--exact", test, "--nocapture", "--"])
    .environment(|_| vec![(FAULTY, "yes".into())])
    .spec(json!({"memory": {}}))
    .patience(PATIENCE);
    match fault {
        Fault::LeavesSomething => subject.store(Leftover),
        _ => subject,
    }
}

fn found(fault: Fault, test: &str, case: impl AsyncFnOnce(&World) -> Verdict, says: &str) {
    if std::env::var_os(FAULTY).is_some() {
        return serve(fault);
    }
    let verdict = run(test, Mode::Folder, subject(fault, test), case);
    let error = verdict.expect_err(&format!("{fault:?} is not found"));
    // The first is what does not hold; what the process printed may say anything.
    let said = error.root_cause().to_string();
    assert!(said.contains(says), "{error:?}");
}

/// A test a fault: the case that must find it, and what it must say.
macro_rules! found {
    ($($name:ident: $fault:ident by $case:path, $says:literal;)+) => {
        $(#[test]
        fn $name() {
            found(Fault::$fault, stringify!($name), $case, $says);
        })+
    };
}

found! {
    messages_that_are_lost_are_found:
        LosesMessages by serving::a_later_subscription_sees_nothing_from_before, "1 requests have reached";
    a_body_that_is_changed_is_found:
        ChangesBodies by serving::every_subscription_gets_a_message_byte_for_byte, "the body of message 0 is another";
    what_is_delivered_again_and_again_is_found:
        SettlesNothing by serving::a_later_subscription_sees_nothing_from_before, "the later subscription got";
    a_promise_that_is_not_kept_over_kill_9_is_found:
        OnlySaysThatItIsDurable
        by restarting::what_was_unsettled_at_kill_9_is_delivered_and_its_attempts_count_on, "9 requests have reached";
    another_port_is_found:
        ListensElsewhere by serving::the_environment_says_which_bus_is_served, "refused";
    another_bus_is_found:
        ServesAnotherBus by serving::the_environment_says_which_bus_is_served, "Channel orders is Ready True";
    messages_in_flight_that_are_dropped_are_found:
        LeavesAtOnce by restarting::sigterm_ends_it_with_0_and_loses_nothing_in_flight, "accepted and lost";
    an_end_that_is_no_success_is_found:
        EndsInFailure by restarting::sigterm_ends_it_with_0_and_loses_nothing_in_flight, "after SIGTERM it ended with";
    what_is_left_in_the_store_is_found:
        LeavesSomething by deleting::what_was_deleted_meanwhile_is_unprovisioned_at_the_start, "keeps nothing";
}
