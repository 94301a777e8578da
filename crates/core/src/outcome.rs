//! What an attempt's answer means. Pure; when the next attempt comes is [`crate::pacing`]'s.

use std::fmt;

use crate::egress::Forbidden;

/// How one attempt over HTTP ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The subscriber answered with this status.
    Status(u16),
    /// There was no whole answer.
    Failed(Failure),
}

/// Why there was no whole answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Failure {
    /// The name could not be looked up.
    Dns,
    /// No connection could be made, within the connect timeout.
    Connect,
    /// The TLS handshake failed.
    Tls,
    /// The whole attempt took longer than its timeout.
    Timeout,
    /// The bus does not let it be dialled.
    Forbidden(Forbidden),
    /// The connection broke, or what came over it was not HTTP.
    Reset,
}

impl Failure {
    /// The stable short name, as in `knativeerrordata`.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Dns => "DnsError",
            Self::Connect => "ConnectError",
            Self::Tls => "TlsError",
            Self::Timeout => "Timeout",
            Self::Forbidden(_) => "EgressRefused",
            Self::Reset => "ConnectionReset",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => write!(f, "{status}"),
            // The way out is for people to read: nothing of the destination is in it.
            Self::Failed(failure @ Failure::Forbidden(rule)) => write!(
                f,
                "{}: not dialled: {rule}; spec.egress.allow of the bus opens addresses",
                failure.reason()
            ),
            Self::Failed(failure) => f.write_str(failure.reason()),
        }
    }
}

/// What to do with the message after an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// Delivered (the reply rules come next).
    Delivered,
    /// Try again, if the policy has attempts left.
    Retry,
    /// No other try can help: the dead letter.
    Reject,
    /// The subscriber is gone for good (410): the dead letter, and a condition.
    Gone,
}

/// What a status rule makes of a status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuleAction {
    /// As [`Verdict::Retry`].
    Retry,
    /// As [`Verdict::Reject`].
    Reject,
    /// As [`Verdict::Delivered`].
    Accept,
}

/// One of `delivery.statusRules`: a status or a class of statuses, and what it means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatusRule {
    low: u16,
    high: u16,
    action: RuleAction,
}

/// Why a text is not a status pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a status like `418` or a class like `4xx`")]
pub struct InvalidStatus(String);

impl StatusRule {
    /// A rule for `418` or `4xx` (case does not matter), 100 to 599.
    ///
    /// # Errors
    /// On any other form.
    pub fn new(status: &str, action: RuleAction) -> Result<Self, InvalidStatus> {
        let (low, high) = match status.as_bytes() {
            [d @ b'1'..=b'5', b'x' | b'X', b'x' | b'X'] => {
                let class = u16::from(d - b'0') * 100;
                (class, class + 99)
            }
            [b'1'..=b'5', b'0'..=b'9', b'0'..=b'9'] => {
                let exact = status
                    .parse()
                    .map_err(|_| InvalidStatus(status.to_owned()))?;
                (exact, exact)
            }
            _ => return Err(InvalidStatus(status.to_owned())),
        };
        Ok(Self { low, high, action })
    }
}

/// Classifies an attempt: the first rule that matches the status, else the built-in table.
/// (Source: the delivery specification, §3.)
#[must_use]
pub fn classify(outcome: Outcome, rules: &[StatusRule]) -> Verdict {
    let status = match outcome {
        Outcome::Failed(_) => return Verdict::Retry,
        Outcome::Status(status) => status,
    };
    if let Some(rule) = rules
        .iter()
        .find(|rule| (rule.low..=rule.high).contains(&status))
    {
        return match rule.action {
            RuleAction::Retry => Verdict::Retry,
            RuleAction::Reject => Verdict::Reject,
            RuleAction::Accept => Verdict::Delivered,
        };
    }
    match status {
        200..=299 => Verdict::Delivered,
        404 | 408 | 409 | 425 | 429 => Verdict::Retry,
        410 => Verdict::Gone,
        501 | 505 => Verdict::Reject,
        500..=599 => Verdict::Retry,
        _ => Verdict::Reject,
    }
}

/// Why a message went to the dead letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Cause {
    /// The subscriber rejected it.
    Rejected,
    /// The last attempt that the policy allows failed.
    Exhausted,
    /// The subscriber is gone (410).
    Gone,
    /// It is older than `maxAge`.
    Expired,
    /// A full memory queue shed it.
    Overflow,
    /// It went through too many channels.
    HopLimit,
}

impl Cause {
    /// Every cause, for tables and metrics.
    pub const ALL: [Self; 6] = [
        Self::Rejected,
        Self::Exhausted,
        Self::Gone,
        Self::Expired,
        Self::Overflow,
        Self::HopLimit,
    ];

    /// The stable short name.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Rejected => "Rejected",
            Self::Exhausted => "RetriesExhausted",
            Self::Gone => "Gone",
            Self::Expired => "Expired",
            Self::Overflow => "Overflow",
            Self::HopLimit => "HopLimit",
        }
    }

    /// The cause of that short name, for a bus that stores it.
    #[must_use]
    pub fn of_reason(reason: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|cause| cause.reason() == reason)
    }
}

/// How a message ended for one subscription; nothing else ends one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Settled {
    /// The subscriber took it, and its reply went through.
    Delivered,
    /// A filter did not match.
    Filtered,
    /// It is in a dead-letter sink or store.
    DeadLettered(Cause),
    /// It had to go to the dead letter, and there was no sink and no store: counted and logged.
    Dropped(Cause),
    /// Its Subscription or Channel was deleted.
    Discarded,
    /// An operation purged it.
    Purged,
}

impl Settled {
    /// The stable short name of the way it ended, as in metrics.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Delivered => "Delivered",
            Self::Filtered => "Filtered",
            Self::DeadLettered(_) => "DeadLettered",
            Self::Dropped(_) => "Dropped",
            Self::Discarded => "Discarded",
            Self::Purged => "Purged",
        }
    }
}

#[cfg(test)]
#[path = "outcome/tests.rs"]
mod tests;
