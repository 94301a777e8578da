//! Whether a bus may be what it asks to be. What one object can show is refused by the API server already.

use busway_api::{BusSpec, Reason};

use super::BusKind;
use crate::operator::{
    args::{Settings, ThirdPartyBuses},
    error::Error,
};

/// Volumes whose names begin so are ours.
const OUR_VOLUMES: &str = "busway-";

/// Why a bus may not be what it asks to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) reason: Reason,
    pub(super) message: String,
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Self::Invalid {
            reason: refusal.reason,
            message: refusal.message,
        }
    }
}

/// Whether it may.
pub(super) fn check(spec: &BusSpec, kind: BusKind, settings: &Settings) -> Result<(), Refusal> {
    let foreign =
        spec.dispatcher.is_some() || spec.provisioner.is_some() || !spec.volumes.is_empty();
    if foreign && kind == BusKind::Bus && settings.third_party_buses == ThirdPartyBuses::Cluster {
        return Err(Refusal {
            reason: Reason::ThirdPartyNotAllowed,
            message: "dispatcher, provisioner and volumes are for ClusterBuses only here: \
                      the chart's thirdPartyBuses is not Namespaced"
                .to_owned(),
        });
    }
    // Any image at all would be a container of one's own under another name.
    let pinned = spec.workload.image.as_deref().filter(|image| {
        kind == BusKind::Bus
            && settings.third_party_buses == ThirdPartyBuses::Cluster
            && repository(image) != repository(&settings.image)
    });
    if let Some(image) = pinned {
        return Err(Refusal {
            reason: Reason::ThirdPartyNotAllowed,
            message: format!(
                "spec.image: {image:?} is not of {:?}; other repositories are for ClusterBuses only here: \
                 the chart's thirdPartyBuses is not Namespaced",
                repository(&settings.image)
            ),
        });
    }
    let taken = spec
        .volumes
        .iter()
        .find(|volume| volume.name.starts_with(OUR_VOLUMES));
    if let Some(volume) = taken {
        return Err(Refusal {
            reason: Reason::InvalidSpec,
            message: format!(
                "spec.volumes: {:?} is a name of Busway's own; names that begin with {OUR_VOLUMES} are",
                volume.name
            ),
        });
    }
    Ok(())
}

/// An image without its tag and digest.
fn repository(image: &str) -> &str {
    let tagged = image.split_once('@').map_or(image, |(tagged, _)| tagged);
    match tagged.rsplit_once(':') {
        // Else it is a registry's port.
        Some((repository, tag)) if !tag.contains('/') => repository,
        _ => tagged,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use k8s_openapi::api::core::v1::{Container, Volume};

    use super::*;
    use crate::operator::bus::build::fixtures;

    fn third_party() -> BusSpec {
        BusSpec {
            dispatcher: Some(Container::default()),
            ..BusSpec::default()
        }
    }

    #[test]
    fn containers_of_third_parties_are_for_cluster_buses_unless_the_admin_says_otherwise() {
        let mut settings = fixtures::settings();
        let refused = check(&third_party(), BusKind::Bus, &settings).unwrap_err();
        assert_eq!(refused.reason, Reason::ThirdPartyNotAllowed);
        assert_eq!(
            check(&third_party(), BusKind::ClusterBus, &settings),
            Ok(())
        );
        settings.third_party_buses = ThirdPartyBuses::Namespaced;
        assert_eq!(check(&third_party(), BusKind::Bus, &settings), Ok(()));
    }

    #[test]
    fn an_image_is_pinned_within_the_operators_repository_unless_the_admin_says_otherwise() {
        let mut settings = fixtures::settings();
        let pinned = |image: &str| {
            let mut spec = fixtures::memory();
            spec.workload.image = Some(image.to_owned());
            spec
        };
        for (operators, same) in [
            ("registry.test/busway:1", "registry.test/busway:0"),
            ("registry.test/busway:1", "registry.test/busway@sha256:00"),
            ("registry.test/busway:1", "registry.test/busway"),
            ("registry.test:5000/busway", "registry.test:5000/busway:2"),
            ("busway@sha256:11", "busway:1@sha256:22"),
        ] {
            settings.image = operators.to_owned();
            assert_eq!(
                check(&pinned(same), BusKind::Bus, &settings),
                Ok(()),
                "{same}"
            );
        }
        settings.image = "registry.test:5000/busway:1".to_owned();
        for other in [
            "registry.test:5000/busway-evil:1",
            "registry.test:5000/busway:1/evil:1",
            "registry.test:5001/busway:1",
            "busway:1",
        ] {
            let refused = check(&pinned(other), BusKind::Bus, &settings).unwrap_err();
            assert_eq!(refused.reason, Reason::ThirdPartyNotAllowed, "{other}");
            assert_eq!(
                check(&pinned(other), BusKind::ClusterBus, &settings),
                Ok(())
            );
        }
        settings.third_party_buses = ThirdPartyBuses::Namespaced;
        assert_eq!(check(&pinned("busway:1"), BusKind::Bus, &settings), Ok(()));
    }

    #[test]
    fn volumes_alone_are_a_third_partys_too() {
        let spec = BusSpec {
            volumes: vec![Volume::default()],
            ..BusSpec::default()
        };
        assert!(check(&spec, BusKind::Bus, &fixtures::settings()).is_err());
    }

    #[test]
    fn a_volume_that_is_called_as_ours_is_refused_by_its_name() {
        let mut spec = third_party();
        spec.volumes.push(Volume {
            name: "busway-cache".to_owned(),
            ..Volume::default()
        });
        let refused = check(&spec, BusKind::ClusterBus, &fixtures::settings()).unwrap_err();
        assert_eq!(refused.reason, Reason::InvalidSpec);
        assert!(
            refused.message.contains("busway-cache"),
            "{}",
            refused.message
        );
    }
}
