//! How the parts of Busway name a bus, a channel and a subscription to one another.

use std::{borrow::Borrow, fmt, sync::Arc};

/// Why a text is not a reference.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not `namespace/name`")]
pub struct InvalidRef {
    text: String,
}

/// The identity that the API server (or dev mode) gave an object; a re-created object has another.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Uid(Arc<str>);

impl Uid {
    /// A UID of this text.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(text.into())
    }

    /// Its text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Borrow<str> for Uid {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// `namespace/name` in one shared allocation, so that a look-up by path needs none.
macro_rules! namespaced {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The reference of this name in this namespace.
            #[must_use]
            pub fn new(namespace: &str, name: &str) -> Self {
                Self(format!("{namespace}/{name}").into())
            }

            /// Reads the display form, `namespace/name`.
            ///
            /// # Errors
            /// When there is not exactly one `/` with text on both sides.
            pub fn parse(text: &str) -> Result<Self, InvalidRef> {
                match text.split_once('/') {
                    Some((namespace, name))
                        if !namespace.is_empty() && !name.is_empty() && !name.contains('/') =>
                    {
                        Ok(Self(text.into()))
                    }
                    _ => Err(InvalidRef { text: text.to_owned() }),
                }
            }

            /// The namespace.
            #[must_use]
            pub fn namespace(&self) -> &str {
                self.0.split_once('/').map_or("", |(namespace, _)| namespace)
            }

            /// The name within the namespace.
            #[must_use]
            pub fn name(&self) -> &str {
                self.0.split_once('/').map_or("", |(_, name)| name)
            }

            /// The display form, `namespace/name`.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

namespaced! {
    /// A Channel; displayed `namespace/name`.
    ChannelRef
}

namespaced! {
    /// A Subscription; displayed `namespace/name`.
    SubscriptionRef
}

/// A Bus (displayed `namespace/name`) or a ClusterBus (displayed `name`).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum BusRef {
    /// A Bus in a namespace.
    Namespaced {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// A ClusterBus.
    Cluster {
        /// Its name.
        name: String,
    },
}

impl BusRef {
    /// Reads the display form: `namespace/name` is a Bus, `name` a ClusterBus.
    ///
    /// # Errors
    /// When a part is empty or there is more than one `/`.
    pub fn parse(text: &str) -> Result<Self, InvalidRef> {
        let invalid = || InvalidRef {
            text: text.to_owned(),
        };
        match text.split_once('/') {
            None if !text.is_empty() => Ok(Self::Cluster {
                name: text.to_owned(),
            }),
            Some((namespace, name))
                if !namespace.is_empty() && !name.is_empty() && !name.contains('/') =>
            {
                Ok(Self::Namespaced {
                    namespace: namespace.to_owned(),
                    name: name.to_owned(),
                })
            }
            _ => Err(invalid()),
        }
    }

    /// Its name, without the namespace.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Namespaced { name, .. } | Self::Cluster { name } => name,
        }
    }

    /// Its namespace; a ClusterBus has none.
    #[must_use]
    pub fn namespace(&self) -> Option<&str> {
        match self {
            Self::Namespaced { namespace, .. } => Some(namespace),
            Self::Cluster { .. } => None,
        }
    }
}

impl fmt::Display for BusRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Namespaced { namespace, name } => write!(f, "{namespace}/{name}"),
            Self::Cluster { name } => f.write_str(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_reads_its_own_display_form() {
        let channel = ChannelRef::new("shop", "orders");
        assert_eq!(ChannelRef::parse(&channel.to_string()), Ok(channel.clone()));
        assert_eq!((channel.namespace(), channel.name()), ("shop", "orders"));
        for text in ["shop/bus", "bus"] {
            assert_eq!(
                BusRef::parse(text).map(|b| b.to_string()),
                Ok(text.to_owned())
            );
        }
    }

    #[test]
    fn what_is_not_one_is_refused() {
        for text in ["", "/", "a/", "/b", "a/b/c", "a"] {
            assert!(ChannelRef::parse(text).is_err(), "{text}");
        }
        for text in ["", "/", "a/", "/b", "a/b/c"] {
            assert!(BusRef::parse(text).is_err(), "{text}");
        }
    }
}
