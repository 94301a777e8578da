#![allow(clippy::unwrap_used, reason = "tests")]

use std::fs;

use busway_api::PROVISIONED_FINALIZER;
use busway_testkit::wait;
use futures::StreamExt as _;
use kube::{Resource as _, ResourceExt as _, runtime::watcher::Event};
use serde_json::json;
use tempfile::TempDir;

use super::*;

/// A look and another, and a slow machine.
const SOON: Duration = Duration::from_secs(20);
const MANAGER: &str = "busway-dispatcher";

const BUS: &str = "{apiVersion: channels.busway.dev/v1alpha1, kind: ClusterBus, metadata: {name: main}, spec: {memory: {}}}";

fn channel(name: &str, bus: &str) -> String {
    format!(
        "apiVersion: channels.busway.dev/v1alpha1\nkind: Channel\nmetadata:\n  name: {name}\nspec:\n  clusterBus: {bus}\n"
    )
}

struct Dir {
    temp: TempDir,
}

impl Dir {
    fn with(files: &[(&str, &str)]) -> Self {
        let dir = Self {
            temp: TempDir::new().unwrap(),
        };
        for (name, text) in files {
            dir.write(name, text);
        }
        dir
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.temp.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn remove(&self, name: &str) {
        fs::remove_file(self.temp.path().join(name)).unwrap();
    }

    async fn open(&self) -> FolderSource {
        let options = FolderOptions {
            state_dir: self.temp.path().join(".busway"),
        };
        FolderSource::open(self.temp.path(), options).await.unwrap()
    }
}

fn get(source: &FolderSource, kind: &str, name: &str) -> Option<Value> {
    let all = source.objects();
    let mut found = all
        .iter()
        .filter(|object| object["kind"] == kind && object["metadata"]["name"] == name);
    found.next().map(|object| Value::clone(object))
}

fn key(object: &Value) -> ObjectKey {
    let text = |field: &str| object["metadata"][field].as_str().map(str::to_owned);
    let kind = if object["kind"] == "Channel" {
        Kind::Channel
    } else {
        Kind::ClusterBus
    };
    ObjectKey {
        kind,
        namespace: text("namespace"),
        name: text("name").unwrap(),
        uid: text("uid").unwrap(),
    }
}

async fn finalize(
    source: &FolderSource,
    object: &Value,
    change: FinalizerChange,
) -> Result<(), WriteError> {
    let version = object["metadata"]["resourceVersion"].as_str().unwrap();
    source
        .change_finalizer(&key(object), version, PROVISIONED_FINALIZER, change)
        .await
}

async fn until<T>(what: &str, mut look: impl FnMut() -> Result<T, String>) -> T {
    wait::until(what, SOON, || std::future::ready(look()))
        .await
        .unwrap()
}

async fn complaint(source: &FolderSource, file: &str) -> String {
    until("there is a complaint", || {
        source
            .complaints()
            .get(file)
            .cloned()
            .ok_or_else(|| "none".to_owned())
    })
    .await
}

async fn no_complaints(source: &FolderSource) {
    until("there are no complaints", || {
        let complaints = source.complaints();
        if complaints.is_empty() {
            Ok(())
        } else {
            Err(format!("{complaints:?}"))
        }
    })
    .await;
}

#[tokio::test]
async fn a_folder_is_told_as_an_api_server_would() {
    let deployment = "{apiVersion: apps/v1, kind: Deployment, metadata: {name: shop}}";
    let all = format!("# the bus\n---\n{BUS}\n---\n# nothing\n---\n{deployment}\n");
    let dir = Dir::with(&[
        ("all.yaml", &all),
        ("shop/orders.yml", &channel("orders", "main")),
    ]);
    let json = r#"{"apiVersion": "channels.busway.dev/v1alpha1", "kind": "Channel", "metadata": {"name": "bills", "namespace": "shop"}, "spec": {}}"#;
    dir.write("shop/bills.json", json);
    dir.write(".hidden.yaml", &channel("hidden", "main"));
    dir.write("busway-dev.yaml", "hosts: {}");
    dir.write("notes.txt", "not a manifest");
    let source = dir.open().await;
    assert_eq!(source.complaints(), BTreeMap::new());
    assert_eq!(source.objects().len(), 3);
    let orders = get(&source, "Channel", "orders").unwrap();
    assert_eq!(orders["metadata"]["namespace"], "default");
    assert_eq!(orders["metadata"]["generation"], 1);
    assert_eq!(
        orders["spec"]["deletionPolicy"], "Delete",
        "defaults are applied"
    );
    assert!(orders["metadata"]["uid"].as_str().unwrap().len() == 36);
    assert!(*source.leadership().borrow());

    let mut channels = source.channels();
    assert!(matches!(channels.next().await, Some(Ok(Event::Init))));
    let mut names = Vec::new();
    while let Some(Ok(Event::InitApply(object))) = channels.next().await {
        names.push(object.0.unwrap().name_any());
    }
    assert_eq!(names, ["orders", "bills"], "then InitDone");
    let mut namespaces = source
        .namespaces()
        .take(4)
        .map(Result::unwrap)
        .collect::<Vec<_>>()
        .await
        .into_iter();
    let namespace = namespaces.find_map(|event| match event {
        Event::InitApply(namespace) if namespace.name_any() == "shop" => Some(namespace),
        _ => None,
    });
    assert_eq!(
        namespace.unwrap().labels()["kubernetes.io/metadata.name"],
        "shop"
    );
    source.close().await;
}

#[tokio::test]
async fn a_refused_edit_keeps_the_last_good_form_and_says_why_until_it_is_mended() {
    let dir = Dir::with(&[
        ("bus.yaml", BUS),
        ("orders.yaml", &channel("orders", "main")),
    ]);
    let source = dir.open().await;
    let before = get(&source, "Channel", "orders").unwrap();

    dir.write("orders.yaml", &channel("orders", "other"));
    let said = complaint(&source, "orders.yaml").await;
    assert!(
        said.contains("document 1")
            && said.contains("spec.clusterBus")
            && said.contains("cannot be changed"),
        "{said}"
    );
    assert_eq!(get(&source, "Channel", "orders").unwrap(), before);

    dir.write("orders.yaml", "kind: [");
    until("the complaint is another", || {
        let now = source.complaints()["orders.yaml"].clone();
        if now.contains("YAML") {
            Ok(())
        } else {
            Err(now)
        }
    })
    .await;
    assert_eq!(get(&source, "Channel", "orders").unwrap(), before);

    dir.write(
        "orders.yaml",
        &format!("{}  deletionPolicy: Retain\n", channel("orders", "main")),
    );
    no_complaints(&source).await;
    let after = get(&source, "Channel", "orders").unwrap();
    assert_eq!(after["spec"]["deletionPolicy"], "Retain");
    assert_eq!(after["metadata"]["generation"], 2);
    assert_eq!(after["metadata"]["uid"], before["metadata"]["uid"]);
    source.close().await;
}

#[tokio::test]
async fn a_wrong_document_hides_no_other() {
    let wrong = "apiVersion: channels.busway.dev/v1alpha1\nkind: Channel\nmetadata: {name: bad}\nspec: {colour: red}\n";
    let text = format!(
        "{}---\n: : :\n  - [\n---\n{wrong}---\n{BUS}\n",
        channel("orders", "main")
    );
    let dir = Dir::with(&[("all.yaml", &text)]);
    let source = dir.open().await;
    assert_eq!(source.objects().len(), 2);
    let said = &source.complaints()["all.yaml"];
    assert!(said.contains("document 2: error parsing YAML"), "{said}");
    assert!(
        said.contains("document 3: The Channel \"bad\" is invalid: spec.colour"),
        "{said}"
    );
    source.close().await;
}

#[tokio::test]
async fn the_same_object_twice_is_told_with_both_files() {
    let dir = Dir::with(&[("b.yaml", &channel("orders", "main"))]);
    let source = dir.open().await;
    let retained = format!("{}  deletionPolicy: Retain\n", channel("orders", "main"));
    dir.write("a.yaml", &retained);
    let said = complaint(&source, "a.yaml").await;
    assert!(
        said.contains("Channel default/orders is in b.yaml"),
        "{said}"
    );
    assert_eq!(
        get(&source, "Channel", "orders").unwrap()["spec"]["deletionPolicy"],
        "Delete",
        "the first stays"
    );
    dir.remove("b.yaml");
    no_complaints(&source).await;
    assert_eq!(
        get(&source, "Channel", "orders").unwrap()["spec"]["deletionPolicy"],
        "Retain"
    );
    source.close().await;
}

#[tokio::test]
async fn an_object_with_a_finalizer_is_marked_and_goes_when_it_is_taken_off() {
    let dir = Dir::with(&[("orders.yaml", &channel("orders", "main"))]);
    let source = dir.open().await;
    let first = get(&source, "Channel", "orders").unwrap();
    finalize(&source, &first, FinalizerChange::Add)
        .await
        .unwrap();
    finalize(&source, &first, FinalizerChange::Add)
        .await
        .unwrap();
    assert_eq!(
        finalize(&source, &first, FinalizerChange::Remove).await,
        Err(WriteError::Conflict)
    );
    let mut channels = source.channels();
    while !matches!(channels.next().await, Some(Ok(Event::InitDone))) {}

    dir.remove("orders.yaml");
    let marked = until("it is marked", || {
        let object = get(&source, "Channel", "orders").unwrap();
        if object["metadata"]["deletionTimestamp"].is_string() {
            Ok(object)
        } else {
            Err(object.to_string())
        }
    })
    .await;
    let refused = source
        .change_finalizer(&key(&marked), "0", "other", FinalizerChange::Add)
        .await;
    assert!(
        matches!(refused, Err(WriteError::Refused(_))),
        "{refused:?}"
    );

    // Back under its name before it is gone: it waits, and then is another.
    dir.write("orders.yaml", &channel("orders", "other"));
    dir.write("later.yaml", &channel("later", "main"));
    until("the folder was read", || {
        get(&source, "Channel", "later").ok_or_else(|| "not yet".to_owned())
    })
    .await;
    assert_eq!(
        get(&source, "Channel", "orders").unwrap()["metadata"]["uid"],
        first["metadata"]["uid"]
    );
    finalize(&source, &marked, FinalizerChange::Remove)
        .await
        .unwrap();
    let second = get(&source, "Channel", "orders").unwrap();
    assert_ne!(second["metadata"]["uid"], first["metadata"]["uid"]);
    assert_eq!(
        second["spec"]["clusterBus"], "other",
        "a new object may name another bus"
    );
    let gone = source.apply_status(&key(&first), MANAGER, json!({})).await;
    assert_eq!(gone, Err(WriteError::Gone));

    let mut told = Vec::new();
    while told.len() < 4 {
        match channels.next().await.unwrap().unwrap() {
            Event::Apply(object) if object.name_any() == "orders" => {
                told.push(if object.meta().deletion_timestamp.is_some() {
                    "marked"
                } else {
                    "new"
                });
            }
            Event::Apply(_) => told.push("later"),
            Event::Delete(_) => told.push("deleted"),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(told, ["marked", "later", "deleted", "new"]);
    source.close().await;
}

#[tokio::test]
async fn a_file_removed_while_nobody_looked_is_told_as_deleted_at_the_next_start() {
    let dir = Dir::with(&[
        ("orders.yaml", &channel("orders", "main")),
        ("plain.yaml", &channel("plain", "main")),
    ]);
    let source = dir.open().await;
    let before = get(&source, "Channel", "orders").unwrap();
    let status = json!({ "subscriptions": 2 });
    source
        .apply_status(&key(&before), MANAGER, status.clone())
        .await
        .unwrap();
    let before = get(&source, "Channel", "orders").unwrap();
    finalize(&source, &before, FinalizerChange::Add)
        .await
        .unwrap();
    source.close().await;

    dir.remove("orders.yaml");
    dir.remove("plain.yaml");
    let source = dir.open().await;
    let left = source.objects();
    assert_eq!(left.len(), 1, "without a finalizer it is gone: {left:?}");
    assert_eq!(left[0]["metadata"]["uid"], before["metadata"]["uid"]);
    assert!(left[0]["metadata"]["deletionTimestamp"].is_string());
    assert_eq!(left[0]["status"], status);
    finalize(&source, &left[0], FinalizerChange::Remove)
        .await
        .unwrap();
    assert!(source.objects().is_empty());
    source.close().await;
}

#[tokio::test]
async fn a_finalizer_is_on_disk_when_its_write_returns() {
    let dir = Dir::with(&[("orders.yaml", &channel("orders", "main"))]);
    let source = dir.open().await;
    finalize(
        &source,
        &get(&source, "Channel", "orders").unwrap(),
        FinalizerChange::Add,
    )
    .await
    .unwrap();
    let kept = fs::read_to_string(dir.temp.path().join(".busway/objects.json")).unwrap();
    assert!(kept.contains(PROVISIONED_FINALIZER), "{kept}");
    source.close().await;
}

#[tokio::test]
async fn the_default_bus_stays_with_a_channel_whose_file_names_none() {
    let manifest = "{apiVersion: channels.busway.dev/v1alpha1, kind: Channel, metadata: {name: orders}, spec: {}}";
    let dir = Dir::with(&[("orders.yaml", manifest)]);
    let source = dir.open().await;
    let object = get(&source, "Channel", "orders").unwrap();
    let version = object["metadata"]["resourceVersion"].as_str().unwrap();
    assert_eq!(
        source.set_cluster_bus(&key(&object), "0", "main").await,
        Err(WriteError::Conflict)
    );
    source
        .set_cluster_bus(&key(&object), version, "main")
        .await
        .unwrap();
    source.close().await;

    let source = dir.open().await;
    assert_eq!(source.complaints(), BTreeMap::new());
    assert_eq!(
        get(&source, "Channel", "orders").unwrap()["spec"]["clusterBus"],
        "main"
    );
    source.close().await;
}

#[tokio::test]
async fn files_that_cannot_be_read_are_told_and_change_nothing() {
    let dir = Dir::with(&[
        ("orders.yaml", &channel("orders", "main")),
        ("bills.yaml", &channel("bills", "main")),
    ]);
    let source = dir.open().await;
    fs::write(
        dir.temp.path().join("orders.yaml"),
        [b'a', b':', b' ', 0xff],
    )
    .unwrap();
    dir.write("bills.yaml", &" ".repeat(5 * 1024 * 1024));
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink("loop.yaml", dir.temp.path().join("loop.yaml")).unwrap();
        std::os::unix::fs::symlink(".", dir.temp.path().join("self")).unwrap();
        let said = complaint(&source, "loop.yaml").await;
        assert!(said.contains("cannot be read"), "{said}");
    }
    let said = complaint(&source, "orders.yaml").await;
    assert!(said.contains("UTF-8"), "{said}");
    let said = complaint(&source, "bills.yaml").await;
    assert!(said.contains("larger than"), "{said}");
    assert_eq!(source.objects().len(), 2);
    source.close().await;
}

#[tokio::test]
async fn a_folder_that_goes_away_deletes_nothing() {
    let dir = Dir::with(&[("shop/orders.yaml", &channel("orders", "main"))]);
    let state = TempDir::new().unwrap();
    let options = FolderOptions {
        state_dir: state.path().to_owned(),
    };
    let shop = dir.temp.path().join("shop");
    let source = FolderSource::open(&shop, options).await.unwrap();
    fs::rename(&shop, dir.temp.path().join("away")).unwrap();
    let said = complaint(&source, ".").await;
    assert!(said.contains("cannot be read"), "{said}");
    assert_eq!(source.objects().len(), 1);
    source.close().await;
}

#[tokio::test]
async fn a_state_folder_serves_one_process() {
    let dir = Dir::with(&[]);
    let source = dir.open().await;
    let options = FolderOptions {
        state_dir: dir.temp.path().join(".busway"),
    };
    let second = FolderSource::open(dir.temp.path(), options)
        .await
        .unwrap_err();
    assert_eq!(second.reason(), "StateInUse");
    source.close().await;
    dir.open().await.close().await;
}

#[tokio::test]
async fn a_status_is_seen_and_a_wrong_one_refused() {
    let dir = Dir::with(&[("orders.yaml", &channel("orders", "main"))]);
    let source = dir.open().await;
    let object = get(&source, "Channel", "orders").unwrap();
    let mut changed = source.changed();
    changed.mark_unchanged();
    let condition = json!({ "type": "Ready", "status": "True", "reason": "Ready", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z" });
    let status = json!({ "conditions": [condition] });
    source
        .apply_status(&key(&object), MANAGER, status.clone())
        .await
        .unwrap();
    assert!(changed.has_changed().unwrap());
    let after = get(&source, "Channel", "orders").unwrap();
    assert_eq!(after["status"], status);
    assert_eq!(after["metadata"]["generation"], 1);

    source
        .apply_status(&key(&object), MANAGER, status)
        .await
        .unwrap();
    let again = get(&source, "Channel", "orders").unwrap();
    assert_eq!(
        again["metadata"]["resourceVersion"], after["metadata"]["resourceVersion"],
        "the same is no change"
    );
    let wrong = source
        .apply_status(&key(&object), MANAGER, json!({ "subscriptions": "many" }))
        .await;
    assert!(matches!(wrong, Err(WriteError::Refused(_))), "{wrong:?}");
    source.close().await;
}

#[tokio::test]
async fn events_are_remembered_up_to_a_bound() {
    let dir = Dir::with(&[("orders.yaml", &channel("orders", "main"))]);
    let source = dir.open().await;
    let regarding = key(&get(&source, "Channel", "orders").unwrap());
    for place in 0..=NOTES {
        let note = Note {
            regarding: regarding.clone(),
            severity: Severity::Normal,
            reason: "Synced".to_owned(),
            action: "Sync",
            message: place.to_string(),
        };
        source.record(note).await;
    }
    let events = source.events();
    assert_eq!(events.len(), NOTES);
    assert_eq!(events[0].note.message, "1");
    source.close().await;
}

#[test]
fn an_editor_that_empties_or_replaces_a_file_deletes_nothing() {
    let dir = Dir::with(&[("orders.yaml", &channel("orders", "main"))]);
    let root = dir.temp.path().to_owned();
    let mut files = Files::new(root.clone(), root.join(".busway"));
    assert!(files.look(Take::AtOnce).is_some());
    assert!(files.look(Take::Settled).is_none());

    dir.remove("orders.yaml");
    assert!(files.look(Take::Settled).is_none(), "not yet");
    dir.write("orders.yaml", "");
    assert!(files.look(Take::Settled).is_none(), "not yet");
    dir.write("orders.yaml", &channel("orders", "main"));
    assert!(files.look(Take::Settled).is_none(), "not yet");
    assert!(files.look(Take::Settled).is_none(), "it says what it said");

    dir.remove("orders.yaml");
    assert!(files.look(Take::Settled).is_none());
    let reading = files.look(Take::Settled).unwrap();
    assert!(reading.files.is_empty(), "gone at two looks: gone");
}

#[tokio::test]
async fn a_config_map_is_read_and_its_change_is_told_though_it_is_no_object_of_ours() {
    let map = |text: &str| {
        format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: cas, namespace: shop}}\ndata: {{ca.crt: {text}}}\n"
        )
    };
    let dir = Dir::with(&[("bus.yaml", BUS), ("cas.yaml", &map("one"))]);
    let source = dir.open().await;
    let read = |namespace: Option<&str>| {
        let map = source.config_map(namespace, "cas")?;
        map.get("ca.crt").cloned()
    };
    assert_eq!(read(Some("shop")).as_deref(), Some("one"));
    assert_eq!(read(None).as_deref(), Some("one"));
    assert_eq!(read(Some("default")), None);
    assert!(source.complaints().is_empty());
    let mut changed = source.changed();
    changed.mark_unchanged();
    dir.write("cas.yaml", &map("two"));
    changed.changed().await.unwrap();
    assert_eq!(read(None).as_deref(), Some("two"));
    // Of two of one name nobody knows which is meant.
    dir.write("other.yaml", &map("three").replace("shop", "mail"));
    wait::until("both are read", SOON, || {
        std::future::ready(match read(None) {
            None => Ok(()),
            Some(text) => Err(text),
        })
    })
    .await
    .unwrap();
    assert_eq!(read(Some("mail")).as_deref(), Some("three"));
    source.close().await;
}
