//! Versions of the API server that tests run on.

/// Which API server. `hack/tools.versions` pins both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ApiServer {
    /// The newest.
    #[default]
    Newest,
    /// The oldest that Busway states: 1.33.
    Oldest,
}

impl ApiServer {
    /// The name of its binary.
    pub const fn binary(self) -> &'static str {
        match self {
            Self::Newest => "kube-apiserver",
            Self::Oldest => "kube-apiserver-1.33",
        }
    }

    /// What the version that it reports begins with; nothing where any will do.
    pub const fn reports(self) -> &'static str {
        match self {
            Self::Newest => "v1.",
            Self::Oldest => "v1.33.",
        }
    }
}
