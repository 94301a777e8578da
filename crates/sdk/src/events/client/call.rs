use http::{HeaderValue, header};
use tokio::time::{Instant, sleep};

use super::{
    Client, NoAnswer, Outcome,
    send::Pauses,
    transport::{Failed, url},
};
use crate::events::{Event, envelope};

impl Client {
    /// Calls another service: POSTs an envelope to its endpoint and reads the answer.
    ///
    /// Repeated, if the settings say so, only when no connection was made: never after bytes were
    /// sent, because they may have done something.
    ///
    /// ```no_run
    /// use busway_sdk::events::{Client, Event, Outcome, Payload};
    ///
    /// # async fn doc() -> Result<(), Box<dyn std::error::Error>> {
    /// let event = Event::new("order:price", 1, Payload::of(&serde_json::json!({"item": "book"}))?);
    /// match Client::default().call("http://prices.shop/events", &event).await {
    ///     Outcome::Success(answer) => println!("{}", answer.payload.get::<serde_json::Value>()?),
    ///     other => println!("{other:?}"),
    /// }
    /// # Ok(()) }
    /// ```
    pub async fn call(&self, endpoint: &str, event: &Event) -> Outcome {
        let context = self.context();
        let event = Self::in_flow(event, context.as_ref());
        let to = match url(endpoint) {
            Ok(to) => to,
            Err(failed) => return failed.into(),
        };
        let body = match envelope::write(&event) {
            Ok(body) => body.freeze(),
            Err(error) => return Outcome::FailedDependency(NoAnswer::Event(error.into())),
        };
        let mut headers = Self::correlation(context.as_ref());
        let json = const { HeaderValue::from_static("application/json") };
        headers.insert(header::CONTENT_TYPE, json);
        let deadline = self.deadline(context.as_ref());
        let mut pauses = Pauses::new(self.settings.retries);
        loop {
            let posted = self
                .transport
                .post(&to, headers.clone(), body.clone(), deadline);
            let failed = match posted.await {
                Ok(answer) => match self.transport.whole(answer.body, deadline).await {
                    Ok(body) => return Outcome::of(answer.status, &body),
                    Err(failed) => failed,
                },
                Err(failed) => failed,
            };
            let pause = match failed {
                Failed::Connect(_) => pauses.next(None),
                _ => None,
            };
            match pause {
                Some(pause) if Instant::now() + pause < deadline => sleep(pause).await,
                _ => return failed.into(),
            }
        }
    }
}

impl From<Failed> for Outcome {
    fn from(failed: Failed) -> Self {
        Self::FailedDependency(match failed {
            Failed::TimedOut => return Self::Timeout,
            Failed::Url(what) => NoAnswer::Url(what),
            Failed::Connect(error) => NoAnswer::Connect(error),
            Failed::Broken(error) => NoAnswer::Broken(error),
            Failed::TooLarge => NoAnswer::TooLarge,
        })
    }
}
