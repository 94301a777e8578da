//! Every reason that a condition may have, with what it means and what to do.
//!
//! A bus may bring its own reasons with a hook's error; they are not listed here.

use std::borrow::Cow;
use std::fmt;
use std::fmt::Write as _;

use crate::conditions::ConditionType::{
    self, Accepted, DeletionBlocked, Delivering, Dispatching, Durable, Provisioned, Provisioning,
    Ready, ReconcilePaused, Resolved, Routable, Serviceable, Subscribed, Synced,
};

macro_rules! reasons {
    ($($name:ident on [$($condition:expr),+] : $means:literal, $do:literal;)+) => {
        /// Why a condition is as it is: short, CamelCase, stable.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum Reason {
            $(#[doc = $means] $name,)+
        }

        impl Reason {
            /// All of them, in the order of the documentation.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// The short name, as it is written in a condition, an event and a metric.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)+
                }
            }

            /// What it means, for a person.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self {
                    $(Self::$name => $means,)+
                }
            }

            /// What to do about it; empty when nothing is to be done.
            #[must_use]
            pub const fn remedy(self) -> &'static str {
                match self {
                    $(Self::$name => $do,)+
                }
            }

            /// The conditions that it appears on, beside Ready, which takes the reason of what is wrong.
            #[must_use]
            pub const fn conditions(self) -> &'static [ConditionType] {
                match self {
                    $(Self::$name => &[$($condition),+],)+
                }
            }
        }
    };
}

reasons! {
    // All is well.
    AllGood on [Ready]: "All that is needed holds, in every ready replica, for this generation.", "";
    Accepted on [Accepted]: "What it refers to exists and may be used.", "";
    Provisioned on [Provisioned]: "What backs the channel exists; a message sent to it would be stored.", "";
    Routable on [Routable]: "Every ready replica accepts messages for the channel.", "";
    Reachable on [Serviceable]: "An address answers.", "";
    Resolved on [Resolved]: "Every address and setting of the subscription is understood.", "";
    Subscribed on [Subscribed]: "Messages sent from now on will be seen by the subscription.", "";
    Consuming on [Dispatching]: "Every ready replica takes messages for the subscription from the bus.", "";
    Available on [Provisioning, Dispatching]: "The workload runs as the spec asks.", "";
    NoWorkload on [Provisioning, Dispatching]: "This process serves the bus itself; there is no workload to run.", "";
    Synced on [Synced]: "The bus works with its settings.", "";
    SubscriberAnswers on [Delivering]: "Deliveries succeed, or there was nothing to deliver.", "";

    // What a 202 means.
    InMemory on [Durable]: "A 202 means that the message is in one process's memory; it is lost with the process.", "Use another bus where that is not enough.";
    Stored on [Durable]: "A 202 means that the message is stored outside the process and survives its end.", "";
    Replicated on [Durable]: "A 202 means that the message is stored on several machines.", "";

    // Not known yet.
    Pending on [Accepted, Serviceable, Provisioned, Routable, Resolved, Subscribed, Dispatching, Provisioning, Synced, Ready]: "Not looked at yet, or not since the last change.", "Wait; if it stays, look whether the bus's dispatcher runs.";
    WaitingForBus on [Provisioned, Subscribed]: "The bus itself has not synced yet.", "Look at the bus's condition Synced.";
    WaitingForReplicas on [Routable, Dispatching]: "Some ready replicas of the dispatcher have not loaded it yet.", "Wait; if it stays, look at the replicas that the message names.";

    // What it refers to.
    BusNotFound on [Accepted]: "There is no such Bus or ClusterBus.", "Make it, or correct spec.bus or spec.clusterBus.";
    NoDefaultBus on [Accepted]: "The channel names no bus, and no ClusterBus is marked as the default.", "Set spec.clusterBus, or mark one with channels.busway.dev/is-default-bus: \"true\".";
    NamespaceNotAllowed on [Accepted, Routable]: "The ClusterBus's allowedNamespaces does not match this namespace.", "Ask its admin, or use another bus.";
    NameClash on [Accepted, Serviceable, Provisioning, Dispatching]: "An object that would have to be made exists and belongs to somebody else.", "Rename one of the two.";
    ChannelNotFound on [Accepted]: "There is no such Channel in the namespace.", "Make it; the subscription then goes on by itself.";
    ChannelOfOtherBus on [Accepted]: "The channel is carried by another bus.", "Nothing, when that bus's dispatcher runs; its status will follow.";
    ChannelNotReady on [Accepted, Subscribed]: "The channel is not provisioned.", "Look at the channel's conditions.";
    ChannelDeleted on [Accepted, Provisioned, Routable]: "The channel is being deleted.", "";
    SubscriptionDeleted on [Accepted]: "The subscription is being deleted, and cannot be removed from the bus.", "See the message: it is let go without that at the time it names.";
    Undecodable on [Accepted, Synced, Provisioning, Dispatching]: "The object is of a form that this version does not know; what there is of it goes on.", "Upgrade the operator and the dispatcher, or correct the object as the message says.";

    // What it asks for.
    NotYetSupported on [Accepted, Resolved, Synced]: "A field is set whose behaviour this version does not have.", "Remove the fields that the message names; docs/fields.md lists all.";
    Unsupported on [Resolved, Provisioned, Subscribed]: "The bus lacks a capability that is asked for.", "Use another bus, or remove what the message names.";
    NotInDev on [Synced]: "Dev mode cannot run this bus.", "Run the command that the message gives.";
    InvalidSpec on [Accepted, Resolved, Synced, Provisioning, Dispatching]: "A setting cannot be understood.", "Correct the field that the message names.";
    UnknownArgument on [Provisioned, Resolved]: "An argument is given that the bus does not declare.", "Remove it, or declare it in the bus's parameters.";
    MissingArgument on [Provisioned, Resolved]: "An argument is missing that the bus declares without a default.", "Set it in spec.arguments.";
    ParametersInvalid on [Provisioned, Resolved]: "The bus's parameters changed so that these arguments do not fit; the last good values go on.", "Adapt spec.arguments, or the bus's parameters.";
    FilterInvalid on [Resolved]: "A filter cannot be compiled.", "Correct it where the message points.";
    OrderingUnsupported on [Resolved]: "The bus cannot keep the order that is asked for.", "Remove spec.ordering, or use a bus that keeps it.";

    // Addresses.
    AddressInvalid on [Resolved]: "subscriber, replyTo or deadLetterSink is no address.", "Write a DNS name, name:port/path, or an http(s) URL.";
    AddressNotAllowed on [Resolved]: "An address may not be reached from here: another namespace's, an IP literal, or one that the egress guard refuses.", "Use a Service of the same namespace, or ask the bus's admin.";
    AddressUnmapped on [Resolved]: "Dev mode has no local address for this name.", "Start with --host NAME=ADDRESS, or add it to hosts: in busway-dev.yaml.";
    AddressLoop on [Resolved]: "replyTo or deadLetterSink is the subscription's own channel.", "Use another channel.";

    // Hooks.
    CaBundleInvalid on [Synced]: "The certificate authorities of `egress.caBundle` cannot all be used. What was trusted before goes on.", "Put certificates in PEM form into the ConfigMap that the message names, in the namespace of the bus's pods.";
    SyncFailed on [Synced]: "The bus does not work with its settings.", "See the message; it is tried again.";
    ProvisionFailed on [Provisioned]: "What backs the channel could not be made.", "See the message; it is tried again.";
    UnprovisionFailed on [Provisioned]: "What backs the channel could not be removed.", "See the message; it is tried again, and the channel stays until then.";
    SubscribeFailed on [Subscribed]: "The subscription could not be made on the bus.", "See the message; it is tried again.";
    UnsubscribeFailed on [Subscribed]: "The subscription could not be removed from the bus.", "See the message; it is tried again, and the subscription stays until then.";
    HookPanicked on [Synced, Provisioned, Subscribed]: "The bus's code panicked.", "Report it to the bus's author with the dispatcher's log; it is tried again.";
    HookTimedOut on [Synced, Provisioned, Subscribed]: "The bus's code took too long.", "Look whether the broker answers; it is tried again.";
    Stopped on [Provisioned, Routable, Subscribed, Dispatching, Ready]: "It is being deleted, and no replica takes messages for it any more.", "";
    Held on [Dispatching, Delivering]: "An edit made it invalid; its backlog is kept and nothing is delivered.", "See the message of condition Resolved.";

    // Deliveries.
    SubscriberFailing on [Delivering]: "Deliveries have failed for a minute or longer.", "Look at the subscriber; the message has its last answer.";
    Gone on [Delivering]: "The subscriber answered 410.", "Remove the subscription, or correct its subscriber.";
    Overflowing on [Delivering]: "The queue is full, and messages are given up.", "Make the subscriber faster, or the queue larger.";
    MessagesExpired on [Delivering]: "Messages grew too old before they could be delivered.", "Make the subscriber faster, or raise maxAge.";
    Paused on [Delivering]: "spec.paused is set.", "Remove it to go on.";

    // Workload.
    NoEndpoint on [Serviceable]: "No ready pod is behind the address.", "Look at the dispatcher's pods.";
    Unavailable on [Provisioning, Dispatching]: "The workload does not run as the spec asks.", "See the message, and the pods it names.";
    RollingOut on [Provisioning, Dispatching]: "Pods are being replaced; those of before go on serving.", "Wait; if it stays, look at the pods.";
    ApplyRefused on [Serviceable, Provisioning, Dispatching]: "The API server refuses an object that has to be made.", "See the message; adapt the spec, the quota or the operator's rights.";
    NamespaceTerminating on [Serviceable, Provisioning, Dispatching]: "The namespace is being deleted, and nothing can be made in it.", "";
    ThirdPartyNotAllowed on [Provisioning, Dispatching]: "A Bus of a namespace may not bring containers of its own here.", "Use a ClusterBus, or have the admin set the chart's thirdPartyBuses to Namespaced.";
    PodRefused on [Provisioning, Dispatching]: "The namespace's rules refuse the pod.", "See the message; adapt the container or the namespace's Pod Security.";
    DispatcherUnavailable on [Ready]: "Nothing has served the bus for a minute or longer.", "Look at the bus's conditions.";
    ChannelsRemain on [DeletionBlocked]: "The bus is being deleted and channels are still on it.", "Delete the channels that the message names.";
    ChildrenRemain on [DeletionBlocked]: "What served the bus is being deleted and is still there.", "Look what holds the objects that the message names: their finalizers.";
    NothingRemains on [DeletionBlocked]: "Nothing holds the bus any more.", "";
    PausedByAnnotation on [ReconcilePaused]: "The annotation channels.busway.dev/pause-reconcile is set.", "Remove it to go on.";
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl From<Reason> for Cow<'static, str> {
    fn from(reason: Reason) -> Self {
        Self::Borrowed(reason.as_str())
    }
}

/// `docs/reasons.md`.
#[must_use]
pub fn reasons_markdown() -> String {
    let mut page = String::from(
        "# Reasons\n\n\
         <!-- Generated from crates/api/src/reason.rs; `UPDATE=1 cargo test -p busway-api` writes it. -->\n\n\
         What a condition's `reason` may say. Ready takes the reason of the first condition that is wrong. \
         A bus may bring reasons of its own; its documentation lists them.\n\n\
         | Reason | On | Means | What to do |\n|---|---|---|---|\n",
    );
    for reason in Reason::ALL {
        let conditions: Vec<_> = reason.conditions().iter().map(|c| c.as_str()).collect();
        let _ = writeln!(
            page,
            "| `{reason}` | {} | {} | {} |",
            conditions.join(", "),
            reason.meaning(),
            if reason.remedy().is_empty() {
                "–"
            } else {
                reason.remedy()
            },
        );
    }
    page
}
