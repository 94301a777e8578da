//! How subscribers answer.

use std::time::Duration;

use busway_dataplane::Stage;

use super::chance::Chance;

/// What one subscriber is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Habit {
    Well,
    Flaky,
    /// It asks to be left alone.
    Asking,
    Slow,
    Hanging,
    /// Some messages it never wants.
    Rejecting,
    /// For some it is gone.
    Leaving,
    Down,
    /// It breaks off.
    Cutting,
    Mixed,
}

pub(crate) const SICK: [Habit; 9] = [
    Habit::Flaky,
    Habit::Asking,
    Habit::Slow,
    Habit::Hanging,
    Habit::Rejecting,
    Habit::Leaving,
    Habit::Down,
    Habit::Cutting,
    Habit::Mixed,
];

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Answer {
    pub(crate) after: Duration,
    pub(crate) how: How,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum How {
    Status(u16),
    /// 429 or 503, with so many seconds.
    Asking(u16, u64),
    Never,
    /// The head and a part of the body.
    Cut,
    /// The connection, without an answer.
    Close,
}

impl How {
    /// The name of the fault, where it is one.
    pub(crate) const fn fault(self) -> Option<&'static str> {
        Some(match self {
            Self::Status(200..=299) => return None,
            Self::Status(410) => "answer 410",
            Self::Status(429) => "answer 429",
            Self::Status(500..=599) => "answer 5xx",
            Self::Status(_) => "answer 4xx",
            Self::Asking(..) => "answer Retry-After",
            Self::Never => "no answer",
            Self::Cut => "answer cut",
            Self::Close => "closed unanswered",
        })
    }
}

const FAILURES: [u16; 9] = [500, 502, 503, 504, 404, 408, 409, 425, 429];
const REJECTIONS: [u16; 7] = [400, 401, 403, 413, 418, 422, 501];
const GOOD: [u16; 4] = [200, 201, 202, 204];

/// How the subscriber (or the target of replies, or the sink) of a subscription answers one attempt:
/// a matter of these only, so that no other subscription changes it.
pub(crate) fn answer(
    seed: u64,
    sub: usize,
    stage: Stage,
    habit: Habit,
    number: u32,
    attempt: u32,
) -> Answer {
    let place = match stage {
        Stage::Subscriber => 0,
        Stage::Reply => 1,
        Stage::DeadLetter => 2,
    };
    let of_message = [seed, sub as u64, place, number.into()];
    let mut message = Chance::new(&of_message);
    let [a, b, c, d] = of_message;
    let chance = &mut Chance::new(&[a, b, c, d, attempt.into()]);
    let mut answer = Answer {
        after: chance.millis(0, 20),
        how: How::Status(chance.pick(&GOOD)),
    };
    let percent = chance.below(100);
    let habit = match (stage, habit) {
        (Stage::Subscriber, Habit::Mixed) => chance.pick(&SICK),
        (Stage::Subscriber, habit) => habit,
        _ if percent < 25 => Habit::Flaky,
        _ => Habit::Well,
    };
    match habit {
        Habit::Flaky if percent < 40 => answer.how = How::Status(chance.pick(&FAILURES)),
        Habit::Asking if percent < 20 => {
            answer.how = How::Asking(chance.pick(&[429, 503]), chance.between(1, 2));
        }
        Habit::Slow => answer.after = chance.millis(50, 800),
        Habit::Hanging if percent < 15 => answer.how = How::Never,
        Habit::Rejecting if message.one_in(3) => answer.how = How::Status(chance.pick(&REJECTIONS)),
        Habit::Leaving if message.one_in(4) => answer.how = How::Status(410),
        Habit::Down if percent < 90 => answer.how = How::Status(500),
        Habit::Cutting if percent < 25 => answer.how = chance.pick(&[How::Cut, How::Close]),
        Habit::Well
        | Habit::Flaky
        | Habit::Asking
        | Habit::Hanging
        | Habit::Rejecting
        | Habit::Leaving
        | Habit::Down
        | Habit::Cutting
        | Habit::Mixed => {}
    }
    answer
}
