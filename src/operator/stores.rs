//! Everything that is watched, and who is told of a change.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, OnceLock, PoisonError, RwLock},
};

use busway_api::{Bus, Channel, ClusterBus, Subscription};
use k8s_openapi::api::{
    core::v1::{Namespace, Pod},
    discovery::v1::EndpointSlice,
};
use kube::{
    Api, Client, Resource, ResourceExt as _,
    core::{DynamicObject, NamespaceResourceScope, PartialObjectMeta},
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
    feed::{Feed, Guarded, Keep, Seen, Tell},
    labels,
    object::{self, Object},
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
    by_owner: RwLock<HashMap<String, BTreeSet<ChildRef>>>,
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

    fn own<K: Object>(&self, seen: Seen, object: &K, before: Option<&K>, owner: Owner) {
        if let Some(stores) = self.stores.get() {
            let mut owners = stores
                .owners
                .write()
                .unwrap_or_else(PoisonError::into_inner);
            note_owner(&mut owners, seen, object, before, owner);
        }
    }

    /// Keeps which children each owner has.
    fn note(
        &self,
        kind: ChildKind,
        seen: Seen,
        now: &DynamicObject,
        before: Option<&DynamicObject>,
    ) {
        if let Some(stores) = self.stores.get() {
            let mut all = stores
                .by_owner
                .write()
                .unwrap_or_else(PoisonError::into_inner);
            note_child(&mut all, kind, seen, now, before);
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
        let all = self.by_owner.read().unwrap_or_else(PoisonError::into_inner);
        all.get(uid).into_iter().flatten().cloned().collect()
    }

    /// Every pod that serves that UID, in the namespace where its children are.
    pub(crate) fn pods_of(&self, uid: &str, namespace: &str) -> Vec<Arc<Pod>> {
        let all = self.pods.state().into_iter();
        all.filter(|pod| is_pod_of(pod, uid, namespace)).collect()
    }
}

/// A pod elsewhere that carries the UID is somebody else's idea.
fn is_pod_of(pod: &Pod, uid: &str, namespace: &str) -> bool {
    labels::owner_uid(pod) == Some(uid) && pod.metadata.namespace.as_deref() == Some(namespace)
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
        let buses = self.namespaced(everything(), ours_kept(), bus_told(told));
        let cluster_buses =
            self.cluster_wide(cluster, everything(), ours_kept(), cluster_bus_told(told));
        let channels = self.namespaced(everything(), ours_kept(), channel_told(told));
        let subscriptions = self.namespaced(everything(), ours_kept(), {
            let told = Arc::clone(told);
            Box::new(move |_, object: &Subscription, _| {
                told.change(&Change::Subscription(Arc::new(object.clone())));
            })
        });
        let namespaces = self.cluster_wide(cluster, everything(), Keep::whole(), {
            let told = Arc::clone(told);
            Box::new(move |_, object: &PartialObjectMeta<Namespace>, _| {
                told.change(&Change::Namespace(Arc::new(object.clone())));
            })
        });
        let children = ChildKind::ALL
            .into_iter()
            .map(|kind| (kind, self.children(kind, ours.clone(), told)))
            .collect();
        let endpoint_slices = self.namespaced(ours.clone(), Keep::whole(), child_told(told));
        let pods = Keep {
            trim: |pod: &mut Pod| pod.spec = None,
            ..Keep::whole()
        };
        let pods = self.namespaced(ours, pods, child_told(told));
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
            by_owner: RwLock::default(),
        })
    }

    fn namespaced<K>(&mut self, config: watcher::Config, keep: Keep<K>, tell: Tell<K>) -> Store<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + std::fmt::Debug
            + serde::de::DeserializeOwned
            + Send
            + Sync
            + 'static,
    {
        let apis: Vec<Api<Guarded<K>>> = match self.scope {
            Scope::All => vec![Api::all(self.client.clone())],
            Scope::Namespaces(names) => names
                .iter()
                .map(|name| Api::namespaced(self.client.clone(), name))
                .collect(),
        };
        self.begin((), keep, tell, apis, config)
    }

    /// Of nothing, where the operator may look after namespaces only.
    fn cluster_wide<K>(
        &mut self,
        cluster: bool,
        config: watcher::Config,
        keep: Keep<K>,
        tell: Tell<K>,
    ) -> Store<K>
    where
        K: Resource<DynamicType = ()>
            + Clone
            + std::fmt::Debug
            + serde::de::DeserializeOwned
            + Send
            + Sync
            + 'static,
    {
        let apis: Vec<Api<Guarded<K>>> = cluster
            .then(|| Api::all(self.client.clone()))
            .into_iter()
            .collect();
        self.begin((), keep, tell, apis, config)
    }

    fn children(
        &mut self,
        kind: ChildKind,
        config: watcher::Config,
        told: &Arc<Told>,
    ) -> Store<DynamicObject> {
        let resource = kind.resource();
        let cluster_wide = kind == ChildKind::ClusterRoleBinding;
        let api = |namespace: Option<&str>| -> Api<Guarded<DynamicObject>> {
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
        let told = Arc::clone(told);
        let tell: Tell<DynamicObject> = Box::new(move |seen, now, before| {
            told.note(kind, seen, now, before);
            told.child(now, before);
        });
        self.begin(resource, Keep::whole(), tell, apis, config)
    }

    fn begin<K>(
        &mut self,
        kind: K::DynamicType,
        keep: Keep<K>,
        tell: Tell<K>,
        apis: Vec<Api<Guarded<K>>>,
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
        let feed = Feed::new(kind, keep, tell, complain);
        let store = feed.store();
        self.tasks.push(Box::pin(feed.run(apis, config)));
        store
    }
}

/// Of our kinds, also what this version cannot read.
fn ours_kept<K: Object>() -> Keep<K> {
    Keep {
        trim: object::trim,
        salvage: object::salvage,
    }
}

/// Keeps whose each UID is; one that took the place of another between two looks takes its entry too.
fn note_owner<K: Object>(
    owners: &mut HashMap<String, Owner>,
    seen: Seen,
    object: &K,
    before: Option<&K>,
    owner: Owner,
) {
    if let Some(before) = before {
        owners.remove(before.uid_or_empty());
    }
    match seen {
        Seen::There => owners.insert(object.uid_or_empty().to_owned(), owner),
        Seen::Gone => owners.remove(object.uid_or_empty()),
    };
}

/// Its label may be another one than before, or none.
fn note_child(
    all: &mut HashMap<String, BTreeSet<ChildRef>>,
    kind: ChildKind,
    seen: Seen,
    now: &DynamicObject,
    before: Option<&DynamicObject>,
) {
    let at = ChildRef {
        kind,
        namespace: now.namespace(),
        name: now.name_any(),
    };
    for uid in [before, Some(now)]
        .into_iter()
        .flatten()
        .filter_map(labels::owner_uid)
    {
        if let Some(children) = all.get_mut(uid) {
            children.remove(&at);
            if children.is_empty() {
                all.remove(uid);
            }
        }
    }
    if let (Seen::There, Some(uid)) = (seen, labels::owner_uid(now)) {
        all.entry(uid.to_owned()).or_default().insert(at);
    }
}

fn bus_told(told: &Arc<Told>) -> Tell<Bus> {
    let told = Arc::clone(told);
    Box::new(move |seen, bus, before| {
        let owner = Owner::Bus {
            namespace: bus.namespace().unwrap_or_default(),
            name: bus.name_any(),
        };
        told.own(seen, bus, before, owner);
        told.change(&Change::Bus(Arc::new(bus.clone())));
    })
}

fn cluster_bus_told(told: &Arc<Told>) -> Tell<ClusterBus> {
    let told = Arc::clone(told);
    Box::new(move |seen, bus, before| {
        let owner = Owner::ClusterBus {
            name: bus.name_any(),
        };
        told.own(seen, bus, before, owner);
        told.change(&Change::ClusterBus(Arc::new(bus.clone())));
    })
}

fn channel_told(told: &Arc<Told>) -> Tell<Channel> {
    let told = Arc::clone(told);
    Box::new(move |seen, channel, before| {
        let owner = Owner::Channel {
            namespace: channel.namespace().unwrap_or_default(),
            name: channel.name_any(),
        };
        told.own(seen, channel, before, owner);
        told.change(&Change::Channel(Arc::new(channel.clone())));
    })
}

fn child_told<K: Resource + 'static>(told: &Arc<Told>) -> Tell<K> {
    let told = Arc::clone(told);
    Box::new(move |_, now, before| told.child(now, before))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bus(uid: &str) -> ClusterBus {
        let mut bus = ClusterBus::new("main", busway_api::ClusterBusSpec::default());
        bus.metadata.uid = Some(uid.to_owned());
        bus
    }

    #[test]
    fn an_owner_that_another_took_the_place_of_between_two_looks_is_none_any_more() {
        let owner = || Owner::ClusterBus {
            name: "main".to_owned(),
        };
        let mut owners = HashMap::new();
        let (old, new) = (bus("old"), bus("new"));
        note_owner(&mut owners, Seen::There, &old, None, owner());
        note_owner(&mut owners, Seen::There, &new, Some(&old), owner());
        assert_eq!(owners.keys().collect::<Vec<_>>(), ["new"]);
        note_owner(&mut owners, Seen::Gone, &new, None, owner());
        assert!(owners.is_empty());
    }

    #[test]
    fn pods_elsewhere_are_not_those_of_a_bus() {
        let pod = |namespace: &str, uid: &str| {
            let mut pod = Pod::default();
            pod.metadata.namespace = Some(namespace.to_owned());
            let label = (labels::OWNER_UID.to_owned(), uid.to_owned());
            pod.metadata.labels = Some([label].into());
            pod
        };
        assert!(!is_pod_of(&pod("elsewhere", "u"), "u", "shop"));
        assert!(is_pod_of(&pod("shop", "u"), "u", "shop"));
        assert!(!is_pod_of(&pod("shop", "another"), "u", "shop"));
    }

    #[test]
    fn the_children_of_an_owner_are_those_that_carry_its_label_now() {
        let service = |uid: Option<&str>| {
            let mut service = DynamicObject::new("a-bus", &ChildKind::Service.resource());
            service.metadata.namespace = Some("shop".to_owned());
            service.metadata.labels = uid.map(|uid| {
                let label = (labels::OWNER_UID.to_owned(), uid.to_owned());
                [label].into()
            });
            service
        };
        let mut all = HashMap::new();
        let (mine, theirs, bare) = (service(Some("a")), service(Some("b")), service(None));
        let kind = ChildKind::Service;
        note_child(&mut all, kind, Seen::There, &mine, None);
        assert_eq!(all.keys().collect::<Vec<_>>(), ["a"]);
        note_child(&mut all, kind, Seen::There, &theirs, Some(&mine));
        assert_eq!(all.keys().collect::<Vec<_>>(), ["b"]);
        note_child(&mut all, kind, Seen::There, &bare, Some(&theirs));
        assert!(all.is_empty());
        note_child(&mut all, kind, Seen::There, &mine, Some(&bare));
        note_child(&mut all, kind, Seen::Gone, &mine, None);
        assert!(all.is_empty());
    }
}
