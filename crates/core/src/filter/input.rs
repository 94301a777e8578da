use std::{borrow::Cow, cell::Cell};

use busway_message::{AttributeName, Attributes, Message};

use super::Failure;

/// Bytes of text that the filters of one subscription look at for one message: a millisecond's
/// work at the most, and a thousand times what attributes of the usual length need.
pub const MAX_WORK: usize = 1024 * 1024;

/// One message, as the filters of one subscription see it.
pub(super) struct Input<'a> {
    attributes: Attributes<'a>,
    work: Work,
}

/// How much may still be looked at.
pub(super) struct Work(Cell<usize>);

impl<'a> Input<'a> {
    pub(super) fn of(message: &'a Message) -> Self {
        Self {
            attributes: Attributes::of(message),
            work: Work::default(),
        }
    }

    /// The canonical string of an attribute; nothing when it is not set.
    pub(super) fn attribute(&self, name: &AttributeName) -> Result<Option<Cow<'a, str>>, Failure> {
        // Before it is read, which takes time too.
        self.work.spend(1)?;
        let value = self.attributes.get(name);
        self.work
            .spend(value.as_ref().map_or(0, |text| text.len()))?;
        Ok(value)
    }

    pub(super) const fn work(&self) -> &Work {
        &self.work
    }
}

impl Work {
    pub(super) fn spend(&self, bytes: usize) -> Result<(), Failure> {
        let left = self.0.get().checked_sub(bytes);
        // Once it is spent, nothing else is done either.
        self.0.set(left.unwrap_or(0));
        left.map(|_| ()).ok_or(Failure::TooCostly)
    }

    pub(super) const fn is_spent(&self) -> bool {
        self.0.get() == 0
    }
}

impl Default for Work {
    fn default() -> Self {
        Self(Cell::new(MAX_WORK))
    }
}
