//! Bus and ClusterBus: what serves them.

mod dereference;
mod validate;

mod build;

mod apply;
mod status;

mod admitted;
mod delete;
mod turn;

use std::{sync::Arc, time::Duration};

use busway_api::{AdmittedNamespace, Bus, BusSpec, Channel, ClusterBus, Reason};
use kube::{
    ResourceExt as _,
    runtime::{controller::Action, reflector::ObjectRef},
};

pub(crate) use admitted::Admitted;
pub(crate) use turn::Turn;

use super::{
    args::Settings,
    children::ChildRef,
    context::Context,
    controller::Outcome,
    error::Error,
    labels,
    names::BusName,
    object::{self, Object},
    stores::{Change, Owner, Queues, Stores},
};

/// How soon a bus whose turn to roll has not come looks again.
const TURN_LOOK: Duration = Duration::from_secs(2);

/// How soon a bus is looked at again that seemed to go: its store may lag behind.
const GONE_LOOK: Duration = Duration::from_secs(2);

/// A Bus or a ClusterBus.
pub(crate) trait AnyBus: Object {
    /// What the two share.
    fn bus(&self) -> &BusSpec;

    /// Where its children are.
    fn place(&self, settings: &Settings) -> Place;

    /// Whether that channel is on it, by what the channel asks for.
    fn carries(&self, channel: &Asks<'_>) -> bool;

    /// The namespaces that it has taken in, as they are to be remembered.
    fn admitted(&self, ctx: &Context) -> Vec<AdmittedNamespace>;
}

/// What a channel asks for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asks<'a> {
    namespace: Option<&'a str>,
    bus: Option<&'a str>,
    cluster_bus: Option<&'a str>,
}

impl<'a> Asks<'a> {
    fn of(channel: &'a Channel) -> Self {
        Self {
            namespace: channel.metadata.namespace.as_deref(),
            bus: channel.spec.bus.as_deref(),
            cluster_bus: channel.spec.cluster_bus.as_deref(),
        }
    }
}

impl AnyBus for Bus {
    fn bus(&self) -> &BusSpec {
        &self.spec
    }

    fn place(&self, _settings: &Settings) -> Place {
        let namespace = self.namespace().unwrap_or_default();
        Place {
            kind: BusKind::Bus,
            name: self.name_any(),
            bus_namespace: Some(namespace.clone()),
            namespace,
        }
    }

    fn carries(&self, channel: &Asks<'_>) -> bool {
        channel.bus == self.metadata.name.as_deref()
            && channel.namespace == self.metadata.namespace.as_deref()
    }

    fn admitted(&self, _ctx: &Context) -> Vec<AdmittedNamespace> {
        Vec::new()
    }
}

impl AnyBus for ClusterBus {
    fn bus(&self) -> &BusSpec {
        &self.spec.bus
    }

    fn place(&self, settings: &Settings) -> Place {
        Place {
            kind: BusKind::ClusterBus,
            name: self.name_any(),
            bus_namespace: None,
            namespace: settings.namespace.clone(),
        }
    }

    fn carries(&self, channel: &Asks<'_>) -> bool {
        channel.cluster_bus == self.metadata.name.as_deref()
    }

    fn admitted(&self, ctx: &Context) -> Vec<AdmittedNamespace> {
        admitted::now(self, &ctx.stores, &ctx.admitted)
    }
}

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BusKind {
    Bus,
    ClusterBus,
}

/// Where a bus's children are, and what they are called after.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) kind: BusKind,
    /// The bus's own name.
    pub(crate) name: String,
    /// The bus's own namespace.
    pub(crate) bus_namespace: Option<String>,
    /// Its children's.
    pub(crate) namespace: String,
}

impl Place {
    /// What its children are called.
    pub(crate) fn names(&self) -> BusName<'_> {
        match self.kind {
            BusKind::Bus => BusName::Bus(&self.name),
            BusKind::ClusterBus => BusName::ClusterBus(&self.name),
        }
    }
}

/// Every child of a bus, where its children are: an object elsewhere that carries its UID is somebody else's idea.
fn children<K: AnyBus>(ctx: &Context, bus: &K, place: &Place) -> Vec<ChildRef> {
    let mut all = ctx.stores.children_of(bus.uid_or_empty());
    all.retain(|at| at.namespace.is_none() || at.namespace.as_ref() == Some(&place.namespace));
    all
}

/// Has the buses looked at that a change is about.
pub(crate) fn touched(change: &Change, stores: &Stores, queues: &Queues) {
    match change {
        Change::Bus(bus) => queues.buses.add(ObjectRef::from_obj(&**bus)),
        Change::ClusterBus(bus) => queues.cluster_buses.add(ObjectRef::from_obj(&**bus)),
        Change::Child(Owner::Bus { namespace, name }) => {
            queues.buses.add(ObjectRef::new(name).within(namespace));
        }
        Change::Child(Owner::ClusterBus { name }) => {
            queues.cluster_buses.add(ObjectRef::new(name));
        }
        Change::Channel(channel) => {
            freed(channel, stores, queues);
            admitted::channel_touched(channel, stores, queues);
        }
        Change::Namespace(namespace) => admitted::namespace_touched(namespace, stores, queues),
        Change::Subscription(_) | Change::Child(Owner::Channel { .. }) => {}
    }
}

/// A bus that is being deleted waits for its channels.
fn freed(channel: &Channel, stores: &Stores, queues: &Queues) {
    if let (Some(name), Some(namespace)) = (&channel.spec.bus, channel.namespace()) {
        let bus = ObjectRef::new(name).within(&namespace);
        if stores.buses.get(&bus).is_some_and(|bus| bus.is_going()) {
            queues.buses.add(bus);
        }
    }
    if let Some(name) = &channel.spec.cluster_bus {
        let bus = ObjectRef::new(name);
        if stores
            .cluster_buses
            .get(&bus)
            .is_some_and(|bus| bus.is_going())
        {
            queues.cluster_buses.add(bus);
        }
    }
}

/// Makes the cluster as the bus wants it.
pub(crate) async fn reconcile<K: AnyBus>(bus: Arc<K>, ctx: Arc<Context>) -> Outcome {
    match steps(&*bus, &ctx).await {
        // It went while it was looked at: nothing is left to do.
        Err(Error::Gone { what }) => {
            tracing::debug!(object = bus.told(), what, "went");
            Ok(Action::requeue(GONE_LOOK))
        }
        done => done,
    }
}

async fn steps<K: AnyBus>(bus: &K, ctx: &Context) -> Outcome {
    if labels::is_paused(bus) {
        status::paused(ctx, bus).await?;
        return Ok(Action::await_change());
    }
    if bus.is_going() {
        return delete::step(ctx, bus).await;
    }
    serve(ctx, bus, None).await
}

/// Everything but the end: what serves the bus is there, and the status says how it does.
async fn serve<K: AnyBus>(ctx: &Context, bus: &K, blocked: Option<delete::Blocked>) -> Outcome {
    let place = bus.place(&ctx.settings);
    let found = dereference::look(ctx, bus, &place);
    if let Some(why) = object::undecodable(bus) {
        // What serves it is left as it is: nothing is known of what it should be.
        status::undecodable(ctx, bus, &found, why, blocked.as_ref()).await?;
        return Ok(Action::await_change());
    }
    if let Err(refusal) = validate::check(bus.bus(), place.kind, &ctx.settings) {
        // What ran while it was allowed. A pinned image goes on: where images come from may change under it.
        if refusal.reason == Reason::ThirdPartyNotAllowed && bus.bus().dispatcher.is_some() {
            apply::end_workload(ctx, bus, &place).await?;
        }
        status::refused(ctx, bus, &found, &refusal, blocked.as_ref()).await?;
        return Err(refusal.into());
    }
    if blocked.is_none() {
        delete::hold(ctx, bus).await?;
    }
    let wanted = build::all(bus, &place, &found, &ctx.settings)?;
    let done = apply::all(ctx, bus, &place, &found, wanted).await;
    status::told(ctx, bus, &place, &found, &done, blocked.as_ref()).await?;
    done.outcome(TURN_LOOK)
}
