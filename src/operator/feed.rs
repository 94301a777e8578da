//! A watch, of one or several namespaces, kept as one store; tells what changed.
//!
//! What cannot be decoded stops nobody: what can be salvaged of it goes on, else its last good form; an object that has
//! neither is left out.

mod guard;

use std::{
    collections::HashSet,
    fmt::Debug,
    hash::Hash,
    time::{Duration, Instant},
};

use futures::{StreamExt as _, stream};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{
    Api, Resource,
    runtime::{
        WatchStreamExt as _,
        reflector::{ObjectRef, Store, store::Writer},
        watcher::{self, Event},
    },
};
use serde::de::DeserializeOwned;

pub(crate) use guard::{Guarded, Unread};

/// Objects a page of the first list: client-go's.
const PAGE_SIZE: u32 = 500;
/// Seconds until a watch is asked for anew: one whose connection died unnoticed is given up 5 s later, as client-go does.
const WATCH_SECONDS: u32 = 40;

/// A list that is refused for so long counts as empty: the API server needs seconds to learn of a new role.
const REFUSED_FOR: Duration = Duration::from_secs(10);

/// What became of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// It is there.
    There,
    /// It is gone; this was its last form.
    Gone,
}

/// Told of every change, after the store has it: what became of the object, its form, and its form before.
pub(crate) type Tell<K> = Box<dyn Fn(Seen, &K, Option<&K>) + Send>;
/// Told of an object that cannot be decoded.
pub(crate) type Complain = Box<dyn Fn(&ObjectMeta, &str) + Send>;

/// In which form objects are kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Keep<K> {
    /// Leaves out what is not needed.
    pub(crate) trim: fn(&mut K),
    /// What is kept of an object that cannot be decoded, if anything.
    pub(crate) salvage: fn(&Unread) -> Option<K>,
}

impl<K> Keep<K> {
    /// All of it, and nothing of what cannot be decoded.
    pub(crate) const fn whole() -> Self {
        Self {
            trim: |_| (),
            salvage: |_| None,
        }
    }
}

/// Namespace and name.
type Key = (String, String);

/// A watch that is kept as a store.
pub(crate) struct Feed<K>
where
    K: Resource + Clone + 'static,
    K::DynamicType: Eq + Hash + Clone,
{
    writer: Writer<K>,
    kind: K::DynamicType,
    keep: Keep<K>,
    parts: Vec<Part<K>>,
    tell: Tell<K>,
    complain: Complain,
    /// Until every part was listed once, the store is empty and not ready.
    complete: bool,
}

/// One watch of several.
struct Part<K> {
    listing: Vec<K>,
    known: HashSet<Key>,
    listed: bool,
    /// Since when its list is refused.
    refused: Option<Instant>,
}

impl<K> Feed<K>
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
    K::DynamicType: Eq + Hash + Clone + Debug + Send + Sync + Unpin,
{
    /// A feed that keeps objects as told.
    pub(crate) fn new(
        kind: K::DynamicType,
        keep: Keep<K>,
        tell: Tell<K>,
        complain: Complain,
    ) -> Self {
        Self {
            writer: Writer::new(kind.clone()),
            kind,
            keep,
            parts: Vec::new(),
            tell,
            complain,
            complete: false,
        }
    }

    /// Where the objects can be read.
    pub(crate) fn store(&self) -> Store<K> {
        self.writer.as_reader()
    }

    /// Watches until it is dropped. Without an API the store is empty and ready.
    pub(crate) async fn run(mut self, apis: Vec<Api<Guarded<K>>>, config: watcher::Config) {
        let part = |_: &_| Part {
            listing: Vec::new(),
            known: HashSet::new(),
            listed: false,
            refused: None,
        };
        self.parts = apis.iter().map(part).collect();
        let watches = apis.into_iter().enumerate().map(|(part, api)| {
            let config = config.clone().page_size(PAGE_SIZE).timeout(WATCH_SECONDS);
            watcher::watcher(api, config)
                .default_backoff()
                .map(move |event| (part, event))
                .boxed()
        });
        let mut events = stream::select_all(watches);
        if self.parts.is_empty() {
            self.complete();
            // The store stays as long as its writer does.
            return std::future::pending().await;
        }
        while let Some((part, event)) = events.next().await {
            match event {
                Ok(event) => self.take(part, event),
                Err(error) => {
                    let kind = K::kind(&self.kind);
                    tracing::warn!(%kind, %error, "a watch failed and is tried again");
                    if is_refused(&error) {
                        self.refused(part, Instant::now());
                    }
                }
            }
        }
    }

    fn take(&mut self, part: usize, event: Event<Guarded<K>>) {
        match event {
            Event::Init => self.part(part, |part| part.listing.clear()),
            Event::InitApply(object) => {
                if let Some(object) = self.decoded(object) {
                    self.part(part, |part| part.listing.push(object));
                }
            }
            Event::InitDone => self.listed(part),
            Event::Apply(object) => {
                if let Some(object) = self.decoded(object) {
                    let key = key(object.meta());
                    self.part(part, |part| {
                        part.known.insert(key);
                    });
                    self.there(object);
                }
            }
            Event::Delete(object) => {
                let key = key(object.meta());
                self.part(part, |part| {
                    part.known.remove(&key);
                });
                self.gone(&key);
            }
        }
    }

    /// What can be salvaged, else its last good form, where it is undecodable.
    fn decoded(&self, object: Guarded<K>) -> Option<K> {
        match object {
            Guarded::Read(mut object) => {
                object.meta_mut().managed_fields = None;
                (self.keep.trim)(&mut object);
                Some(object)
            }
            Guarded::Unread(unread) => {
                (self.complain)(&unread.metadata, &unread.error);
                (self.keep.salvage)(&unread).or_else(|| {
                    self.stored(&key(&unread.metadata))
                        .map(|last| K::clone(&last))
                })
            }
        }
    }

    /// Its list may not be had, where others' may: with a namespace its rights went. What is in the others is not kept
    /// waiting for it; should it come back, it is listed then.
    fn refused(&mut self, part: usize, now: Instant) {
        let mut given_up = false;
        self.part(part, |part| {
            let since = *part.refused.get_or_insert(now);
            part.listing.clear();
            given_up = !part.listed && now.saturating_duration_since(since) >= REFUSED_FOR;
        });
        if given_up && self.parts.len() > 1 {
            let kind = K::kind(&self.kind);
            tracing::warn!(%kind, "works without a namespace whose objects may not be listed");
            self.listed(part);
        }
    }

    fn listed(&mut self, part: usize) {
        self.part(part, |part| part.listed = true);
        if !self.complete {
            if self.parts.iter().all(|part| part.listed) {
                self.complete();
            }
            return;
        }
        let Some(part) = self.parts.get_mut(part) else {
            return;
        };
        let listing = std::mem::take(&mut part.listing);
        let now: HashSet<Key> = listing.iter().map(|object| key(object.meta())).collect();
        let before = std::mem::replace(&mut part.known, now.clone());
        for gone in before.difference(&now) {
            self.gone(gone);
        }
        for object in listing {
            let version = |object: &K| object.meta().resource_version.clone();
            let same = self
                .stored(&key(object.meta()))
                .is_some_and(|stored| version(&stored) == version(&object));
            if !same {
                self.there(object);
            }
        }
    }

    /// The first lists of all parts are there.
    fn complete(&mut self) {
        self.complete = true;
        self.writer.apply_watcher_event(&Event::Init);
        let mut all = Vec::new();
        for part in &mut self.parts {
            let listing = std::mem::take(&mut part.listing);
            part.known = listing.iter().map(|object| key(object.meta())).collect();
            all.extend(listing);
        }
        for object in &all {
            self.writer
                .apply_watcher_event(&Event::InitApply(object.clone()));
        }
        self.writer.apply_watcher_event(&Event::InitDone);
        for object in &all {
            (self.tell)(Seen::There, object, None);
        }
    }

    fn there(&mut self, object: K) {
        let before = self.stored(&key(object.meta()));
        let event = Event::Apply(object);
        self.writer.apply_watcher_event(&event);
        if let Event::Apply(object) = &event {
            (self.tell)(Seen::There, object, before.as_deref());
        }
    }

    fn gone(&mut self, key: &Key) {
        if let Some(last) = self.stored(key) {
            let event = Event::Delete(K::clone(&last));
            self.writer.apply_watcher_event(&event);
            (self.tell)(Seen::Gone, &last, None);
        }
    }

    fn stored(&self, (namespace, name): &Key) -> Option<std::sync::Arc<K>> {
        let mut reference = ObjectRef::new_with(name, self.kind.clone());
        if !namespace.is_empty() {
            reference = reference.within(namespace);
        }
        self.store().get(&reference)
    }

    fn part(&mut self, part: usize, change: impl FnOnce(&mut Part<K>)) {
        if let Some(part) = self.parts.get_mut(part) {
            change(part);
        }
    }
}

/// Not allowed, or not there.
fn is_refused(error: &watcher::Error) -> bool {
    match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status)) => {
            matches!(status.code, 403 | 404)
        }
        watcher::Error::WatchError(status) => matches!(status.code, 403 | 404),
        watcher::Error::InitialListFailed(_)
        | watcher::Error::WatchStartFailed(_)
        | watcher::Error::WatchFailed(_)
        | watcher::Error::NoResourceVersion => false,
    }
}

fn key(metadata: &ObjectMeta) -> Key {
    (
        metadata.namespace.clone().unwrap_or_default(),
        metadata.name.clone().unwrap_or_default(),
    )
}

#[cfg(test)]
#[path = "feed/tests.rs"]
mod tests;
