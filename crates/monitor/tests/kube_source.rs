//! The API server as a source, against a real one.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::time::Duration;

use busway_api::{Channel, ClusterBus, PROVISIONED_FINALIZER};
use busway_monitor::source::{
    FinalizerChange, Kind, Note, ObjectKey, Severity, Source as _, Watch, WriteError,
    kube::{KubeOptions, KubeSource, Scope},
    lease::LeaseOptions,
};
use busway_testkit::{
    control::{ControlPlane, Namespace},
    wait,
};
use futures::StreamExt as _;
use k8s_openapi::{
    api::coordination::v1::Lease, api::events::v1::Event as K8sEvent,
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, Client, Config, Resource, ResourceExt as _,
    api::{DeleteParams, PostParams},
    config::{KubeConfigOptions, Kubeconfig},
    core::DeserializeGuard,
    runtime::watcher::Event,
};
use serde_json::{Value, json};

/// For what a healthy control plane does at once.
const SOON: Duration = Duration::from_secs(30);
/// For a watch to come back: the watcher's backoff is up to 30 s, doubled by jitter at worst.
const BACK: Duration = Duration::from_secs(90);

async fn client(plane: &ControlPlane) -> Client {
    let config = Kubeconfig::read_from(plane.kubeconfig()).unwrap();
    let config = Config::from_custom_kubeconfig(config, &KubeConfigOptions::default())
        .await
        .unwrap();
    Client::try_from(config).unwrap()
}

async fn install(plane: &ControlPlane, crds: Vec<CustomResourceDefinition>) {
    let list = json!({ "apiVersion": "v1", "kind": "List", "items": crds });
    plane.apply_yaml(&list.to_string()).await.unwrap();
    let wait = [
        "wait",
        "--for=condition=Established",
        "crd",
        "--all",
        "--timeout=30s",
    ];
    plane.kubectl_ok(&wait).await.unwrap();
}

async fn shared(prefix: &str) -> (Namespace, Client) {
    static CRDS: tokio::sync::OnceCell<()> = tokio::sync::OnceCell::const_new();
    let plane = ControlPlane::shared().await.unwrap();
    CRDS.get_or_init(|| install(plane, busway_api::crds::crds()))
        .await;
    (plane.namespace(prefix).await.unwrap(), client(plane).await)
}

fn source(client: &Client, namespace: &str, identity: &str) -> KubeSource {
    scoped(
        client,
        namespace,
        identity,
        Scope::Namespace(namespace.to_owned()),
    )
}

fn scoped(client: &Client, namespace: &str, identity: &str, scope: Scope) -> KubeSource {
    let options = KubeOptions {
        component: "busway-dispatcher".to_owned(),
        scope,
        lease: LeaseOptions {
            namespace: namespace.to_owned(),
            name: "busway-main".to_owned(),
            identity: identity.to_owned(),
            create: true,
        },
    };
    KubeSource::new(client.clone(), options)
}

fn key(channel: &Channel) -> ObjectKey {
    ObjectKey {
        kind: Kind::Channel,
        namespace: channel.namespace(),
        name: channel.name_any(),
        uid: channel.uid().unwrap(),
    }
}

async fn create(client: &Client, namespace: &str, name: &str) -> Channel {
    let api: Api<Channel> = Api::namespaced(client.clone(), namespace);
    let mut channel = Channel::new(name, Default::default());
    channel.spec.bus = Some("main".to_owned());
    api.create(&PostParams::default(), &channel).await.unwrap()
}

/// The next event for which `pick` is Some, within `deadline`; errors on the way are the outage's.
async fn until<K: Send + 'static, T>(
    watch: &mut Watch<K>,
    deadline: Duration,
    mut pick: impl FnMut(Event<K>) -> Option<T>,
) -> T {
    let found = async {
        loop {
            if let Ok(event) = watch.next().await.unwrap()
                && let Some(found) = pick(event)
            {
                return found;
            }
        }
    };
    tokio::time::timeout(deadline, found).await.unwrap()
}

fn applied<K: Resource>(name: &str) -> impl FnMut(Event<K>) -> Option<K> {
    move |event| match event {
        Event::Apply(object) | Event::InitApply(object) => {
            (object.meta().name.as_deref() == Some(name)).then_some(object)
        }
        _ => None,
    }
}

fn condition(kind: &str, status: &str) -> Value {
    json!({ "type": kind, "status": status, "reason": "Tested", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z" })
}

#[tokio::test]
async fn a_watch_tells_what_is_there_then_what_changes_then_what_goes() {
    let (space, client) = shared("watch").await;
    create(&client, space.name(), "first").await;
    let source = source(&client, space.name(), "one");
    let mut channels = source.channels();
    let first = until(&mut channels, SOON, applied("first"))
        .await
        .0
        .unwrap();
    assert_eq!(first.metadata.managed_fields.unwrap_or_default(), []);
    until(&mut channels, SOON, |event| {
        matches!(event, Event::InitDone).then_some(())
    })
    .await;

    create(&client, space.name(), "second").await;
    until(&mut channels, SOON, applied("second")).await;
    let api: Api<Channel> = Api::namespaced(client.clone(), space.name());
    api.delete("first", &DeleteParams::default()).await.unwrap();
    let gone = until(&mut channels, SOON, |event| match event {
        Event::Delete(object) => Some(object.name_any()),
        _ => None,
    });
    assert_eq!(gone.await, "first");
    source.close().await;
}

#[tokio::test]
async fn two_managers_write_their_conditions_and_touch_nobody_elses() {
    let (space, client) = shared("status").await;
    let channel = create(&client, space.name(), "orders").await;
    let source = source(&client, space.name(), "one");
    let key = key(&channel);
    let mine = json!({ "conditions": [condition("Provisioned", "True"), condition("Ready", "False")], "subscriptions": 3 });
    source
        .apply_status(&key, "busway-dispatcher", mine)
        .await
        .unwrap();
    let theirs = json!({ "conditions": [condition("Accepted", "True")] });
    source
        .apply_status(&key, "busway-operator", theirs)
        .await
        .unwrap();
    let fewer = json!({ "conditions": [condition("Ready", "True")] });
    source
        .apply_status(&key, "busway-dispatcher", fewer)
        .await
        .unwrap();

    let api: Api<Channel> = Api::namespaced(client.clone(), space.name());
    let status = api.get("orders").await.unwrap().status.unwrap();
    let mut said: Vec<_> = status
        .conditions
        .iter()
        .map(|c| format!("{}={}", c.type_, c.status))
        .collect();
    said.sort();
    assert_eq!(said, ["Accepted=True", "Ready=True"]);
    assert_eq!(
        status.subscriptions, None,
        "what is not applied any more goes"
    );

    let wrong = json!({ "subscriptions": "many" });
    let refused = source
        .apply_status(&key, "busway-dispatcher", wrong)
        .await
        .unwrap_err();
    assert!(matches!(refused, WriteError::Refused(_)), "{refused:?}");
    source.close().await;
}

#[tokio::test]
async fn no_write_reaches_an_object_that_was_recreated() {
    let (space, client) = shared("uid").await;
    let old = create(&client, space.name(), "orders").await;
    let source = source(&client, space.name(), "one");
    let api: Api<Channel> = Api::namespaced(client.clone(), space.name());
    api.delete("orders", &DeleteParams::default())
        .await
        .unwrap();
    let key = key(&old);
    let version = old.resource_version().unwrap();
    let status = json!({ "subscriptions": 1 });

    let absent = source
        .apply_status(&key, "busway-dispatcher", status.clone())
        .await;
    assert_eq!(absent, Err(WriteError::Gone));
    assert!(
        api.get_opt("orders").await.unwrap().is_none(),
        "the apply made none"
    );

    let new = create(&client, space.name(), "orders").await;
    let other = source.apply_status(&key, "busway-dispatcher", status).await;
    assert_eq!(other, Err(WriteError::Gone));
    for version in [&version, &new.resource_version().unwrap()] {
        let finalizer = source
            .change_finalizer(&key, version, PROVISIONED_FINALIZER, FinalizerChange::Add)
            .await;
        assert_eq!(finalizer, Err(WriteError::Gone));
        let bus = source.set_cluster_bus(&key, version, "other").await;
        assert!(
            matches!(bus, Err(WriteError::Gone | WriteError::Conflict)),
            "{bus:?}"
        );
    }
    let found = api.get("orders").await.unwrap();
    assert_eq!(found.status, None);
    assert_eq!(found.spec.cluster_bus, None);
    assert_eq!(found.metadata.finalizers, None);
    source.close().await;
}

#[tokio::test]
async fn a_finalizer_goes_on_and_off_once_and_not_over_a_newer_version() {
    let (space, client) = shared("finalizer").await;
    let channel = create(&client, space.name(), "orders").await;
    let source = source(&client, space.name(), "one");
    let key = key(&channel);
    let change = |version: String, change| {
        let (source, key) = (&source, &key);
        async move {
            source
                .change_finalizer(key, &version, PROVISIONED_FINALIZER, change)
                .await
        }
    };
    let api: Api<Channel> = Api::namespaced(client.clone(), space.name());
    let version = channel.resource_version().unwrap();
    change(version.clone(), FinalizerChange::Add).await.unwrap();
    change(version.clone(), FinalizerChange::Add).await.unwrap();
    let conflict = change(version, FinalizerChange::Remove).await;
    assert_eq!(conflict, Err(WriteError::Conflict));

    api.delete("orders", &DeleteParams::default())
        .await
        .unwrap();
    let found = api.get("orders").await.unwrap();
    assert!(found.metadata.deletion_timestamp.is_some());
    assert_eq!(found.finalizers(), [PROVISIONED_FINALIZER]);
    change(found.resource_version().unwrap(), FinalizerChange::Remove)
        .await
        .unwrap();
    assert!(api.get_opt("orders").await.unwrap().is_none());
    let again = change(found.resource_version().unwrap(), FinalizerChange::Remove).await;
    assert_eq!(again, Err(WriteError::Gone));
    source.close().await;
}

#[tokio::test]
async fn the_lease_goes_to_one_and_is_handed_over_when_it_closes() {
    let (space, client) = shared("lease").await;
    let one = source(&client, space.name(), "one");
    let mut one_leads = one.leadership();
    tokio::time::timeout(SOON, one_leads.wait_for(|leads| *leads))
        .await
        .unwrap()
        .unwrap();

    let two = source(&client, space.name(), "two");
    let mut two_leads = two.leadership();
    assert!(!*two_leads.borrow());
    one.close().await;
    assert!(!*one_leads.borrow());
    // Long before the Lease would have run out.
    tokio::time::timeout(Duration::from_secs(12), two_leads.wait_for(|leads| *leads))
        .await
        .unwrap()
        .unwrap();
    let leases: Api<Lease> = Api::namespaced(client.clone(), space.name());
    let lease = leases.get("busway-main").await.unwrap().spec.unwrap();
    assert_eq!(lease.holder_identity.as_deref(), Some("two"));
    two.close().await;
    let free = leases.get("busway-main").await.unwrap().spec.unwrap();
    assert_eq!(free.holder_identity, None);
}

#[tokio::test]
async fn an_event_is_seen_on_the_object_and_repeats_are_counted() {
    let (space, client) = shared("events").await;
    let channel = create(&client, space.name(), "orders").await;
    let source = source(&client, space.name(), "one");
    let note = Note {
        regarding: key(&channel),
        severity: Severity::Warning,
        reason: "ProvisionFailed".to_owned(),
        action: "Provision",
        message: "the broker said no".to_owned(),
    };
    source.record(note.clone()).await;
    source.record(note).await;
    let api: Api<K8sEvent> = Api::namespaced(client.clone(), space.name());
    wait::until("the event was counted twice", SOON, || async {
        let events = api
            .list(&Default::default())
            .await
            .map_err(|error| error.to_string())?
            .items;
        match events.as_slice() {
            [event]
                if event
                    .series
                    .as_ref()
                    .is_some_and(|series| series.count == 2) =>
            {
                Ok(())
            }
            _ => Err(format!("{events:?}")),
        }
    })
    .await
    .unwrap();
    assert_eq!(source.notes_dropped(), 0);
    source.close().await;
}

#[tokio::test]
async fn a_cluster_bus_sees_all_namespaces_and_its_events_are_in_default() {
    let (space, client) = shared("cluster").await;
    let name = space.name().to_owned();
    let api: Api<ClusterBus> = Api::all(client.clone());
    let mut bus = ClusterBus::new(&name, Default::default());
    bus.spec.bus.memory = Some(Default::default());
    let bus = api.create(&PostParams::default(), &bus).await.unwrap();
    let source = scoped(&client, space.name(), "one", Scope::Cluster);
    until(&mut source.cluster_buses(), SOON, applied(&name)).await;
    let found = until(&mut source.namespaces(), SOON, applied(&name)).await;
    assert_eq!(found.labels()["kubernetes.io/metadata.name"], name);

    let channel = Channel::new("orders", Default::default());
    let channels: Api<Channel> = Api::namespaced(client.clone(), space.name());
    let channel = channels
        .create(&PostParams::default(), &channel)
        .await
        .unwrap();
    let version = channel.resource_version().unwrap();
    source
        .set_cluster_bus(&key(&channel), &version, &name)
        .await
        .unwrap();
    let again = source
        .set_cluster_bus(&key(&channel), &version, "other")
        .await;
    assert_eq!(again, Err(WriteError::Conflict));
    let set = channels.get("orders").await.unwrap().spec.cluster_bus;
    assert_eq!(set, Some(name.clone()));

    let regarding = ObjectKey {
        kind: Kind::ClusterBus,
        namespace: None,
        name: name.clone(),
        uid: bus.uid().unwrap(),
    };
    let status = json!({ "conditions": [condition("Synced", "True")] });
    source
        .apply_status(&regarding, "busway-dispatcher", status)
        .await
        .unwrap();
    let note = Note {
        regarding,
        severity: Severity::Normal,
        reason: "Synced".to_owned(),
        action: "Sync",
        message: "all is well".to_owned(),
    };
    source.record(note).await;
    let events: Api<K8sEvent> = Api::namespaced(client.clone(), "default");
    wait::until("the event is in default", SOON, || async {
        let found = events
            .list(&Default::default())
            .await
            .map_err(|error| error.to_string())?;
        let about = |event: &K8sEvent| {
            event
                .regarding
                .as_ref()
                .is_some_and(|about| about.name.as_ref() == Some(&name))
        };
        found
            .items
            .iter()
            .any(about)
            .then_some(())
            .ok_or_else(|| format!("{} others", found.items.len()))
    })
    .await
    .unwrap();
    source.close().await;
}

#[tokio::test]
async fn a_source_of_one_namespace_asks_for_nothing_beside_it() {
    let (space, client) = shared("narrow").await;
    let source = source(&client, space.name(), "one");
    let mut buses = source.cluster_buses();
    assert!(matches!(buses.next().await, Some(Ok(Event::Init))));
    assert!(matches!(buses.next().await, Some(Ok(Event::InitDone))));
    assert!(futures::poll!(buses.next()).is_pending());
    source.close().await;
}

/// Takes enums and required fields off a schema: what a newer release may have stored.
fn relaxed(mut crd: CustomResourceDefinition) -> CustomResourceDefinition {
    for version in &mut crd.spec.versions {
        let spec = json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true });
        let schema = json!({ "openAPIV3Schema": { "type": "object", "properties": { "spec": spec, "status": spec } } });
        version.schema = serde_json::from_value(schema).unwrap();
    }
    crd
}

#[tokio::test]
async fn an_object_that_cannot_be_decoded_stops_no_other_and_a_restarted_server_is_watched_again() {
    let plane = ControlPlane::start().await.unwrap();
    install(
        &plane,
        busway_api::crds::crds().into_iter().map(relaxed).collect(),
    )
    .await;
    let client = client(&plane).await;
    let newer = "{apiVersion: channels.busway.dev/v1alpha1, kind: Channel, metadata: {name: newer, namespace: default}, spec: {deletionPolicy: Archive}}";
    plane.apply_yaml(newer).await.unwrap();
    create(&client, "default", "plain").await;

    let source = source(&client, "default", "one");
    let mut channels = source.channels();
    let mut seen = Vec::new();
    until(
        &mut channels,
        SOON,
        |event: Event<DeserializeGuard<Channel>>| match event {
            Event::InitApply(object) => {
                seen.push((object.name_any(), object.0.is_ok()));
                None
            }
            Event::InitDone => Some(()),
            _ => None,
        },
    )
    .await;
    seen.sort();
    assert_eq!(
        seen,
        [("newer".to_owned(), false), ("plain".to_owned(), true)]
    );

    let mut leads = source.leadership();
    let led = tokio::time::timeout(SOON, leads.wait_for(|leads| *leads)).await;
    drop(led.unwrap().unwrap());

    plane.stop_apiserver();
    let key = ObjectKey {
        kind: Kind::Channel,
        namespace: Some("default".to_owned()),
        name: "plain".to_owned(),
        uid: "u".to_owned(),
    };
    let away = source
        .apply_status(&key, "busway-dispatcher", json!({}))
        .await;
    assert!(matches!(away, Err(WriteError::Unavailable(_))), "{away:?}");
    let lost = tokio::time::timeout(Duration::from_secs(14), leads.wait_for(|leads| !*leads)).await;
    drop(lost.unwrap().unwrap());
    plane.start_apiserver().await.unwrap();
    let led = tokio::time::timeout(SOON, leads.wait_for(|leads| *leads)).await;
    drop(led.unwrap().unwrap());
    create(&client, "default", "later").await;
    until(&mut channels, BACK, applied("later")).await;
    source.close().await;
}
