//! The custom resources of Busway: group `channels.busway.dev`, version `v1alpha1`.
//!
//! Four kinds ([`Bus`], [`ClusterBus`], [`Channel`], [`Subscription`]), what may be written in their
//! status ([`reason`], [`conditions`], [`ready`]), which fields work yet ([`support`]), and the rules an API
//! server holds them to, also without one ([`validate`]). No client, and nothing else of Busway.

#![allow(
    clippy::duplicated_attributes,
    reason = "each printer column has a type of its own; the lint takes them for one attribute"
)]

pub mod bus;
pub mod channel;
pub mod subscription;

pub mod delivery;
pub mod filter;
pub mod parameters;
pub mod text;

pub mod admitted;
pub mod conditions;
pub mod ready;
pub mod reason;

pub mod crds;
pub mod fields;
pub mod support;
pub mod undeclared;
pub mod validate;

mod schema;

pub use admitted::AdmittedNamespace;
pub use bus::{Bus, BusSpec, BusStatus, ClusterBus, ClusterBusSpec};
pub use channel::{Channel, ChannelSpec, ChannelStatus};
pub use conditions::{ConditionType, Said, Truth};
pub use delivery::Delivery;
pub use reason::Reason;
pub use subscription::{Subscription, SubscriptionSpec, SubscriptionStatus};
pub use support::{Unsupported, unsupported};
pub use text::{DurationText, SizeText};

/// The API group of all four kinds.
pub const GROUP: &str = "channels.busway.dev";
/// The one version served.
pub const VERSION: &str = "v1alpha1";
/// `group/version`, as manifests write it.
pub const API_VERSION: &str = "channels.busway.dev/v1alpha1";
/// Keeps a Channel until what backs it is unprovisioned.
pub const PROVISIONED_FINALIZER: &str = "channels.busway.dev/provisioned";
/// Keeps a Subscription until it is unsubscribed.
pub const SUBSCRIBED_FINALIZER: &str = "channels.busway.dev/subscribed";
/// Keeps a Bus until its workload is gone; the operator's.
pub const WORKLOAD_FINALIZER: &str = "channels.busway.dev/workload";
/// Annotation `"true"` on the ClusterBus that channels without a bus are put on.
pub const DEFAULT_BUS_ANNOTATION: &str = "channels.busway.dev/is-default-bus";
