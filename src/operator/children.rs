//! The kinds of what the operator makes.

use k8s_openapi::api::{
    apps::v1::Deployment,
    coordination::v1::Lease,
    core::v1::{Service, ServiceAccount},
    networking::v1::NetworkPolicy,
    policy::v1::PodDisruptionBudget,
    rbac::v1::{ClusterRoleBinding, Role, RoleBinding},
};
use kube::{Api, Client, core::ApiResource, core::DynamicObject};
use serde::Serialize;

use super::error::Error;

/// A kind of what the operator makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum ChildKind {
    Deployment,
    Service,
    ServiceAccount,
    Role,
    RoleBinding,
    ClusterRoleBinding,
    Lease,
    PodDisruptionBudget,
    NetworkPolicy,
}

impl ChildKind {
    /// All of them.
    pub(crate) const ALL: [Self; 9] = [
        Self::Deployment,
        Self::Service,
        Self::ServiceAccount,
        Self::Role,
        Self::RoleBinding,
        Self::ClusterRoleBinding,
        Self::Lease,
        Self::PodDisruptionBudget,
        Self::NetworkPolicy,
    ];

    /// How the API server calls it.
    pub(crate) fn resource(self) -> ApiResource {
        match self {
            Self::Deployment => ApiResource::erase::<Deployment>(&()),
            Self::Service => ApiResource::erase::<Service>(&()),
            Self::ServiceAccount => ApiResource::erase::<ServiceAccount>(&()),
            Self::Role => ApiResource::erase::<Role>(&()),
            Self::RoleBinding => ApiResource::erase::<RoleBinding>(&()),
            Self::ClusterRoleBinding => ApiResource::erase::<ClusterRoleBinding>(&()),
            Self::Lease => ApiResource::erase::<Lease>(&()),
            Self::PodDisruptionBudget => ApiResource::erase::<PodDisruptionBudget>(&()),
            Self::NetworkPolicy => ApiResource::erase::<NetworkPolicy>(&()),
        }
    }

    /// As manifests write it.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Deployment => "Deployment",
            Self::Service => "Service",
            Self::ServiceAccount => "ServiceAccount",
            Self::Role => "Role",
            Self::RoleBinding => "RoleBinding",
            Self::ClusterRoleBinding => "ClusterRoleBinding",
            Self::Lease => "Lease",
            Self::PodDisruptionBudget => "PodDisruptionBudget",
            Self::NetworkPolicy => "NetworkPolicy",
        }
    }

    /// Calls about it, in a namespace or in none.
    pub(crate) fn api(self, client: &Client, namespace: Option<&str>) -> Api<DynamicObject> {
        match namespace {
            Some(namespace) => Api::namespaced_with(client.clone(), namespace, &self.resource()),
            None => Api::all_with(client.clone(), &self.resource()),
        }
    }
}

/// Which child.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ChildRef {
    pub(crate) kind: ChildKind,
    pub(crate) namespace: Option<String>,
    pub(crate) name: String,
}

impl ChildRef {
    /// `Kind namespace/name`, for people.
    pub(crate) fn told(&self) -> String {
        super::object::told(self.kind.as_str(), self.namespace.as_deref(), &self.name)
    }
}

/// A child as it is wanted: exactly the fields that the operator owns.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Child {
    pub(crate) at: ChildRef,
    pub(crate) manifest: serde_json::Value,
}

impl Child {
    /// Of a typed object with name, namespace and labels.
    ///
    /// # Errors
    /// When it has no form in JSON, which our types always have.
    pub(crate) fn new<K>(kind: ChildKind, object: &K) -> Result<Self, Error>
    where
        K: kube::Resource + Serialize,
    {
        let at = ChildRef {
            kind,
            namespace: object.meta().namespace.clone(),
            name: object.meta().name.clone().unwrap_or_default(),
        };
        let manifest = serde_json::to_value(object).map_err(|error| Error::Refused {
            what: at.told(),
            message: error.to_string(),
        })?;
        Ok(Self { at, manifest })
    }
}
