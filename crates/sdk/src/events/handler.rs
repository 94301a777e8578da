use futures::future::BoxFuture;

use super::{Context, Event, EventDoc, HandlerError};

/// What takes an event and answers.
///
/// Any async function of a context and an event is one, with any error:
///
/// ```
/// use busway_sdk::events::{Context, Event, Mux, PayloadError, new_response};
///
/// async fn double(_: Context, event: Event) -> Result<Event, PayloadError> {
///     let number: i64 = event.payload.get()?;
///     new_response(&event, &number.saturating_mul(2))
/// }
///
/// let mux = Mux::builder().add("double", 1, double).build()?;
/// # Ok::<(), busway_sdk::events::MuxError>(())
/// ```
///
/// A type of yours is one too, and may say what it is for:
///
/// ```
/// use busway_sdk::events::{Context, Event, EventDoc, Handler, HandlerError, new_response};
///
/// struct Greeter { greeting: String }
///
/// impl Handler for Greeter {
///     async fn serve(&self, _: Context, event: Event) -> Result<Event, HandlerError> {
///         let name: String = event.payload.get()?;
///         Ok(new_response(&event, &format!("{}, {name}", self.greeting))?)
///     }
/// }
/// ```
pub trait Handler: Send + Sync + 'static {
    /// Answers. What comes with `Ok` is the answer, whatever its name.
    ///
    /// The future is dropped when the time is over or the caller went away; a panic in it is an
    /// error of this event and of no other.
    fn serve(
        &self,
        context: Context,
        event: Event,
    ) -> impl Future<Output = Result<Event, HandlerError>> + Send;

    /// What the documentation page says of it.
    fn doc(&self) -> Option<&dyn EventDoc> {
        None
    }
}

impl<F, R, E> Handler for F
where
    F: Fn(Context, Event) -> R + Send + Sync + 'static,
    R: Future<Output = Result<Event, E>> + Send,
    E: Into<HandlerError>,
{
    async fn serve(&self, context: Context, event: Event) -> Result<Event, HandlerError> {
        self(context, event).await.map_err(Into::into)
    }
}

/// A handler whose type is forgotten.
pub(super) trait AnyHandler: Send + Sync {
    fn serve(&self, context: Context, event: Event) -> BoxFuture<'_, Result<Event, HandlerError>>;

    fn doc(&self) -> Option<&dyn EventDoc>;
}

impl<H: Handler> AnyHandler for H {
    fn serve(&self, context: Context, event: Event) -> BoxFuture<'_, Result<Event, HandlerError>> {
        Box::pin(Handler::serve(self, context, event))
    }

    fn doc(&self) -> Option<&dyn EventDoc> {
        Handler::doc(self)
    }
}
