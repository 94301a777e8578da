//! Channels, subscriptions, delivery policy, outcomes, Routes and the Bus trait.
