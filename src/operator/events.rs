//! Events, behind a queue: nobody waits for an API server to take one.

use std::time::Duration;

use busway_api::Reason;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Client,
    runtime::events::{Event, EventType, Recorder, Reporter},
};
use tokio::sync::mpsc;

use super::labels::MANAGER;

/// Events waiting for the API server; what does not fit is dropped, for events are a courtesy.
const QUEUE: usize = 1024;
/// How long one may take: an absent API server must not hold the queue for long.
const PUBLISH_TIMEOUT: Duration = Duration::from_secs(5);
/// What the API server takes of a note, in bytes.
const MAX_NOTE: usize = 1024;
/// What the API server takes of a word, in bytes.
const MAX_WORD: usize = 128;

/// Something worth an Event: what a person has to do something about.
#[derive(Clone, Debug)]
pub(crate) struct Note {
    pub(crate) regarding: ObjectReference,
    /// What else it is about. Events that differ in it are not taken for one that repeats.
    pub(crate) related: Option<ObjectReference>,
    pub(crate) reason: &'static str,
    /// What was done: one word.
    pub(crate) action: &'static str,
    pub(crate) message: String,
}

impl Note {
    /// Something that somebody should know of.
    pub(crate) fn warning(
        regarding: ObjectReference,
        reason: Reason,
        action: &'static str,
        message: impl Into<String>,
    ) -> Self {
        Self {
            regarding,
            related: None,
            reason: reason.as_str(),
            action,
            message: message.into(),
        }
    }
}

/// Where Events go.
#[derive(Clone, Debug)]
pub(crate) struct Events {
    queue: mpsc::Sender<Note>,
}

impl Events {
    /// Starts to publish; ends when the last handle is dropped.
    pub(crate) fn start(client: Client, instance: &str) -> Self {
        let (queue, mut waiting) = mpsc::channel::<Note>(QUEUE);
        let reporter = Reporter {
            controller: MANAGER.to_owned(),
            instance: Some(cut(instance, MAX_WORD).to_owned()),
        };
        let recorder = Recorder::new(client, reporter);
        tokio::spawn(async move {
            while let Some(note) = waiting.recv().await {
                if let Err(error) = publish(&recorder, &note).await {
                    tracing::debug!(reason = note.reason, error, "an event was not recorded");
                }
            }
        });
        Self { queue }
    }

    /// Has one published, soon or never.
    pub(crate) fn record(&self, note: Note) {
        if self.queue.try_send(note).is_err() {
            tracing::debug!("an event was dropped: too many wait");
        }
    }
}

async fn publish(recorder: &Recorder, note: &Note) -> Result<(), String> {
    let event = Event {
        type_: EventType::Warning,
        reason: cut(note.reason, MAX_WORD).to_owned(),
        note: Some(cut(&note.message, MAX_NOTE).to_owned()),
        action: cut(note.action, MAX_WORD).to_owned(),
        secondary: note.related.clone(),
    };
    match tokio::time::timeout(PUBLISH_TIMEOUT, recorder.publish(&event, &note.regarding)).await {
        Ok(done) => done.map_err(|error| error.to_string()),
        Err(_) => Err(format!("no answer within {PUBLISH_TIMEOUT:?}")),
    }
}

fn cut(text: &str, bytes: usize) -> &str {
    let mut end = text.len().min(bytes);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}
