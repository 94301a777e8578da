//! What the operator says of a bus.

mod workload;

use busway_api::{
    ConditionType::{
        self, DeletionBlocked, Dispatching, Provisioning, Ready, ReconcilePaused, Serviceable,
    },
    Reason, Said, Truth, conditions, ready,
};
use k8s_openapi::{
    api::apps::v1::Deployment, apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp,
};
use kube::ResourceExt as _;
use serde_json::json;

use super::{AnyBus, Place, apply::Done, delete::Blocked, dereference::Found, validate::Refusal};
use crate::operator::{
    apply,
    children::{ChildKind, ChildRef},
    context::Context,
    error::Error,
    events::Note,
    labels::{self, Component},
    status::{self, Words},
};

/// The operator's conditions.
const OWNED: &[ConditionType] = &[
    Serviceable,
    Provisioning,
    Dispatching,
    DeletionBlocked,
    ReconcilePaused,
    Ready,
];
/// The operator's fields.
const FIELDS: &[&str] = &[
    "observedGeneration",
    "address",
    "service",
    "replicas",
    "selector",
    "namespaces",
];
/// Reasons that somebody should be told of when they turn up.
const NEWS: &[Reason] = &[
    Reason::NameClash,
    Reason::ApplyRefused,
    Reason::PodRefused,
    Reason::ThirdPartyNotAllowed,
    Reason::InvalidSpec,
    Reason::Undecodable,
    Reason::ChannelsRemain,
];

/// Says how what serves a bus does.
pub(super) async fn told<K: AnyBus>(
    ctx: &Context,
    bus: &K,
    place: &Place,
    found: &Found,
    done: &Done,
    blocked: Option<&Blocked>,
) -> Result<(), Error> {
    let mut words = Words::new(OWNED, FIELDS);
    words.say(serviceable(found, done));
    let dispatcher = done.dispatcher.as_ref().or(found.dispatcher.as_ref());
    let judged = failure(Dispatching, done, &place.names().provisioner())
        .unwrap_or_else(|| workload::judge(Dispatching, dispatcher, found, Component::Dispatcher));
    let judged = waiting(judged, done.waits.as_ref());
    words.say(if bus.bus().provisioner.is_some() {
        let provisioner = done.provisioner.as_ref().or(found.provisioner.as_ref());
        failed_provisioner(done, &place.names().provisioner()).unwrap_or_else(|| {
            workload::judge(Provisioning, provisioner, found, Component::Provisioner)
        })
    } else {
        // The dispatcher provisions.
        Said {
            kind: Provisioning,
            ..judged.clone()
        }
    });
    words.say(judged);
    fields(ctx, bus, place, dispatcher, &mut words);
    finish(ctx, bus, words, blocked).await
}

/// Says why nothing is made.
pub(super) async fn refused<K: AnyBus>(
    ctx: &Context,
    bus: &K,
    found: &Found,
    refusal: &Refusal,
    blocked: Option<&Blocked>,
) -> Result<(), Error> {
    let said = |kind| Said::no(kind, refusal.reason, refusal.message.clone());
    nothing_made(ctx, bus, found, said, blocked).await
}

/// Says that this version cannot read what it asks for. What serves it is not dead for that.
pub(super) async fn undecodable<K: AnyBus>(
    ctx: &Context,
    bus: &K,
    found: &Found,
    why: &str,
    blocked: Option<&Blocked>,
) -> Result<(), Error> {
    let (truth, what) = match found.dispatcher {
        Some(_) => (Truth::Unknown, "what serves it is left as it is"),
        None => (Truth::False, "nothing is made for it"),
    };
    let said = |kind| {
        let message = format!("this version of Busway cannot read its spec, so {what}: {why}");
        Said::new(kind, truth, Reason::Undecodable, message)
    };
    nothing_made(ctx, bus, found, said, blocked).await
}

/// Says the same of both workloads, and of the rest what is there.
async fn nothing_made<K: AnyBus>(
    ctx: &Context,
    bus: &K,
    found: &Found,
    said: impl Fn(ConditionType) -> Said,
    blocked: Option<&Blocked>,
) -> Result<(), Error> {
    let mut words = Words::new(OWNED, FIELDS);
    words.say(serviceable(found, &Done::default()));
    for kind in [Provisioning, Dispatching] {
        words.say(said(kind));
    }
    let place = bus.place(&ctx.settings);
    fields(ctx, bus, &place, found.dispatcher.as_ref(), &mut words);
    finish(ctx, bus, words, blocked).await
}

/// Says that it is left alone; everything else stays as it was said.
pub(super) async fn paused<K: AnyBus>(ctx: &Context, bus: &K) -> Result<(), Error> {
    let mut words = Words::new(OWNED, FIELDS);
    words.unchanged = OWNED
        .iter()
        .copied()
        .filter(|kind| *kind != ReconcilePaused)
        .collect();
    words.say(Said::yes(
        ReconcilePaused,
        Reason::PausedByAnnotation,
        format!("the annotation {} is set", labels::PAUSE),
    ));
    if let Some(status) = bus.status_value().as_object() {
        let ours = FIELDS
            .iter()
            .filter_map(|field| Some((*field, status.get(*field)?)));
        for (field, value) in ours {
            words.field(field, value.clone());
        }
    }
    status::write(ctx, bus, &words).await.map(drop)
}

/// Says what the end waits for.
pub(super) async fn ending<K: AnyBus>(
    ctx: &Context,
    bus: &K,
    message: String,
) -> Result<(), Error> {
    let mut words = Words::new(OWNED, FIELDS);
    words.say(Said::yes(DeletionBlocked, Reason::ChildrenRemain, message));
    words.say(Said::no(Ready, Reason::Stopped, "the bus is being deleted"));
    words.field("observedGeneration", bus.generation());
    write(ctx, bus, words).await.map(drop)
}

async fn finish<K: AnyBus>(
    ctx: &Context,
    bus: &K,
    mut words: Words,
    blocked: Option<&Blocked>,
) -> Result<(), Error> {
    if let Some(blocked) = blocked {
        words.say(Said::yes(
            DeletionBlocked,
            Reason::ChannelsRemain,
            blocked.to_string(),
        ));
    }
    let (now, generation) = (Time(Timestamp::now()), bus.generation());
    let mut all = bus.conditions().to_vec();
    for said in &words.said {
        conditions::set(&mut all, said.clone(), generation, &now);
    }
    words.say(ready::bus(&all, generation));
    words.field("observedGeneration", generation);
    if write(ctx, bus, words.clone()).await? {
        news(ctx, bus, &words);
    }
    Ok(())
}

/// Writes it, with the namespaces that it has taken in.
async fn write<K: AnyBus>(ctx: &Context, bus: &K, mut words: Words) -> Result<bool, Error> {
    let admitted = bus.admitted(ctx);
    if !admitted.is_empty() {
        words.field("namespaces", json!(admitted));
    }
    let wrote = status::write(ctx, bus, &words).await?;
    ctx.admitted.wrote(bus.uid_or_empty(), admitted);
    Ok(wrote)
}

/// An Event where a condition turned to what a person has to do something about.
fn news<K: AnyBus>(ctx: &Context, bus: &K, words: &Words) {
    if apply::namespace_goes(ctx, bus.uid_or_empty(), bus.namespace().as_deref()) {
        // No Event can be made there either.
        return;
    }
    for said in words.said.iter().filter(|said| said.kind != Ready) {
        let before = conditions::find(bus.conditions(), said.kind);
        let known = before.is_some_and(|before| before.reason == said.reason);
        let reason = NEWS.iter().find(|reason| reason.as_str() == said.reason);
        if let (Some(reason), false) = (reason, known) {
            let note = Note::warning(bus.reference(), *reason, "Reconcile", said.message.clone());
            ctx.events.record(note);
            // Provisioning repeats Dispatching.
            return;
        }
    }
}

fn fields<K: AnyBus>(
    ctx: &Context,
    bus: &K,
    place: &Place,
    dispatcher: Option<&Deployment>,
    words: &mut Words,
) {
    let service = place.names().base();
    let (namespace, domain) = (&place.namespace, &ctx.settings.cluster_domain);
    words.field(
        "address",
        json!({ "url": format!("http://{service}.{namespace}.svc.{domain}") }),
    );
    words.field("service", service);
    let replicas = dispatcher.and_then(|deployment| deployment.status.as_ref()?.replicas);
    words.field("replicas", replicas.unwrap_or(0));
    let selector: Vec<_> = labels::pods(Component::Dispatcher, bus.uid_or_empty())
        .into_iter()
        .map(|(label, value)| format!("{label}={value}"))
        .collect();
    words.field("selector", selector.join(","));
}

fn serviceable(found: &Found, done: &Done) -> Said {
    let mut failed = done.failed.iter();
    if let Some((_, error)) = failed.find(|(at, _)| at.kind == ChildKind::Service) {
        return said(Serviceable, error);
    }
    if found.endpoint {
        Said::yes(Serviceable, Reason::Reachable, "")
    } else {
        Said::no(
            Serviceable,
            Reason::NoEndpoint,
            "no ready pod is behind the Service",
        )
    }
}

/// All is well, but for the operator's new image, whose turn has not come here.
fn waiting(mut said: Said, other: Option<&ChildRef>) -> Said {
    if let (Some(other), Truth::True) = (other, said.truth) {
        said.message = format!(
            "the operator's new image waits for its turn here: {} is being updated",
            other.told()
        );
    }
    said
}

/// What could not be made of what a dispatcher needs.
fn failure(kind: ConditionType, done: &Done, provisioner: &str) -> Option<Said> {
    let mut failed = done.failed.iter().filter(|(at, _)| {
        at.kind != ChildKind::Service
            && !(at.kind == ChildKind::Deployment && at.name == provisioner)
    });
    failed.next().map(|(_, error)| said(kind, error))
}

fn failed_provisioner(done: &Done, name: &str) -> Option<Said> {
    let mut failed = done.failed.iter();
    let (_, error) = failed.find(|(at, _)| at.kind == ChildKind::Deployment && at.name == name)?;
    Some(said(Provisioning, error))
}

fn said(kind: ConditionType, error: &Error) -> Said {
    let (truth, reason) = match error {
        Error::NameClash { .. } => (Truth::False, Reason::NameClash),
        Error::Refused { message, .. } if workload::is_pod_security(message) => {
            (Truth::False, Reason::PodRefused)
        }
        Error::NamespaceTerminating { .. } => (Truth::False, Reason::NamespaceTerminating),
        Error::Refused { .. } | Error::Invalid { .. } => (Truth::False, Reason::ApplyRefused),
        Error::Conflict { .. }
        | Error::Gone { .. }
        | Error::Unavailable { .. }
        | Error::Panicked => (Truth::Unknown, Reason::Pending),
    };
    Said::new(kind, truth, reason, error.to_string())
}
