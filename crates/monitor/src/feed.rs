//! The source's streams as one, told in the Monitor's words.

use std::sync::Arc;

use busway_api::{Bus, Channel, ClusterBus, Subscription};
use busway_core::{BusRef, ChannelRef, SubscriptionRef};
use futures::{StreamExt as _, stream::BoxStream};
use kube::{
    ResourceExt,
    core::{DeserializeGuard, ObjectMeta},
    runtime::watcher::Event,
};

use crate::{
    convert::bus::AnyBus,
    options::Parts,
    source::{Source, Watch},
    world::NamespaceSeen,
};

/// One of the streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Stream {
    Buses,
    ClusterBuses,
    Channels,
    Subscriptions,
    Namespaces,
}

/// What became of one object.
#[derive(Debug)]
pub(crate) enum Change<T> {
    Applied(T),
    /// It is there and of a form that this version does not know.
    Undecodable {
        meta: Box<ObjectMeta>,
        error: String,
    },
    Gone,
}

/// One object, of whichever kind.
#[derive(Debug)]
pub(crate) enum Item {
    Bus(BusRef, Change<AnyBus>),
    Channel(ChannelRef, Change<Arc<Channel>>),
    Subscription(SubscriptionRef, Change<Arc<Subscription>>),
    Namespace(String, Change<NamespaceSeen>),
}

/// What a stream tells.
#[derive(Debug)]
pub(crate) enum Told {
    /// A list begins; what is not in it until `Listed` is gone.
    Begin,
    Item(Item),
    Listed,
    Trouble(String),
}

pub(crate) type Feed = futures::stream::SelectAll<BoxStream<'static, (Stream, Told)>>;

/// Follows what a Monitor of this bus needs. An operator has the other kind of bus.
pub(crate) fn follow(source: &dyn Source, bus: &BusRef, parts: Parts) -> (Feed, Vec<Stream>) {
    let cluster = matches!(bus, BusRef::Cluster { .. });
    let both = parts == Parts::Both;
    let mut feed = Feed::new();
    let mut needed = vec![Stream::Channels, Stream::Subscriptions];
    feed.push(told(Stream::Channels, source.channels(), |guard| {
        let (namespace, name) = names(&guard);
        Item::Channel(ChannelRef::new(&namespace, &name), change(guard, Arc::new))
    }));
    feed.push(told(
        Stream::Subscriptions,
        source.subscriptions(),
        |guard| {
            let (namespace, name) = names(&guard);
            let reference = SubscriptionRef::new(&namespace, &name);
            Item::Subscription(reference, change(guard, Arc::new))
        },
    ));
    if cluster || both {
        needed.push(Stream::ClusterBuses);
        feed.push(told(
            Stream::ClusterBuses,
            source.cluster_buses(),
            |guard: DeserializeGuard<ClusterBus>| {
                let (_, name) = names(&guard);
                let reference = BusRef::Cluster { name };
                Item::Bus(
                    reference,
                    change(guard, |bus| AnyBus::Cluster(Arc::new(bus))),
                )
            },
        ));
    }
    if !cluster || both {
        needed.push(Stream::Buses);
        feed.push(told(
            Stream::Buses,
            source.buses(),
            |guard: DeserializeGuard<Bus>| {
                let (namespace, name) = names(&guard);
                let reference = BusRef::Namespaced { namespace, name };
                Item::Bus(
                    reference,
                    change(guard, |bus| AnyBus::Namespaced(Arc::new(bus))),
                )
            },
        ));
    }
    if cluster {
        // Not needed to begin with: a bus without allowedNamespaces works where namespaces may not
        // be read.
        feed.push(told(Stream::Namespaces, source.namespaces(), |partial| {
            let seen = NamespaceSeen {
                labels: partial.labels().clone(),
                uid: partial.uid().unwrap_or_default(),
            };
            Item::Namespace(partial.name_any(), Change::Applied(seen))
        }));
    }
    (feed, needed)
}

fn told<K: Send + 'static>(
    stream: Stream,
    watch: Watch<K>,
    item: impl Fn(K) -> Item + Send + 'static,
) -> BoxStream<'static, (Stream, Told)> {
    watch
        .map(move |event| {
            let told = match event {
                Ok(Event::Init) => Told::Begin,
                Ok(Event::InitApply(object) | Event::Apply(object)) => Told::Item(item(object)),
                Ok(Event::Delete(object)) => Told::Item(gone(item(object))),
                Ok(Event::InitDone) => Told::Listed,
                Err(error) => Told::Trouble(error.to_string()),
            };
            (stream, told)
        })
        .boxed()
}

fn gone(item: Item) -> Item {
    match item {
        Item::Bus(bus, _) => Item::Bus(bus, Change::Gone),
        Item::Channel(channel, _) => Item::Channel(channel, Change::Gone),
        Item::Subscription(subscription, _) => Item::Subscription(subscription, Change::Gone),
        Item::Namespace(namespace, _) => Item::Namespace(namespace, Change::Gone),
    }
}

fn names<K: ResourceExt>(guard: &DeserializeGuard<K>) -> (String, String) {
    let meta = match &guard.0 {
        Ok(object) => object.meta(),
        Err(invalid) => &invalid.metadata,
    };
    (
        meta.namespace.clone().unwrap_or_default(),
        meta.name.clone().unwrap_or_default(),
    )
}

fn change<K: ResourceExt, T>(guard: DeserializeGuard<K>, wrap: impl FnOnce(K) -> T) -> Change<T> {
    match guard.0 {
        Ok(mut object) => {
            // Field managers are never looked at, and may be larger than all the rest.
            object.managed_fields_mut().clear();
            Change::Applied(wrap(object))
        }
        Err(invalid) => Change::Undecodable {
            meta: Box::new(invalid.metadata),
            error: invalid.error,
        },
    }
}
