use std::borrow::Cow;

use crate::Message;

/// The attributes of one message, read once and asked often.
#[derive(Debug)]
pub struct Attributes<'a> {
    message: &'a Message,
}

impl<'a> Attributes<'a> {
    /// Of a message of any kind.
    #[must_use]
    pub fn of(message: &'a Message) -> Self {
        Self { message }
    }

    /// The canonical string of one attribute.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Cow<'a, str>> {
        self.message.header(name).map(Cow::Borrowed)
    }
}

/// The canonical string of one attribute; use [`Attributes`] to ask for several.
#[must_use]
pub fn attribute<'a>(message: &'a Message, name: &str) -> Option<Cow<'a, str>> {
    Attributes::of(message).get(name)
}
