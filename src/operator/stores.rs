//! Everything that is watched, and who is told of a change.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, OnceLock, PoisonError, RwLock},
};

use busway_api::{Bus, Channel, ClusterBus, Subscription};
use k8s_openapi::api::{
    core::v1::{Namespace, Pod},
    discovery::v1::EndpointSlice,
};
use kube::{
    Api, Client, Resource, ResourceExt as _,
    core::{DeserializeGuard, DynamicObject, NamespaceResourceScope, PartialObjectMeta},
    runtime::{
        reflector::{ObjectRef, Store},
        watcher,
    },
};
use tokio::task::JoinSet;

use super::{
    args::Scope,
    channel::{index::Index, pace::Pace},
    children::{ChildKind, ChildRef},
    feed::{Feed, Seen, Tell},
    labels,
    queue::Queue,
};

/// What has children.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    Bus { namespace: String, name: String },
    ClusterBus { name: String },
    Channel { namespace: String, name: String },
}

/// Something that changed, was made or went.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    Bus(Arc<Bus>),
    ClusterBus(Arc<ClusterBus>),
    Channel(Arc<Channel>),
    Subscription(Arc<Subscription>),
    Namespace(Arc<PartialObjectMeta<Namespace>>),
    /// A child, or a pod or an EndpointSlice that came of one.
    Child(Owner),
}

/// Objects that are to be reconciled.
#[derive(Debug, Default)]
pub(crate) struct Queues {
    pub(crate) buses: Arc<Queue<Bus>>,
    pub(crate) cluster_buses: Arc<Queue<ClusterBus>>,
    pub(crate) channels: Arc<Queue<Channel>>,
    pub(crate) subscriptions: Arc<Queue<Subscription>>,
    /// Which channels and subscriptions a change is about.
    pub(crate) index: Index,
    /// When their statuses may be written.
    pub(crate) pace: Pace,
}

/// Decides who is reconciled because of a change.
pub(crate) type Route = fn(&Change, &Stores, &Queues);

/// Everything that is watched.
#[derive(Debug)]
pub(crate) struct Stores {
    pub(crate) buses: Store<Bus>,
    pub(crate) cluster_buses: Store<ClusterBus>,
    pub(crate) channels: Store<Channel>,
    pub(crate) subscriptions: Store<Subscription>,
    /// Empty where the operator looks after a list of namespaces only.
    pub(crate) namespaces: Store<PartialObjectMeta<Namespace>>,
    /// Of what the operator made only.
    pub(crate) children: BTreeMap<ChildKind, Store<DynamicObject>>,
    pub(crate) endpoint_slices: Store<EndpointSlice>,
    /// Without their spec.
    pub(crate) pods: Store<Pod>,
    owners: RwLock<HashMap<String, Owner>>,
}

/// What the feeds tell; they start before the stores are put together.
struct Told {
    stores: OnceLock<Arc<Stores>>,
    queues: Arc<Queues>,
    route: Route,
}

impl Told {
    fn change(&self, change: &Change) {
        if let Some(stores) = self.stores.get() {
            (self.route)(change, stores, &self.queues);
        }
    }

    fn own(&self, seen: Seen, uid: Option<&String>, owner: Owner) {
        if let (Some(stores), Some(uid)) = (self.stores.get(), uid) {
            let mut owners = stores
                .owners
                .write()
                .unwrap_or_else(PoisonError::into_inner);
            match seen {
                Seen::There => owners.insert(uid.clone(), owner),
                Seen::Gone => owners.remove(uid),
            };
        }
    }

    fn child<K: Resource>(&self, now: &K, before: Option<&K>) {
        let Some(stores) = self.stores.get() else {
            return;
        };
        let uid = labels::owner_uid(now);
        // Somebody may have changed the label.
        let others = before
            .and_then(labels::owner_uid)
            .filter(|old| Some(*old) != uid);
        for uid in uid.into_iter().chain(others) {
            if let Some(owner) = stores.owner(uid) {
                self.change(&Change::Child(owner));
            }
        }
    }
}

impl Stores {
    /// Starts to watch; the tasks end when the set is dropped.
    pub(crate) fn start(
        client: &Client,
        scope: &Scope,
        queues: Arc<Queues>,
        route: Route,
    ) -> (Arc<Self>, JoinSet<()>) {
        let told = Arc::new(Told {
            stores: OnceLock::new(),
            queues,
            route,
        });
        let mut tasks = Starting {
            client,
            scope,
            tasks: Vec::new(),
        };
        let stores = tasks.all(&told);
        // Nothing was polled yet, so nothing was told either.
        let _ = told.stores.set(Arc::clone(&stores));
        let mut running = JoinSet::new();
        for task in tasks.tasks {
            running.spawn(task);
        }
        (stores, running)
    }

    /// Waits until everything was listed once.
    ///
    /// # Errors
    /// When a watch ended, which it does with the process only.
    pub(crate) async fn ready(&self) -> Result<(), kube::runtime::reflector::store::WriterDropped> {
        self.buses.wait_until_ready().await?;
        self.cluster_buses.wait_until_ready().await?;
        self.channels.wait_until_ready().await?;
        self.subscriptions.wait_until_ready().await?;
        self.namespaces.wait_until_ready().await?;
        self.endpoint_slices.wait_until_ready().await?;
        self.pods.wait_until_ready().await?;
        for store in self.children.values() {
            store.wait_until_ready().await?;
        }
        Ok(())
    }

    /// Whose UID that is.
    pub(crate) fn owner(&self, uid: &str) -> Option<Owner> {
        let owners = self.owners.read().unwrap_or_else(PoisonError::into_inner);
        owners.get(uid).cloned()
    }

    /// A child as it is.
    pub(crate) fn child(&self, at: &ChildRef) -> Option<Arc<DynamicObject>> {
        let mut reference = ObjectRef::new_with(&at.name, at.kind.resource());
        if let Some(namespace) = &at.namespace {
            reference = reference.within(namespace);
        }
        self.children.get(&at.kind)?.get(&reference)
    }

    /// Every child that was made for that UID.
    pub(crate) fn children_of(&self, uid: &str) -> Vec<ChildRef> {
        let of = |kind: ChildKind, store: &Store<DynamicObject>| {
            let all = store.state().into_iter();
            let ours = all.filter(|child| labels::owner_uid(&**child) == Some(uid));
            ours.map(|child| ChildRef {
                kind,
                namespace: child.namespace(),
                name: child.name_any(),
            })
            .collect::<Vec<_>>()
        };
        self.children
            .iter()
            .flat_map(|(kind, store)| of(*kind, store))
            .collect()
    }

    /// Every pod that serves that UID.
    pub(crate) fn pods_of(&self, uid: &str) -> Vec<Arc<Pod>> {
        let all = self.pods.state().into_iter();
        all.filter(|pod| labels::owner_uid(&**pod) == Some(uid))
            .collect()
    }
}

struct Starting<'a> {
    client: &'a Client,
    scope: &'a Scope,
    tasks: Vec<futures::future::BoxFuture<'static, ()>>,
}

impl Starting<'_> {
    fn all(&mut self, told: &Arc<Told>) -> Arc<Stores> {
        let ours = watcher::Config::default().labels(labels::SELECTOR);
        let everything = watcher::Config::default;
        let cluster = *self.scope == Scope::All;
        let buses = self.namespaced(everything(), |_| (), bus_told(told));
        let cluster_buses = self.cluster_wide(cluster, everything(), cluster_bus_told(told));
        let channels = self.namespaced(everything(), |_| (), channel_told(told));
        let subscriptions = self.namespaced(everything(), |_| (), {
            let told = Arc::clone(told);
            Box::new(move |_, object: &Subscription, _| {
                told.change(&Change::Subscription(Arc::new(object.clone())));
            })
        });
        let namespaces = self.cluster_wide(cluster, everything(), {
            let told = Arc::clone(told);
            Box::new(move |_, object: &PartialObjectMeta<Namespace>, _| {
                told.change(&Change::Namespace(Arc::new(object.clone())));
            })
        });
        let children = ChildKind::ALL
            .into_iter()
            .map(|kind| (kind, self.children(kind, ours.clone(), told)))
            .collect();
        let endpoint_slices = self.namespaced(ours.clone(), |_| (), child_told(told));
        let pods = self.namespaced(ours, |pod: &mut Pod| pod.spec = None, child_told(told));
        Arc::new(Stores {
            buses,
            cluster_buses,
            channels,
            subscriptions,
            namespaces,
            children,
            endpoint_slices,
            pods,
            owners: RwLock::default(),
        })
    }

    fn namespaced<K>(
        &mut self,
        config: watcher::Config,
        trim: fn(&mut K),
        tell: Tell<K>,
    ) -> Store<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + std::fmt::Debug
            + serde::de::DeserializeOwned
            + Send
            + Sync
            + 'static,
    {
        let apis: Vec<Api<DeserializeGuard<K>>> = match self.scope {
            Scope::All => vec![Api::all(self.client.clone())],
            Scope::Namespaces(names) => names
                .iter()
                .map(|name| Api::namespaced(self.client.clone(), name))
                .collect(),
        };
        self.begin((), trim, tell, apis, config)
    }

    /// Of nothing, where the operator may look after namespaces only.
    fn cluster_wide<K>(&mut self, cluster: bool, config: watcher::Config, tell: Tell<K>) -> Store<K>
    where
        K: Resource<DynamicType = ()>
            + Clone
            + std::fmt::Debug
            + serde::de::DeserializeOwned
            + Send
            + Sync
            + 'static,
    {
        let apis: Vec<Api<DeserializeGuard<K>>> = cluster
            .then(|| Api::all(self.client.clone()))
            .into_iter()
            .collect();
        self.begin((), |_| (), tell, apis, config)
    }

    fn children(
        &mut self,
        kind: ChildKind,
        config: watcher::Config,
        told: &Arc<Told>,
    ) -> Store<DynamicObject> {
        let resource = kind.resource();
        let cluster_wide = kind == ChildKind::ClusterRoleBinding;
        let api = |namespace: Option<&str>| -> Api<DeserializeGuard<DynamicObject>> {
            match namespace {
                Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, &resource),
                None => Api::all_with(self.client.clone(), &resource),
            }
        };
        let apis = match self.scope {
            Scope::All => vec![api(None)],
            Scope::Namespaces(_) if cluster_wide => Vec::new(),
            Scope::Namespaces(names) => names.iter().map(|name| api(Some(name))).collect(),
        };
        self.begin(resource, |_| (), child_told(told), apis, config)
    }

    fn begin<K>(
        &mut self,
        kind: K::DynamicType,
        trim: fn(&mut K),
        tell: Tell<K>,
        apis: Vec<Api<DeserializeGuard<K>>>,
        config: watcher::Config,
    ) -> Store<K>
    where
        K: Resource + Clone + std::fmt::Debug + serde::de::DeserializeOwned + Send + Sync + 'static,
        K::DynamicType: Eq + std::hash::Hash + Clone + std::fmt::Debug + Send + Sync + Unpin,
    {
        let named = K::kind(&kind).into_owned();
        let complain = Box::new(move |metadata: &kube::core::ObjectMeta, error: &str| {
            tracing::warn!(
                kind = named,
                namespace = metadata.namespace.as_deref(),
                name = metadata.name.as_deref(),
                error,
                "an object of a form that this version does not know is left as it is"
            );
        });
        let feed = Feed::new(kind, trim, tell, complain);
        let store = feed.store();
        self.tasks.push(Box::pin(feed.run(apis, config)));
        store
    }
}

fn bus_told(told: &Arc<Told>) -> Tell<Bus> {
    let told = Arc::clone(told);
    Box::new(move |seen, bus, _| {
        let owner = Owner::Bus {
            namespace: bus.namespace().unwrap_or_default(),
            name: bus.name_any(),
        };
        told.own(seen, bus.meta().uid.as_ref(), owner);
        told.change(&Change::Bus(Arc::new(bus.clone())));
    })
}

fn cluster_bus_told(told: &Arc<Told>) -> Tell<ClusterBus> {
    let told = Arc::clone(told);
    Box::new(move |seen, bus, _| {
        let owner = Owner::ClusterBus {
            name: bus.name_any(),
        };
        told.own(seen, bus.meta().uid.as_ref(), owner);
        told.change(&Change::ClusterBus(Arc::new(bus.clone())));
    })
}

fn channel_told(told: &Arc<Told>) -> Tell<Channel> {
    let told = Arc::clone(told);
    Box::new(move |seen, channel, _| {
        let owner = Owner::Channel {
            namespace: channel.namespace().unwrap_or_default(),
            name: channel.name_any(),
        };
        told.own(seen, channel.meta().uid.as_ref(), owner);
        told.change(&Change::Channel(Arc::new(channel.clone())));
    })
}

fn child_told<K: Resource + 'static>(told: &Arc<Told>) -> Tell<K> {
    let told = Arc::clone(told);
    Box::new(move |_, now, before| told.child(now, before))
}
