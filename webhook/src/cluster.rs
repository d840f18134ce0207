//! Requests to the API server: whole objects as JSON values, each request with a time-out.
//!
//! Values, since a typed object drops the fields that it does not know. Must not know: why
//! something is asked or written.

mod list;

use std::{fmt, future::Future, time::Duration};

use contract::workload::Kind;
use futures::Stream;
use k8s_openapi::api::{
    admissionregistration::v1::{MutatingWebhookConfiguration, ValidatingAdmissionPolicyBinding},
    apps::v1::{DaemonSet, Deployment, ReplicaSet, StatefulSet},
    authorization::v1::SubjectAccessReview,
    coordination::v1::Lease,
    core::v1::{Namespace, Pod, Secret, Service, ServiceAccount},
    rbac::v1::{Role, RoleBinding},
};
use kube::{
    Api, Client,
    api::{
        ApiResource, DeleteParams, DynamicObject, GetParams, PartialObjectMeta, Patch, PatchParams,
        PostParams,
    },
    core::Status,
    runtime::{
        WatchStreamExt,
        watcher::{self, Event, watcher},
    },
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

/// Who writes, in `metadata.managedFields`.
pub(crate) const MANAGER: &str = "service-leader-election-webhook";

/// How long the API server may take to answer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// For how many seconds a watch is open before it is opened anew: one that hangs shows nothing.
const OPEN: u32 = 60;

/// How long a connection may bring nothing before it is given up: longer than any watch is open, and much shorter than
/// the system's own patience with a peer that is gone.
pub(crate) const SILENCE: Duration = Duration::from_secs(1).saturating_mul(OPEN + 15);

/// Of an object its metadata alone, which is all that the API server then sends.
pub(crate) type Metadata = PartialObjectMeta<DynamicObject>;

/// What can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Resource {
    Lease,
    MutatingWebhookConfiguration,
    Namespace,
    Role,
    RoleBinding,
    Secret,
    Service,
    ServiceAccount,
    SubjectAccessReview,
    ValidatingAdmissionPolicyBinding,
    Workload(Kind),
}

impl Resource {
    fn api_resource(self) -> ApiResource {
        match self {
            Self::Lease => ApiResource::erase::<Lease>(&()),
            Self::MutatingWebhookConfiguration => {
                ApiResource::erase::<MutatingWebhookConfiguration>(&())
            }
            Self::Namespace => ApiResource::erase::<Namespace>(&()),
            Self::Role => ApiResource::erase::<Role>(&()),
            Self::RoleBinding => ApiResource::erase::<RoleBinding>(&()),
            Self::Secret => ApiResource::erase::<Secret>(&()),
            Self::Service => ApiResource::erase::<Service>(&()),
            Self::ServiceAccount => ApiResource::erase::<ServiceAccount>(&()),
            Self::SubjectAccessReview => ApiResource::erase::<SubjectAccessReview>(&()),
            Self::ValidatingAdmissionPolicyBinding => {
                ApiResource::erase::<ValidatingAdmissionPolicyBinding>(&())
            }
            Self::Workload(Kind::Deployment) => ApiResource::erase::<Deployment>(&()),
            Self::Workload(Kind::StatefulSet) => ApiResource::erase::<StatefulSet>(&()),
            Self::Workload(Kind::DaemonSet) => ApiResource::erase::<DaemonSet>(&()),
            Self::Workload(Kind::ReplicaSet) => ApiResource::erase::<ReplicaSet>(&()),
            Self::Workload(Kind::Pod) => ApiResource::erase::<Pod>(&()),
        }
    }

    /// The resource of an object, by its kind.
    pub(crate) fn of(object: &Value) -> Option<Self> {
        match object.get("kind")?.as_str()? {
            "Role" => Some(Self::Role),
            "RoleBinding" => Some(Self::RoleBinding),
            "ServiceAccount" => Some(Self::ServiceAccount),
            _ => None,
        }
    }
}

/// Which of a resource's objects are meant: all of them, if it says nothing.
#[derive(Debug, Clone, Default)]
pub(crate) struct Selection {
    pub(crate) labels: Option<String>,
    pub(crate) fields: Option<&'static str>,
}

/// One object, by name.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Object<'a> {
    pub(crate) resource: Resource,
    /// Empty for objects of the cluster.
    pub(crate) namespace: &'a str,
    pub(crate) name: &'a str,
}

impl fmt::Display for Object<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            resource,
            namespace,
            name,
        } = self;
        match *namespace {
            "" => write!(f, "{resource:?} {name}"),
            namespace => write!(f, "{resource:?} {namespace}/{name}"),
        }
    }
}

/// Why a request came to nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RequestError {
    #[error("{action} {object}")]
    Refused {
        action: &'static str,
        object: String,
        source: Box<kube::Error>,
    },
    #[error("{action} {object}: no answer within {} s", PATIENCE.as_secs())]
    TimedOut {
        action: &'static str,
        object: String,
    },
    #[error("{action} {object}: the answer cannot be read")]
    Answer {
        action: &'static str,
        object: String,
        source: serde_json::Error,
    },
}

impl RequestError {
    /// Somebody else wrote in between.
    pub(crate) fn is_conflict(&self) -> bool {
        self.code() == Some(409)
    }

    /// The object is not there.
    pub(crate) fn is_not_found(&self) -> bool {
        self.code() == Some(404)
    }

    /// The object breaks a rule, such as a change of what cannot be changed.
    pub(crate) fn is_invalid(&self) -> bool {
        self.code() == Some(422)
    }

    /// Who asks has not the right.
    pub(crate) fn is_forbidden(&self) -> bool {
        self.code() == Some(403)
    }

    /// It with its cause, for people: what the API server says, in its own words.
    pub(crate) fn words(&self) -> String {
        match (self, self.status()) {
            (_, Some(status)) => format!("{self}: {}", status.message),
            (Self::Refused { source, .. }, None) => format!("{self}: {source}"),
            (Self::TimedOut { .. } | Self::Answer { .. }, None) => self.to_string(),
        }
    }

    fn code(&self) -> Option<u16> {
        Some(self.status()?.code)
    }

    fn status(&self) -> Option<&Status> {
        match self {
            Self::Refused { source, .. } => match source.as_ref() {
                kube::Error::Api(status) => Some(status),
                _ => None,
            },
            _ => None,
        }
    }
}

/// The API server.
#[derive(Clone)]
pub(crate) struct Cluster {
    client: Client,
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster").finish_non_exhaustive()
    }
}

impl Cluster {
    pub(crate) fn new(client: Client) -> Self {
        Self { client }
    }

    /// The client, for watches and Events.
    pub(crate) fn client(&self) -> Client {
        self.client.clone()
    }

    /// Reads an object, as a majority of the store has it. None: it does not exist.
    pub(crate) async fn get(&self, object: Object<'_>) -> Result<Option<Value>, RequestError> {
        let api = self.api(object.resource, object.namespace);
        let found = within("get", &object, api.get_opt(object.name)).await?;
        found.map(|found| value("get", &object, &found)).transpose()
    }

    /// Reads an object from the API server's cache, which costs the store nothing and may be some
    /// milliseconds old. None: it is not there yet, or does not exist.
    pub(crate) async fn get_cached(
        &self,
        object: Object<'_>,
    ) -> Result<Option<Value>, RequestError> {
        let api = self.api(object.resource, object.namespace);
        let any = GetParams::any();
        match within("get", &object, api.get_with(object.name, &any)).await {
            Ok(found) => value("get", &object, &found).map(Some),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The objects of a resource in all namespaces, as they change; of [`Metadata`] nothing else is sent.
    /// It starts again by itself.
    pub(crate) fn watch<K>(
        &self,
        resource: Resource,
        which: Selection,
    ) -> impl Stream<Item = Result<Event<K>, watcher::Error>> + use<K>
    where
        K: kube::Resource<DynamicType = ApiResource> + Clone + fmt::Debug,
        K: DeserializeOwned + Send + 'static,
    {
        let resource = resource.api_resource();
        let api: Api<K> = Api::all_with(self.client.clone(), &resource);
        let config = watcher::Config {
            label_selector: which.labels,
            field_selector: which.fields.map(str::to_owned),
            page_size: Some(list::PAGE),
            timeout: Some(OPEN),
            ..watcher::Config::default()
        };
        watcher(api, config).default_backoff()
    }

    /// Makes what we say of an object so, whoever said otherwise.
    pub(crate) async fn apply(
        &self,
        object: Object<'_>,
        wanted: &Value,
    ) -> Result<Value, RequestError> {
        let params = PatchParams::apply(MANAGER).force();
        self.patch("apply", object, &params, &Patch::Apply(wanted))
            .await
    }

    /// Merges `patch` into an object: a compare-and-swap, if it has a resourceVersion.
    pub(crate) async fn merge(
        &self,
        object: Object<'_>,
        patch: &Value,
    ) -> Result<Value, RequestError> {
        let params = PatchParams {
            field_manager: Some(MANAGER.to_owned()),
            ..Default::default()
        };
        self.patch("patch", object, &params, &Patch::Merge(patch))
            .await
    }

    /// Has the API server answer a question that is put as an object without a name.
    pub(crate) async fn ask(
        &self,
        resource: Resource,
        question: &Value,
    ) -> Result<Value, RequestError> {
        let object = Object {
            resource,
            namespace: "",
            name: "",
        };
        self.create(object, question).await
    }

    /// Makes an object. One of its name is a conflict.
    pub(crate) async fn create(
        &self,
        object: Object<'_>,
        wanted: &Value,
    ) -> Result<Value, RequestError> {
        let wanted: DynamicObject =
            serde_json::from_value(wanted.clone()).map_err(|source| RequestError::Answer {
                action: "create",
                object: object.to_string(),
                source,
            })?;
        let api = self.api(object.resource, object.namespace);
        let params = PostParams {
            field_manager: Some(MANAGER.to_owned()),
            ..PostParams::default()
        };
        let answer = within("create", &object, api.create(&params, &wanted)).await?;
        value("create", &object, &answer)
    }

    /// Deletes an object, if it is there.
    pub(crate) async fn delete(&self, object: Object<'_>) -> Result<(), RequestError> {
        let api = self.api(object.resource, object.namespace);
        match within(
            "delete",
            &object,
            api.delete(object.name, &DeleteParams::default()),
        )
        .await
        {
            Ok(_) => Ok(()),
            Err(error) if error.is_not_found() => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn patch(
        &self,
        action: &'static str,
        object: Object<'_>,
        params: &PatchParams,
        patch: &Patch<&Value>,
    ) -> Result<Value, RequestError> {
        let api = self.api(object.resource, object.namespace);
        let patched = within(action, &object, api.patch(object.name, params, patch)).await?;
        value(action, &object, &patched)
    }

    fn api(&self, resource: Resource, namespace: &str) -> Api<DynamicObject> {
        let resource = resource.api_resource();
        if namespace.is_empty() {
            Api::all_with(self.client.clone(), &resource)
        } else {
            Api::namespaced_with(self.client.clone(), namespace, &resource)
        }
    }
}

async fn within<T>(
    action: &'static str,
    object: &Object<'_>,
    request: impl Future<Output = kube::Result<T>>,
) -> Result<T, RequestError> {
    match tokio::time::timeout(PATIENCE, request).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(source)) => Err(RequestError::Refused {
            action,
            object: object.to_string(),
            source: source.into(),
        }),
        Err(_elapsed) => Err(RequestError::TimedOut {
            action,
            object: object.to_string(),
        }),
    }
}

fn value(
    action: &'static str,
    object: &Object<'_>,
    answer: &impl Serialize,
) -> Result<Value, RequestError> {
    serde_json::to_value(answer).map_err(|source| RequestError::Answer {
        action,
        object: object.to_string(),
        source,
    })
}
