//! What the owner task knows: the resources, and what was done for them.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use busway_api::{
    AdmittedNamespace, Channel, PROVISIONED_FINALIZER, SUBSCRIBED_FINALIZER, Subscription,
    parameters::Argument,
};
use busway_core::{
    BusRef, ChannelRef, SubscriptionRef, Uid,
    bus::{BusSpec, ChannelSpec, HookError, SubscriptionSpec},
    parameters::ResolvedParameters,
};
use kube::core::ObjectMeta;
use tokio::time::Instant;

use crate::{
    convert::{
        Problem,
        bus::{AnyBus, BusView},
        subscription::{Targets, View},
    },
    health::Delivering,
    jobs::Call,
    source::{FinalizerChange, Kind, ObjectKey},
    status::Memory,
};

/// What work and status are kept by.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Key {
    Bus,
    Channel(ChannelRef),
    Subscription(SubscriptionRef),
}

/// A hook that failed, and what it was called with.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    pub(crate) call: Call,
    pub(crate) generation: i64,
    pub(crate) error: HookError,
}

/// What hooks made, or began to make.
#[derive(Clone, Debug)]
pub(crate) struct Backing<S> {
    pub(crate) spec: Arc<S>,
    /// Of the object, when the hook last succeeded or needed no call.
    pub(crate) generation: i64,
    pub(crate) state: Made,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Made {
    Done,
    /// A first call failed: something may be there.
    Perhaps,
    /// It is there, and the bus wants another call.
    Again,
}

/// A finalizer that was written and perhaps not yet seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WrittenFinalizer {
    pub(crate) uid: Uid,
    pub(crate) change: FinalizerChange,
}

/// What Channel and Subscription have in common.
#[derive(Debug)]
pub(crate) struct Common<S> {
    /// The present form cannot be decoded; the last good one, if there was one, goes on.
    pub(crate) undecodable: Option<(Box<ObjectMeta>, String)>,
    /// Fields whose behaviour is not there yet.
    pub(crate) refused: Option<Problem>,
    pub(crate) backing: Option<Backing<S>>,
    /// The identity whose removal from the bus is done.
    pub(crate) removed: Option<Uid>,
    pub(crate) failure: Option<Failure>,
    pub(crate) finalizer: Option<WrittenFinalizer>,
    /// Since when it is being taken out of the routes.
    pub(crate) stopping: Option<Instant>,
    /// Whether a data plane has ever been seen to serve it.
    pub(crate) was_loaded: bool,
    pub(crate) memory: Memory,
}

impl<S> Default for Common<S> {
    fn default() -> Self {
        Self {
            undecodable: None,
            refused: None,
            backing: None,
            removed: None,
            failure: None,
            finalizer: None,
            stopping: None,
            was_loaded: false,
            memory: Memory::default(),
        }
    }
}

impl<S> Common<S> {
    pub(crate) fn is_done(&self) -> bool {
        self.backing
            .as_ref()
            .is_some_and(|b| b.state != Made::Perhaps)
    }
}

#[derive(Debug, Default)]
pub(crate) struct ChannelState {
    pub(crate) object: Option<Arc<Channel>>,
    pub(crate) common: Common<ChannelSpec>,
    /// The arguments with which it was last valid, at which generation.
    pub(crate) good: Option<(i64, Vec<Argument>)>,
    /// The count of subscriptions as it is shown, and since when it has been another.
    pub(crate) shown_count: Option<i32>,
    pub(crate) count_changed: Option<Instant>,
}

#[derive(Debug, Default)]
pub(crate) struct SubscriptionState {
    pub(crate) object: Option<Arc<Subscription>>,
    pub(crate) common: Common<SubscriptionSpec>,
    pub(crate) good: Option<Good>,
    /// As it was last looked at.
    pub(crate) view: Option<Arc<View>>,
    pub(crate) delivering: Delivering,
}

/// A subscription as it was when it was last valid.
#[derive(Clone, Debug)]
pub(crate) struct Good {
    pub(crate) generation: i64,
    pub(crate) arguments: Vec<Argument>,
    pub(crate) parameters: ResolvedParameters,
    pub(crate) targets: Arc<Targets>,
}

/// The bus that this Monitor serves.
#[derive(Debug, Default)]
pub(crate) struct BusState {
    pub(crate) object: Option<AnyBus>,
    pub(crate) undecodable: Option<String>,
    /// The last valid form.
    pub(crate) view: Option<BusView>,
    /// What is wrong with the present form.
    pub(crate) problem: Option<Problem>,
    /// What `sync_bus` last succeeded with, at which generation.
    pub(crate) synced: Option<(Arc<BusSpec>, i64)>,
    pub(crate) failure: Option<Failure>,
    pub(crate) memory: Memory,
    /// The namespaces that it has taken in, by its own status; or by this process, where that writes them.
    pub(crate) admitted: Vec<AdmittedNamespace>,
}

/// A namespace, as far as it matters to a ClusterBus.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct NamespaceSeen {
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) uid: String,
}

/// What is known of other buses, to tell an unknown bus from another's.
#[derive(Clone, Debug)]
pub(crate) struct KnownBus {
    pub(crate) is_default: bool,
    pub(crate) created: Option<k8s_openapi::jiff::Timestamp>,
    pub(crate) deleting: bool,
}

#[derive(Debug, Default)]
pub(crate) struct World {
    pub(crate) bus: BusState,
    pub(crate) channels: HashMap<ChannelRef, ChannelState>,
    /// Boxed: a table has up to twice the places that it needs.
    pub(crate) subscriptions: HashMap<SubscriptionRef, Box<SubscriptionState>>,
    pub(crate) by_channel: HashMap<ChannelRef, BTreeSet<SubscriptionRef>>,
    pub(crate) by_uid: HashMap<Uid, Key>,
    pub(crate) buses: HashMap<BusRef, KnownBus>,
    pub(crate) namespaces: HashMap<String, NamespaceSeen>,
}

impl World {
    /// The ClusterBus that channels without a bus are put on: the newest that is annotated.
    pub(crate) fn default_bus(&self) -> Option<&BusRef> {
        self.buses
            .iter()
            .filter(|(_, known)| known.is_default && !known.deleting)
            .max_by(|(a_ref, a), (b_ref, b)| {
                a.created.cmp(&b.created).then_with(|| b_ref.cmp(a_ref))
            })
            .map(|(bus, _)| bus)
    }

    pub(crate) fn subscriptions_of(
        &self,
        channel: &ChannelRef,
    ) -> impl Iterator<Item = (&SubscriptionRef, &SubscriptionState)> {
        self.by_channel
            .get(channel)
            .into_iter()
            .flatten()
            .filter_map(|r| self.subscriptions.get_key_value(r))
            .map(|(r, state)| (r, &**state))
    }
}

/// What is asked of both kinds of object.
pub(crate) trait Tracked {
    const KIND: Kind;
    const FINALIZER: &'static str;
    type Spec;

    fn meta(&self) -> Option<&ObjectMeta>;
    fn common(&self) -> &Common<Self::Spec>;

    fn uid(&self) -> Option<Uid> {
        self.meta()?.uid.as_deref().map(Uid::new)
    }

    fn generation(&self) -> i64 {
        self.meta().and_then(|m| m.generation).unwrap_or(0)
    }

    fn is_deleting(&self) -> bool {
        self.meta().is_some_and(|m| m.deletion_timestamp.is_some())
    }

    /// There and not being deleted.
    fn is_alive(&self) -> bool {
        self.meta().is_some() && !self.is_deleting()
    }

    /// Whether our finalizer is on it, by what was seen or written since.
    fn has_finalizer(&self) -> bool {
        let Some(meta) = self.meta() else {
            return false;
        };
        if let Some(written) = &self.common().finalizer
            && Some(written.uid.as_str()) == meta.uid.as_deref()
        {
            return written.change == FinalizerChange::Add;
        }
        meta.finalizers
            .as_ref()
            .is_some_and(|all| all.iter().any(|f| f == Self::FINALIZER))
    }

    fn object_key(&self) -> Option<ObjectKey> {
        let meta = self.meta()?;
        Some(ObjectKey {
            kind: Self::KIND,
            namespace: meta.namespace.clone(),
            name: meta.name.clone()?,
            uid: meta.uid.clone().unwrap_or_default(),
        })
    }
}

impl<T: Tracked> Tracked for Box<T> {
    const KIND: Kind = T::KIND;
    const FINALIZER: &'static str = T::FINALIZER;
    type Spec = T::Spec;

    fn meta(&self) -> Option<&ObjectMeta> {
        (**self).meta()
    }

    fn common(&self) -> &Common<T::Spec> {
        (**self).common()
    }
}

impl Tracked for ChannelState {
    const KIND: Kind = Kind::Channel;
    const FINALIZER: &'static str = PROVISIONED_FINALIZER;
    type Spec = ChannelSpec;

    fn meta(&self) -> Option<&ObjectMeta> {
        self.object.as_ref().map(|o| &o.metadata)
    }

    fn common(&self) -> &Common<ChannelSpec> {
        &self.common
    }
}

impl Tracked for SubscriptionState {
    const KIND: Kind = Kind::Subscription;
    const FINALIZER: &'static str = SUBSCRIBED_FINALIZER;
    type Spec = SubscriptionSpec;

    fn meta(&self) -> Option<&ObjectMeta> {
        self.object.as_ref().map(|o| &o.metadata)
    }

    fn common(&self) -> &Common<SubscriptionSpec> {
        &self.common
    }
}
