use std::time::Duration;

/// How strictly a mux reads, how its errors look, and its bounds.
///
/// ```
/// use std::time::Duration;
/// use busway_sdk::events::{Mux, Settings, Validation};
///
/// let settings = Settings {
///     validation: Validation::Off,
///     handler_timeout: Duration::from_secs(5),
///     ..Settings::default()
/// };
/// let mux = Mux::builder().settings(settings).build()?;
/// # Ok::<(), busway_sdk::events::MuxError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How strictly an envelope is read.
    pub validation: Validation,
    /// How an error event looks.
    pub error_style: ErrorStyle,
    /// What status a dispatcher of Busway gets.
    pub bus_status: BusStatus,
    /// How long a handler may take, a whole batch too; its future is dropped then. 25 s: less than
    /// the 30 s that a dispatcher waits by default, so that it gets the answer that says so. The
    /// body of a request may take as long to arrive.
    pub handler_timeout: Duration,
    /// The largest body, in bytes. 1 MiB: what a channel takes by default.
    pub max_body: usize,
    /// The `source` of answers that are CloudEvents, a URI-reference of at most 1 KiB; by default
    /// `/busway/events/<subscription>`.
    pub source: Option<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            validation: Validation::Schema,
            error_style: ErrorStyle::Seed,
            bus_status: BusStatus::On,
            handler_timeout: Duration::from_secs(25),
            max_body: 1024 * 1024,
            source: None,
        }
    }
}

/// How strictly an envelope is read. What is in it has its right type either way.
///
/// ```
/// use busway_sdk::events::{Settings, Validation};
///
/// assert_eq!(Settings::default().validation, Validation::Schema);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Validation {
    /// By the schema: nothing that is required is missing or empty.
    #[default]
    Schema,
    /// As Go-Events reads: what is missing is empty.
    Off,
}

/// How an error event looks.
///
/// ```
/// use busway_sdk::events::{Context, ErrorStyle, Event, Mux, Payload, Settings};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let settings = Settings { error_style: ErrorStyle::Typed, ..Settings::default() };
/// let mux = Mux::builder().settings(settings).build()?;
/// let answer = mux.call(Context::new(), Event::new("nobody", 1, Payload::default())).await;
/// assert_eq!(answer.name, "eventNotFound");
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ErrorStyle {
    /// `error` of version 1 with `message`, `reason` and `parameters`, as Go-Events has it.
    #[default]
    Seed,
    /// A name that says what it is, with `code` and `parameters`, as the Kotlin, Python and JS
    /// implementations have it.
    Typed,
}

/// What status a request with the header `busway-subscription` is answered with.
///
/// ```
/// use busway_sdk::events::{BusStatus, Settings};
///
/// let settings = Settings { bus_status: BusStatus::Off, ..Settings::default() };
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BusStatus {
    /// One that a dispatcher acts on, so that failures are retried or dead-lettered.
    #[default]
    On,
    /// 200, as everywhere else.
    Off,
}
