//! Events, behind a queue: nobody waits for an API server to take one.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Client,
    runtime::events::{Event, EventType, Recorder, Reporter},
};
use tokio::{sync::mpsc, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::source::{Note, Severity};

/// Events waiting for the API server. A burst of a failing bus with a thousand channels fits; the rest is dropped and
/// counted, for events are a courtesy.
const QUEUE: usize = 1024;
/// How long one event may take: an absent API server must not hold the queue for long.
const PUBLISH_TIMEOUT: Duration = Duration::from_secs(5);
/// What the API server takes of a note, in bytes.
const MAX_NOTE: usize = 1024;
/// What the API server takes of a reason or an action, in bytes.
const MAX_WORD: usize = 128;

#[derive(Debug)]
pub(super) struct Notes {
    queue: mpsc::Sender<Note>,
    dropped: Arc<AtomicU64>,
}

impl Notes {
    pub(super) fn start(
        client: Client,
        component: &str,
        instance: &str,
        shutdown: CancellationToken,
    ) -> (Self, JoinHandle<()>) {
        let (queue, waiting) = mpsc::channel(QUEUE);
        let dropped = Arc::new(AtomicU64::new(0));
        let reporter = Reporter {
            controller: component.to_owned(),
            instance: Some(cut(instance, MAX_WORD).to_owned()),
        };
        let recorder = Recorder::new(client, reporter);
        let task = tokio::spawn(publish_all(recorder, waiting, dropped.clone(), shutdown));
        (Self { queue, dropped }, task)
    }

    pub(super) fn push(&self, note: Note) {
        if self.queue.try_send(note).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

async fn publish_all(
    recorder: Recorder,
    mut waiting: mpsc::Receiver<Note>,
    dropped: Arc<AtomicU64>,
    shutdown: CancellationToken,
) {
    let work = async {
        while let Some(note) = waiting.recv().await {
            if let Err(error) = publish(&recorder, &note).await {
                dropped.fetch_add(1, Ordering::Relaxed);
                tracing::debug!(regarding = %note.regarding, reason = note.reason, error, "an event was not recorded");
            }
        }
    };
    // What still waits at the end is not worth a slower shutdown.
    shutdown.run_until_cancelled(work).await;
}

async fn publish(recorder: &Recorder, note: &Note) -> Result<(), String> {
    let (event, reference) = (event(note), reference(note));
    match tokio::time::timeout(PUBLISH_TIMEOUT, recorder.publish(&event, &reference)).await {
        Ok(done) => done.map_err(|error| error.to_string()),
        Err(_) => Err(format!("no answer within {PUBLISH_TIMEOUT:?}")),
    }
}

fn event(note: &Note) -> Event {
    Event {
        type_: match note.severity {
            Severity::Normal => EventType::Normal,
            Severity::Warning => EventType::Warning,
        },
        reason: cut(&note.reason, MAX_WORD).to_owned(),
        note: Some(cut(&note.message, MAX_NOTE).to_owned()),
        action: cut(note.action, MAX_WORD).to_owned(),
        secondary: None,
    }
}

/// The recorder puts events of what has no namespace into `default`.
fn reference(note: &Note) -> ObjectReference {
    ObjectReference {
        api_version: Some(busway_api::API_VERSION.to_owned()),
        kind: Some(format!("{:?}", note.regarding.kind)),
        namespace: note.regarding.namespace.clone(),
        name: Some(note.regarding.name.clone()),
        uid: Some(note.regarding.uid.clone()),
        ..ObjectReference::default()
    }
}

fn cut(text: &str, bytes: usize) -> &str {
    let mut end = text.len().min(bytes);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_note_is_cut_between_characters() {
        let long = "ü".repeat(MAX_NOTE);
        assert_eq!(cut(&long, MAX_NOTE - 1).len(), MAX_NOTE - 2);
        assert_eq!(cut("short", MAX_NOTE), "short");
    }
}
