//! Who is Ready, as a watch sees it.

use std::{cell::RefCell, collections::HashMap, fmt::Debug, hash::Hash, rc::Rc, time::Duration};

use anyhow::Result;
use busway_api::{Channel, ChannelStatus, Subscription, SubscriptionStatus};
use busway_testkit::wait;
use futures::StreamExt as _;
use k8s_openapi::{NamespaceResourceScope, apimachinery::pkg::apis::meta::v1::Condition};
use kube::{
    Api, Client, Resource,
    runtime::watcher::{self, Event, watcher},
};
use serde::de::DeserializeOwned;

/// A status with conditions.
trait Conditions: Default + PartialEq + Clone + 'static {
    fn conditions(&self) -> &[Condition];
}

impl Conditions for ChannelStatus {
    fn conditions(&self) -> &[Condition] {
        &self.conditions
    }
}

impl Conditions for SubscriptionStatus {
    fn conditions(&self) -> &[Condition] {
        &self.conditions
    }
}

/// What is known of the objects of one kind.
#[derive(Debug)]
struct Kind<S> {
    last: HashMap<String, (S, bool)>,
    ready: usize,
    status_writes: u32,
    trouble: Option<String>,
}

type Shared<S> = Rc<RefCell<Kind<S>>>;

/// Channels and Subscriptions of one namespace, followed from now on.
#[derive(Debug)]
pub(super) struct Readiness {
    channels: Shared<ChannelStatus>,
    subscriptions: Shared<SubscriptionStatus>,
}

impl Readiness {
    pub(super) fn watch(client: &Client, namespace: &str) -> Self {
        Self {
            channels: follow::<Channel, _>(client, namespace, |channel| channel.status.as_ref()),
            subscriptions: follow::<Subscription, _>(client, namespace, |subscription| {
                subscription.status.as_ref()
            }),
        }
    }

    /// Waits until so many of each are Ready of their newest generation. Returns the status writes per Subscription.
    pub(super) async fn all(
        &self,
        channels: u32,
        subscriptions: u32,
        within: Duration,
    ) -> Result<f64> {
        wait::until("all are Ready", within, || async {
            let (chan, subs) = (self.channels.borrow(), self.subscriptions.borrow());
            if chan.ready == channels as usize && subs.ready == subscriptions as usize {
                return Ok(());
            }
            let trouble = chan.trouble.as_ref().or(subs.trouble.as_ref());
            Err(format!(
                "{} channels and {} subscriptions Ready; {} and {} seen; {trouble:?}; a channel: {:?}; a subscription: {:?}",
                chan.ready,
                subs.ready,
                chan.last.len(),
                subs.last.len(),
                chan.one_not_ready(),
                subs.one_not_ready(),
            ))
        })
        .await?;
        let writes = self.subscriptions.borrow().status_writes;
        Ok(f64::from(writes) / f64::from(subscriptions))
    }
}

fn follow<K, S>(client: &Client, namespace: &str, status: fn(&K) -> Option<&S>) -> Shared<S>
where
    K: Resource<Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned + Send + 'static,
    K::DynamicType: Default + Eq + Hash + Clone,
    S: Conditions,
{
    let kind = Rc::new(RefCell::new(Kind {
        last: HashMap::new(),
        ready: 0,
        status_writes: 0,
        trouble: None,
    }));
    let shared = Rc::clone(&kind);
    let api: Api<K> = Api::namespaced(client.clone(), namespace);
    tokio::task::spawn_local(async move {
        let mut events = watcher(api, watcher::Config::default()).boxed_local();
        while let Some(event) = events.next().await {
            let mut kind = shared.borrow_mut();
            match event {
                Ok(Event::Apply(object) | Event::InitApply(object)) => {
                    let meta = object.meta();
                    let name = meta.name.clone().unwrap_or_default();
                    kind.saw(name, meta.generation, status(&object));
                }
                Ok(_) => {}
                // The watcher tries again by itself.
                Err(error) => kind.trouble = Some(error.to_string()),
            }
        }
    });
    kind
}

impl<S: Conditions> Kind<S> {
    fn saw(&mut self, name: String, generation: Option<i64>, status: Option<&S>) {
        let status = status.cloned().unwrap_or_default();
        let is_ready = status.conditions().iter().any(|condition| {
            condition.type_ == "Ready"
                && condition.status == "True"
                && condition.observed_generation == generation
        });
        let (old, was_ready) = self.last.remove(&name).unwrap_or_default();
        self.ready -= usize::from(was_ready);
        self.ready += usize::from(is_ready);
        self.status_writes += u32::from(old != status);
        self.last.insert(name, (status, is_ready));
    }

    fn one_not_ready(&self) -> Option<(&String, &[Condition])> {
        let (name, (status, _)) = self.last.iter().find(|(_, (_, ready))| !ready)?;
        Some((name, status.conditions()))
    }
}
