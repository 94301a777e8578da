//! What is said of a dispatcher before it is started.

use std::{
    any::Any,
    ffi::OsString,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use busway_core::bus::{Durability, Profile, Scope};
use bytes::Bytes;
use serde_json::{Value, json};

/// How long anything may take: more than a message's lease and a Lease together, which is what a
/// process that was killed held.
const PATIENCE: Duration = Duration::from_secs(120);

type Environment = dyn Fn(&Path) -> Vec<(&'static str, OsString)> + Send + Sync;

/// A dispatcher under test: how it is started, and what its bus promises.
#[derive(Clone)]
pub struct Subject {
    pub(super) program: PathBuf,
    pub(super) first: Vec<OsString>,
    pub(super) arguments: Arguments,
    pub(super) environment: Arc<Environment>,
    /// Empty: signals are sent to the process.
    pub(super) signals: Vec<OsString>,
    pub(super) spec: Value,
    pub(super) profile: Profile,
    pub(super) patience: Duration,
    pub(super) store: Option<Arc<dyn Store>>,
}

/// Which arguments a program takes.
#[derive(Clone, Copy)]
pub(super) enum Arguments {
    /// Those of `busway_buskit::run_dispatcher`.
    Buskit,
    /// None of ours.
    None,
}

impl Subject {
    /// A program made with buskit, and the profile of its bus.
    #[must_use]
    pub fn new(program: impl Into<PathBuf>, profile: Profile) -> Self {
        Self {
            program: program.into(),
            first: Vec::new(),
            arguments: Arguments::Buskit,
            environment: Arc::new(|_| Vec::new()),
            signals: Vec::new(),
            spec: json!({"dispatcher": {"name": "dispatcher", "image": "example.com/bus:1"}}),
            profile,
            patience: PATIENCE,
            store: None,
        }
    }

    /// With these arguments before any other.
    #[must_use]
    pub fn args<A: Into<OsString>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.first = args.into_iter().map(Into::into).collect();
        self
    }

    /// It is given the environment of a container and no argument of buskit's. There is no operator:
    /// it has to do without one, as buskit's `--standalone` does.
    #[must_use]
    pub fn plain(mut self) -> Self {
        self.arguments = Arguments::None;
        self
    }

    /// With this in its environment too, given a folder that lives as long as the test: for where
    /// its data is.
    #[must_use]
    pub fn environment(
        mut self,
        of: impl Fn(&Path) -> Vec<(&'static str, OsString)> + Send + Sync + 'static,
    ) -> Self {
        self.environment = Arc::new(of);
        self
    }

    /// Signals are sent by running this command, with a signal's name (`TERM`, `KILL`) and the id of
    /// the process after it, in the environment of the dispatcher: for one that runs elsewhere, such
    /// as in a container that is named after `POD_NAME`.
    #[must_use]
    pub fn signalled_by<A: Into<OsString>>(mut self, command: impl IntoIterator<Item = A>) -> Self {
        self.signals = command.into_iter().map(Into::into).collect();
        self
    }

    /// With this `spec` of its Bus (on a folder) and its ClusterBus (on an API server).
    #[must_use]
    pub fn spec(mut self, spec: Value) -> Self {
        self.spec = spec;
        self
    }

    /// How long a message may take to come after its holder was killed, and anything else to happen.
    #[must_use]
    pub const fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// With a look into its store.
    #[must_use]
    pub fn store(mut self, store: impl Store + 'static) -> Self {
        self.store = Some(Arc::new(store));
        self
    }

    pub(super) fn is_durable(&self) -> bool {
        matches!(self.profile.durability, Durability::Durable { .. })
    }

    /// What is left outside the process is kept in mind by finalizers.
    pub(super) fn has_finalizers(&self) -> bool {
        self.profile.scope == Scope::Shared
    }
}

/// A look into the store of a bus, from another process than the dispatcher's.
pub trait Store: Send + Sync {
    /// What it holds now.
    ///
    /// # Errors
    /// When it cannot be read.
    fn kept(&self, data: &Path) -> anyhow::Result<Kept>;

    /// Keeps every hook from getting on until what it returns is dropped, where the engine can.
    ///
    /// # Errors
    /// When it fails.
    fn hold(&self, _data: &Path) -> anyhow::Result<Option<Held>> {
        Ok(None)
    }
}

/// What holds a store until it is dropped.
pub type Held = Box<dyn Any + Send>;

/// What a [`Store`] holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// Channels that are provisioned.
    pub channels: u32,
    /// Subscriptions that are subscribed.
    pub subscriptions: u32,
    /// Body and stored attempts of each message that is accepted and not settled, once a
    /// subscription.
    pub messages: Vec<(Bytes, u32)>,
    /// The cause of each dead letter.
    pub dead_letters: Vec<String>,
}

impl Kept {
    /// Nothing is left of what tests made.
    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
