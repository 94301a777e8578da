//! What a person at a terminal sees of messages: a line per step.

use std::{
    fmt::Write as _,
    io::{IsTerminal as _, Write as _},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{SyncSender, TrySendError, sync_channel},
    },
    thread,
    time::Duration,
};

use busway_core::outcome::{Outcome, Settled};
use busway_dataplane::{Event, Observer, Stage};

/// Lines that wait to be printed; more are left out, and counted, rather than slow messages down.
const WAITING_LINES: usize = 4096;

/// Prints lines from a thread of its own. Cloning shares it.
#[derive(Clone)]
pub(crate) struct Terminal {
    lines: SyncSender<Line>,
    left_out: Arc<AtomicU64>,
    colour: bool,
}

enum Line {
    Text(String),
    /// Print what came before, then answer.
    Flush(SyncSender<()>),
}

impl Terminal {
    pub(crate) fn start() -> std::io::Result<Self> {
        let (lines, waiting) = sync_channel::<Line>(WAITING_LINES);
        let left_out = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&left_out);
        thread::Builder::new()
            .name("busway-terminal".to_owned())
            .spawn(move || {
                while let Ok(line) = waiting.recv() {
                    let mut out = std::io::stdout().lock();
                    let missed = counted.swap(0, Ordering::Relaxed);
                    if missed > 0 {
                        // A closed pipe is the reader's choice; serving goes on.
                        let _ = writeln!(
                            out,
                            "… {missed} lines left out: more came than the terminal takes"
                        );
                    }
                    match line {
                        Line::Text(text) => {
                            let _ = writeln!(out, "{text}");
                        }
                        Line::Flush(done) => {
                            let _ = out.flush();
                            let _ = done.try_send(());
                        }
                    }
                }
            })?;
        Ok(Self {
            lines,
            left_out,
            colour: std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none(),
        })
    }

    /// Prints a line, or several.
    pub(crate) fn print(&self, text: String) {
        if let Err(TrySendError::Full(_)) = self.lines.try_send(Line::Text(text)) {
            self.left_out.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Waits until everything was printed, for a second at most.
    pub(crate) fn flush(&self) {
        let (done, printed) = sync_channel(1);
        if self.lines.try_send(Line::Flush(done)).is_ok() {
            let _ = printed.recv_timeout(Duration::from_secs(1));
        }
    }

    /// Who is told of each step of each message.
    pub(crate) fn observer(&self) -> Arc<dyn Observer> {
        Arc::new(Steps(self.clone()))
    }

    fn paint(&self, colour: Colour, text: &str) -> String {
        if self.colour {
            format!("\x1b[{}m{text}\x1b[0m", colour as u8)
        } else {
            text.to_owned()
        }
    }
}

#[derive(Clone, Copy)]
enum Colour {
    Red = 31,
    Green = 32,
    Yellow = 33,
    Dim = 2,
}

struct Steps(Terminal);

impl Observer for Steps {
    fn observe(&self, event: &Event<'_>) {
        if let Some((who, colour, what)) = told(event) {
            let id = event_id(event).map(short).unwrap_or_default();
            let line = format!("{id:>8}  {who:<22} {}", self.0.paint(colour, &what));
            self.0.print(line);
        }
    }
}

/// The end of a message's id: its start is the time, alike for all that came together.
pub(crate) fn short(id: &str) -> &str {
    id.get(id.len().saturating_sub(8)..).unwrap_or(id)
}

fn event_id<'a>(event: &Event<'a>) -> Option<&'a str> {
    match event {
        Event::Accepted { id, .. }
        | Event::Attempted { id, .. }
        | Event::Waiting { id, .. }
        | Event::DeadLetter { id, .. }
        | Event::Settled { id, .. } => Some(id),
        _ => None,
    }
}

/// Whom it is about, in which colour, and what happened.
fn told(event: &Event<'_>) -> Option<(String, Colour, String)> {
    Some(match event {
        Event::Accepted { channel, bytes, .. } => (
            format!("channel {channel}"),
            Colour::Dim,
            format!("accepted, {bytes} bytes"),
        ),
        Event::Refused { channel, problem } => (
            channel.map_or_else(
                || "receiver".to_owned(),
                |channel| format!("channel {channel}"),
            ),
            Colour::Red,
            format!("refused: {problem}"),
        ),
        Event::Attempted {
            subscription,
            stage,
            attempt,
            destination,
            outcome,
            took,
            ..
        } => {
            let mut what = String::new();
            match stage {
                Stage::Subscriber => {}
                Stage::Reply => what.push_str("reply, "),
                Stage::DeadLetter => what.push_str("dead letter, "),
            }
            let _ = write!(
                what,
                "attempt {attempt} → {destination}: {outcome} in {}",
                spoken(*took)
            );
            let colour = match outcome {
                Outcome::Status(200..=299) => Colour::Green,
                _ => Colour::Yellow,
            };
            (subscription.to_string(), colour, what)
        }
        Event::Waiting {
            subscription, wait, ..
        } => (
            subscription.to_string(),
            Colour::Dim,
            format!("retry in {}", spoken(*wait)),
        ),
        Event::DeadLetter {
            subscription,
            cause,
            ..
        } => (
            subscription.to_string(),
            Colour::Yellow,
            format!("goes to the dead letter: {}", cause.reason()),
        ),
        Event::Settled {
            subscription, how, ..
        } => {
            let colour = match how {
                Settled::Delivered | Settled::Filtered => Colour::Green,
                Settled::DeadLettered(_) | Settled::Purged | Settled::Discarded => Colour::Yellow,
                Settled::Dropped(_) => Colour::Red,
            };
            (
                subscription.to_string(),
                colour,
                format!("settled: {}", ended(*how)),
            )
        }
        _ => return None,
    })
}

/// How a message ended, in words.
pub(crate) fn ended(how: Settled) -> String {
    match how {
        Settled::DeadLettered(cause) | Settled::Dropped(cause) => {
            format!("{} ({})", how.reason(), cause.reason())
        }
        _ => how.reason().to_owned(),
    }
}

fn spoken(duration: Duration) -> String {
    if duration < Duration::from_millis(10) {
        format!("{:.1} ms", duration.as_secs_f64() * 1e3)
    } else if duration < Duration::from_secs(1) {
        format!("{} ms", duration.as_millis())
    } else {
        format!("{:.1} s", duration.as_secs_f64())
    }
}
