//! The names of what the operator makes. Two owners never share one.

/// A label's and a Service's longest name.
const LONGEST: usize = 63;
/// Hexadecimal digits of a hash that tells shortened names apart: two of a million names share one with a chance of
/// one in four million.
const HASH: usize = 16;

/// How the names of a Bus's children go on.
const OF_BUS: &str = "-bus";
/// How the names of a ClusterBus's children go on.
const OF_CLUSTER_BUS: &str = "-clusterbus";
/// How they end, but for those of the Service and the Lease.
const TAILS: [&str; 3] = [CHANNELS, DISPATCHER, PROVISIONER];
const CHANNELS: &str = "-dispatcher-channels";
const DISPATCHER: &str = "-dispatcher";
const PROVISIONER: &str = "-provisioner";

/// Whose children are named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BusName<'a> {
    /// A Bus of that name; its children are in its namespace.
    Bus(&'a str),
    /// A ClusterBus of that name; its children are in the operator's namespace.
    ClusterBus(&'a str),
}

impl BusName<'_> {
    /// Of the Service and the Lease.
    pub(crate) fn base(self) -> String {
        self.with("")
    }

    /// Of the Deployment, ServiceAccount, Role, its RoleBinding, PodDisruptionBudget and NetworkPolicy.
    pub(crate) fn dispatcher(self) -> String {
        self.with(DISPATCHER)
    }

    /// Of the provisioner's Deployment.
    pub(crate) fn provisioner(self) -> String {
        self.with(PROVISIONER)
    }

    /// Of the RoleBinding to the dispatchers' ClusterRole.
    pub(crate) fn channels_binding(self) -> String {
        self.with(CHANNELS)
    }

    /// Of the ClusterRoleBinding to the dispatchers' ClusterRole: cluster-wide, so it names the operator.
    pub(crate) fn cluster_binding(self, operator_namespace: &str) -> String {
        // A ClusterRoleBinding's name may be long, but a namespace and a name together may be longer still.
        fitted(
            &format!("busway-{operator_namespace}-{}", self.dispatcher()),
            LONGEST,
        )
    }

    fn parts(self) -> (String, &'static str) {
        match self {
            Self::Bus(name) => (label_safe(name), OF_BUS),
            Self::ClusterBus(name) => (label_safe(name), OF_CLUSTER_BUS),
        }
    }

    /// The suffix is kept, so that the kinds of children stay apart and a person sees what it is.
    fn with(self, suffix: &str) -> String {
        let (name, kind) = self.parts();
        let tail = format!("{kind}{suffix}");
        let (Self::Bus(given) | Self::ClusterBus(given)) = self;
        if name == given && name.len() + tail.len() <= LONGEST {
            return format!("{name}{tail}");
        }
        let hash = hash(given);
        let room = LONGEST.saturating_sub(tail.len() + 1 + HASH);
        let kept = name.get(..room.min(name.len())).unwrap_or_default();
        format!("{}-{hash}{tail}", kept.trim_end_matches('-'))
    }
}

/// Whether a child of that name is a ClusterBus's: every name ends with its kind and what it is.
pub(crate) fn is_of_cluster_bus(child: &str) -> bool {
    let base = TAILS
        .iter()
        .find_map(|tail| child.strip_suffix(tail))
        .unwrap_or(child);
    base.ends_with(OF_CLUSTER_BUS)
}

/// A Channel's Service; channels' names are short enough.
pub(crate) fn channel_service(channel: &str) -> String {
    fitted(&format!("{channel}-channel"), LONGEST)
}

/// A value for a label: what is longer than one may be is cut, and told apart by a hash.
pub(crate) fn label_value(name: &str) -> String {
    fitted(name, LONGEST)
}

/// A bus's name may have dots and begin with a digit, which a Service's may not.
fn label_safe(name: &str) -> String {
    let name = name.replace('.', "-");
    if name.starts_with(|first: char| first.is_ascii_lowercase()) {
        name
    } else {
        format!("b{name}")
    }
}

/// `full`, or where it is longer than `longest` its beginning and a hash of all of it.
fn fitted(full: &str, longest: usize) -> String {
    if full.len() <= longest {
        return full.to_owned();
    }
    let kept = full
        .get(..longest.saturating_sub(HASH + 1))
        .unwrap_or_default();
    format!("{}-{}", kept.trim_end_matches(['-', '.']), hash(full))
}

fn hash(text: &str) -> String {
    format!("{:016x}", checksum(text.as_bytes()))
}

/// FNV-1a: the same on every build and machine, unlike the standard library's.
pub(crate) fn checksum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
#[path = "names/tests.rs"]
mod tests;
