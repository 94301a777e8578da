//! What happened, in the order in which it did.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex},
    time::Duration,
};

use busway_core::outcome::{Cause, Failure, Outcome, Settled};
use busway_dataplane::{Event, Observer, Stage};

use super::shape::{self, Shape};

/// What a dead letter says.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Letter {
    pub(crate) code: u16,
    pub(crate) data: String,
    pub(crate) attempts: u32,
}

/// What the dispatcher was told of one subscription, with the life it is in; nothing where it is
/// deleted.
pub(crate) type Told = Option<(u64, Shape)>;

/// One step; `sub` is a subscription, `life` tells its incarnations apart.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Note {
    /// The sender got 202.
    Accepted { number: u32 },
    /// The bus has it for a subscription.
    Kept { sub: usize, life: u64, number: u32 },
    /// The bus gave it out, with this count.
    Gave {
        sub: usize,
        life: u64,
        number: u32,
        attempts: u32,
    },
    /// A settlement came to its end.
    Done {
        sub: usize,
        life: u64,
        number: u32,
        stored: bool,
    },
    /// A count was to be stored.
    Counted {
        sub: usize,
        number: u32,
        attempts: u32,
    },
    /// A dead letter was stored by the bus.
    Stored {
        sub: usize,
        number: u32,
        cause: Cause,
        letter: Letter,
    },
    /// A host got a request.
    Seen {
        request: u64,
        stage: Stage,
        sub: usize,
        number: u32,
        attempt: u32,
        letter: Option<Letter>,
    },
    /// A host answered it as a whole.
    Answered {
        request: u64,
        stage: Stage,
        sub: usize,
        number: u32,
        attempt: u32,
        status: u16,
    },
    /// A host has nothing to do with it any more.
    Left { request: u64 },
    /// The dispatcher ended an attempt.
    Attempted {
        stage: Stage,
        sub: usize,
        number: u32,
        attempt: u32,
        outcome: Outcome,
        took: Duration,
    },
    /// The dispatcher puts it aside.
    Waiting {
        stage: Stage,
        sub: usize,
        number: u32,
        attempts: u32,
        wait: Duration,
    },
    /// It is to be a dead letter.
    Condemned {
        sub: usize,
        number: u32,
        cause: Cause,
    },
    /// The dispatcher holds it for settled.
    Settled {
        sub: usize,
        number: u32,
        how: Settled,
    },
    /// The dispatcher was given these routes.
    Published { routes: Vec<Told> },
    /// The dispatcher starts.
    Started,
    /// The dispatcher is told to leave, or is crashed.
    Stopping,
    /// It has left, and this many messages were lost.
    Drained { lost: u64 },
    /// A fault fired.
    Fault {
        kind: &'static str,
        sub: Option<usize>,
    },
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Line {
    pub(crate) at: Duration,
    pub(crate) note: Note,
}

/// The one record of a run. Cloning shares it.
#[derive(Clone, Default)]
pub(crate) struct Ledger(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    lines: Vec<Line>,
    numbers: HashMap<String, u32>,
    requests: u64,
}

impl Ledger {
    /// From within a host.
    pub(crate) fn note(&self, note: Note) {
        let at = turmoil::sim_elapsed().unwrap();
        self.note_at(at, note);
    }

    pub(crate) fn note_at(&self, at: Duration, note: Note) {
        self.0.lock().unwrap().lines.push(Line { at, note });
    }

    /// From where a host has no clock: while it is torn down.
    pub(crate) fn note_untimed(&self, note: Note) {
        let mut inner = self.0.lock().unwrap();
        let at = inner.lines.last().map_or(Duration::ZERO, |line| line.at);
        inner.lines.push(Line { at, note });
    }

    pub(crate) fn fault(&self, kind: &'static str, sub: Option<usize>) {
        self.note(Note::Fault { kind, sub });
    }

    /// A new number for a request.
    pub(crate) fn request(&self) -> u64 {
        let mut inner = self.0.lock().unwrap();
        inner.requests += 1;
        inner.requests
    }

    /// The bus has stored a message with this id.
    pub(crate) fn name(&self, id: &str, number: u32) {
        self.0.lock().unwrap().numbers.insert(id.to_owned(), number);
    }

    fn number(&self, id: &str) -> u32 {
        self.0.lock().unwrap().numbers[id]
    }

    pub(crate) fn take(&self) -> Vec<Line> {
        std::mem::take(&mut self.0.lock().unwrap().lines)
    }
}

impl Observer for Ledger {
    fn observe(&self, event: &Event<'_>) {
        let note = match *event {
            Event::Attempted {
                id,
                subscription,
                stage,
                attempt,
                outcome,
                took,
                ..
            } => Note::Attempted {
                stage,
                sub: shape::index(subscription),
                number: self.number(id),
                attempt,
                outcome,
                took,
            },
            Event::Waiting {
                id,
                subscription,
                stage,
                attempts,
                wait,
            } => Note::Waiting {
                stage,
                sub: shape::index(subscription),
                number: self.number(id),
                attempts,
                wait,
            },
            Event::DeadLetter {
                id,
                subscription,
                cause,
            } => Note::Condemned {
                sub: shape::index(subscription),
                number: self.number(id),
                cause,
            },
            Event::Settled {
                id,
                subscription,
                how,
            } => Note::Settled {
                sub: shape::index(subscription),
                number: self.number(id),
                how,
            },
            _ => return,
        };
        self.note(note);
    }
}

/// How often each kind of fault fired.
pub(crate) type Fired = BTreeMap<&'static str, u64>;

pub(crate) fn fired(lines: &[Line]) -> Fired {
    let mut fired = Fired::new();
    for line in lines {
        let kind = match line.note {
            Note::Fault { kind, .. } => kind,
            Note::Attempted {
                outcome: Outcome::Failed(Failure::Timeout),
                ..
            } => "attempt timed out",
            Note::Attempted {
                outcome: Outcome::Failed(Failure::Reset),
                ..
            } => "attempt reset",
            _ => continue,
        };
        *fired.entry(kind).or_default() += 1;
    }
    fired
}
