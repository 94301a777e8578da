use std::{fmt, marker::PhantomData};

use schemars::JsonSchema;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::{
    Context, Event, EventDoc, Handler, HandlerError, Schema, docs::schema_of, new_response,
};

/// A handler made of a function from your type to your type; see [`typed`].
///
/// ```
/// use busway_sdk::events::{Context, Handler, HandlerError, typed};
///
/// async fn length(_: Context, text: String) -> Result<usize, HandlerError> {
///     Ok(text.len())
/// }
///
/// assert!(typed(length).doc().is_none());
/// let documented = typed(length).documented("How long it is.", &"abc".into(), &3);
/// assert_eq!(documented.doc().unwrap().doc(), "How long it is.");
/// ```
pub struct Typed<F, In, Out> {
    function: F,
    doc: Option<TypedDoc<In, Out>>,
}

/// What [`Typed::documented`] was told.
struct TypedDoc<In, Out> {
    text: String,
    example: (Value, Value),
    types: PhantomData<fn(In) -> Out>,
}

/// Makes a handler of an async function from your type to your type.
///
/// The payload is read as the one, and the answer is the [`new_response`] with the other. A payload
/// that cannot be read is an error that says why, and is not retried.
///
/// ```
/// use busway_sdk::events::{Context, Event, HandlerError, Mux, Payload, typed};
///
/// async fn double(_: Context, number: i64) -> Result<i64, HandlerError> {
///     number.checked_mul(2).ok_or_else(|| HandlerError::message("too large").no_retry())
/// }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let double = typed(double).documented("Twice the number.", &21, &42);
/// let mux = Mux::builder().add("double", 1, double).build()?;
/// let answer = mux.call(Context::new(), Event::new("double", 1, Payload::of(&21)?)).await;
/// assert_eq!((answer.name.as_str(), answer.payload.get::<i64>()?), ("double:response", 42));
/// let answer = mux.call(Context::new(), Event::new("double", 1, Payload::of("no")?)).await;
/// assert_eq!(answer.name, "error");
/// # Ok(()) }
/// ```
pub fn typed<F, In, Out, R, E>(function: F) -> Typed<F, In, Out>
where
    F: Fn(Context, In) -> R + Send + Sync + 'static,
    R: Future<Output = Result<Out, E>> + Send,
    E: Into<HandlerError>,
    In: DeserializeOwned,
    Out: Serialize,
{
    Typed {
        function,
        doc: None,
    }
}

impl<F, In: Serialize, Out: Serialize> Typed<F, In, Out> {
    /// With a text and an example for the documentation page, which also shows the types' schemas.
    ///
    /// An example without a JSON is shown as `null`.
    #[must_use]
    pub fn documented(mut self, text: impl Into<String>, input: &In, output: &Out) -> Self {
        let example = (
            serde_json::to_value(input).unwrap_or_default(),
            serde_json::to_value(output).unwrap_or_default(),
        );
        self.doc = Some(TypedDoc {
            text: text.into(),
            example,
            types: PhantomData,
        });
        self
    }
}

impl<F, In, Out, R, E> Handler for Typed<F, In, Out>
where
    F: Fn(Context, In) -> R + Send + Sync + 'static,
    R: Future<Output = Result<Out, E>> + Send,
    E: Into<HandlerError>,
    In: DeserializeOwned + JsonSchema + Send + 'static,
    Out: Serialize + JsonSchema + Send + 'static,
{
    async fn serve(&self, context: Context, event: Event) -> Result<Event, HandlerError> {
        let input = event.payload.get()?;
        let output = (self.function)(context, input).await.map_err(Into::into)?;
        Ok(new_response(&event, &output)?)
    }

    fn doc(&self) -> Option<&dyn EventDoc> {
        self.doc.as_ref().map(|doc| doc as &dyn EventDoc)
    }
}

impl<In: JsonSchema, Out: JsonSchema> EventDoc for TypedDoc<In, Out> {
    fn example(&self) -> (Value, Value) {
        self.example.clone()
    }

    fn input(&self) -> Schema {
        schema_of::<In>()
    }

    fn output(&self) -> Schema {
        schema_of::<Out>()
    }

    fn doc(&self) -> String {
        self.text.clone()
    }
}

impl<F, In, Out> fmt::Debug for Typed<F, In, Out> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Typed").finish_non_exhaustive()
    }
}
