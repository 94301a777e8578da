//! Channel: its bus, its Service, its addresses, and an end to its deletion.

pub(crate) mod carrier;
pub(crate) mod dereference;
pub(crate) mod validate;

mod build;
mod status;

pub(crate) mod apply;
pub(crate) mod delete;
pub(crate) mod settle;

pub(crate) mod index;
pub(crate) mod pace;

use std::{sync::Arc, time::Duration};

use busway_api::{
    Channel, PROVISIONED_FINALIZER, Subscription,
    conditions::{ConditionType, Said, Truth},
    reason::Reason,
};
use k8s_openapi::jiff::Timestamp;
use kube::{
    ResourceExt as _,
    runtime::{controller::Action, reflector::ObjectRef},
};

use self::{
    carrier::BusKey,
    delete::{Home, Verdict},
    dereference::Found,
    index::{Asked, At},
};
use super::{
    apply as children,
    args::ChannelService,
    children::{Child, ChildKind, ChildRef},
    context::Context,
    controller::Outcome,
    error::Error,
    labels, names,
    object::{self, Object as _},
    stores::{Change, Owner, Queues, Stores},
};

/// A Service that is somebody else's is not watched; its end is noticed within this time.
const CLASH_RECHECK: Duration = Duration::from_secs(10);

/// Has the channels looked at that a change is about, and the subscriptions too that a change of what they refer to is
/// about.
pub(crate) fn touched(change: &Change, stores: &Stores, queues: &Queues) {
    let index = &queues.index;
    let asked = match change {
        Change::Bus(bus) => {
            let namespace = bus.namespace().unwrap_or_default();
            let key = BusKey::Namespaced {
                namespace,
                name: bus.name_any(),
            };
            index.bus(&key, dereference::carrier(stores, &key, "").as_ref())
        }
        Change::ClusterBus(bus) => {
            let key = BusKey::Cluster {
                name: bus.name_any(),
            };
            let mut asked = index.bus(&key, dereference::carrier(stores, &key, "").as_ref());
            // It may be the default now, or no more.
            asked.channels.extend(index.undecided());
            asked
        }
        Change::Channel(channel) => {
            let at = at(&**channel);
            let there = stores.channels.get(&reference(&at));
            if there.is_none() {
                queues.pace.forget(channel.uid_or_empty());
            }
            index.channel(&at, there.as_deref())
        }
        Change::Namespace(namespace) => {
            let name = namespace.name_any();
            let there = stores.namespaces.get(&ObjectRef::new(&name));
            index.namespace(&name, there.as_ref().map(|n| &n.metadata))
        }
        Change::Child(Owner::Channel { namespace, name }) => Asked {
            channels: vec![(namespace.clone(), name.clone())],
            subscriptions: Vec::new(),
        },
        Change::Child(_) | Change::Subscription(_) => return,
    };
    ask(asked, queues);
}

/// Has them looked at.
pub(crate) fn ask(asked: Asked, queues: &Queues) {
    for at in &asked.channels {
        queues.channels.add(reference(at));
    }
    for (namespace, name) in &asked.subscriptions {
        let one = ObjectRef::<Subscription>::new(name).within(namespace);
        queues.subscriptions.add(one);
    }
}

/// Where an object is.
pub(crate) fn at(object: &impl kube::Resource) -> At {
    (object.namespace().unwrap_or_default(), object.name_any())
}

fn reference((namespace, name): &At) -> ObjectRef<Channel> {
    ObjectRef::new(name).within(namespace)
}

/// Makes the cluster as the channel wants it.
pub(crate) async fn reconcile(channel: Arc<Channel>, ctx: Arc<Context>) -> Outcome {
    if labels::is_paused(&*channel) {
        return settle::leave_alone(&ctx, &*channel, &status::OWNERSHIP).await;
    }
    let now = Timestamp::now();
    let found = dereference::channel(&ctx, &channel);
    if channel.is_going() {
        return going(&ctx, &channel, found, now).await;
    }
    if object::undecodable(&*channel).is_none()
        && BusKey::of_channel(&channel).is_none()
        && let Some(bus) = &found.default
    {
        apply::put_on(&ctx, &channel, bus).await?;
        return Ok(Action::await_change());
    }
    let mut accepted = validate::undecodable(&*channel, found.carrier.as_ref())
        .unwrap_or_else(|| validate::accepted(&channel, &found, now));
    let mut clash = false;
    if let Some(message) = serve(&ctx, &channel, &found, &accepted).await? {
        clash = true;
        accepted = Said::no(ConditionType::Accepted, Reason::NameClash, message);
    }
    let kind = match clash {
        true => ChannelService::None,
        false => ctx.settings.channel_service,
    };
    let domain = &ctx.settings.cluster_domain;
    let carrier = found.carrier.as_ref();
    let addresses = carrier.map(|carrier| build::addresses(&channel, carrier, kind, domain));
    let mut plan = status::plan(
        &channel,
        accepted,
        carrier,
        &addresses.unwrap_or_default(),
        now,
    );
    let revoked = (plan.accepted.reason == Reason::NamespaceNotAllowed.as_str())
        .then(|| validate::revoked_at(&channel, &found))
        .flatten()
        .and_then(|at| Duration::try_from(at - now).ok());
    let recheck = clash.then_some(CLASH_RECHECK);
    plan.again = [plan.again, revoked, recheck].into_iter().flatten().min();
    settle::settle(&ctx, &*channel, plan, &status::OWNERSHIP).await
}

/// Makes its Service, or takes it away; a clash comes as its message.
async fn serve(
    ctx: &Context,
    channel: &Channel,
    found: &Found,
    accepted: &Said,
) -> Result<Option<String>, Error> {
    let at = ChildRef {
        kind: ChildKind::Service,
        namespace: channel.namespace(),
        name: names::channel_service(&channel.name_any()),
    };
    let uid = channel.uid_or_empty();
    let Some(carrier) = &found.carrier else {
        return Ok(None);
    };
    // What is no longer allowed goes on; what never was does not begin.
    let begun = ctx
        .stores
        .child(&at)
        .is_some_and(|child| labels::owner_uid(&*child) == Some(uid));
    if accepted.truth != Truth::True && !begun {
        return Ok(None);
    }
    let settings = &ctx.settings;
    let kind = settings.channel_service;
    let Some(service) = build::service(channel, carrier, kind, &settings.cluster_domain) else {
        children::remove(ctx, uid, &at).await?;
        return Ok(None);
    };
    let child = Child::new(ChildKind::Service, &service)?;
    let mut applied = children::apply(ctx, uid, &child).await;
    if matches!(applied, Err(Error::NameClash { .. })) && remove_orphaned(ctx, &at).await? {
        applied = children::apply(ctx, uid, &child).await;
    }
    match applied {
        Ok(_) => Ok(None),
        Err(Error::NameClash { object }) => Ok(Some(format!(
            "{object} is there already and is not this channel's: rename one of the two"
        ))),
        Err(error) => Err(error),
    }
}

/// Removes the Service of a channel of the same name that is gone: it was deleted without what it owned.
async fn remove_orphaned(ctx: &Context, at: &ChildRef) -> Result<bool, Error> {
    let Some(service) = ctx.stores.child(at) else {
        return Ok(false);
    };
    let owner = labels::owner_uid(&*service);
    if owner.is_none_or(|uid| ctx.stores.owner(uid).is_some()) {
        return Ok(false);
    }
    children::delete(ctx, at, service.metadata.uid.clone()).await?;
    Ok(true)
}

/// Sees to it that its deletion ends.
async fn going(ctx: &Context, channel: &Channel, found: Found, now: Timestamp) -> Outcome {
    let carrier = found.carrier.as_ref();
    let missing = match validate::named(channel, &found) {
        validate::Named::Missing(said) => said.message,
        validate::Named::Found(_) => String::new(),
    };
    let own = delete::failing(channel.conditions(), ConditionType::Provisioned);
    let failing = own.or_else(|| failing_below(ctx, channel));
    let hook = delete::hook(carrier, &missing, failing, now);
    let namespace = dereference::home(ctx, &channel.namespace().unwrap_or_default()).await?;
    let key = BusKey::of_channel(channel);
    let home = delete::home(ctx, &namespace, key.as_ref(), carrier);
    let bound = ctx.settings.deletion_bound;
    let verdict = delete::judge(
        &channel.metadata,
        PROVISIONED_FINALIZER,
        &hook,
        home,
        bound,
        now,
    );
    let mut accepted = validate::accepted(channel, &found, now);
    let mut again = (home == Home::Emptying).then_some(delete::EMPTYING);
    match verdict {
        Verdict::Free => return Ok(Action::await_change()),
        Verdict::Lift { why } => {
            let regarding = delete::regarding(channel, &namespace, carrier);
            apply::lift(ctx, channel, PROVISIONED_FINALIZER, &why, regarding).await?;
            return Ok(Action::await_change());
        }
        Verdict::Working => {}
        Verdict::Waiting { until, why } => {
            accepted.message = format!(
                "the channel is being deleted; what backs it cannot be removed, and it is let go without that at {until}: {why}"
            );
            let left = Duration::try_from(until - now).ok();
            again = [again, left].into_iter().flatten().min();
        }
    }
    let mut plan = status::plan(channel, accepted, carrier, &[], now);
    plan.again = [plan.again, again].into_iter().flatten().min();
    settle::settle(ctx, channel, plan, &status::OWNERSHIP).await
}

/// A subscription of it that cannot be removed holds it too.
fn failing_below(ctx: &Context, channel: &Channel) -> Option<String> {
    ctx.queues
        .index
        .subscriptions_on(&at(channel))
        .iter()
        .find_map(|(namespace, name)| {
            let one = ObjectRef::new(name).within(namespace);
            let subscription = ctx.stores.subscriptions.get(&one)?;
            let why = delete::failing(subscription.conditions(), ConditionType::Subscribed)?;
            Some(format!("subscription {name}: {why}"))
        })
}
