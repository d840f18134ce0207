//! The least injector that there can be: each Deployment gets one container by a patch that is always
//! the same. What it costs, the API server takes for every injector.

use anyhow::Result;
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use kube::{Api, Client, api::PostParams};
use serde_json::{Value, json};
use testcluster::Injector;

/// A namespace with this label has it.
pub(super) const LABEL: &str = "example.org/other-injector";

/// Has the API server ask it about each new Deployment of its namespaces.
pub(super) async fn install(client: Client) -> Result<Injector> {
    let patch = json!([{
        "op": "add",
        "path": "/spec/template/spec/containers/-",
        "value": { "name": "other", "image": "registry.example.org/other:1" },
    }]);
    let patch: json_patch::Patch = serde_json::from_value(patch)?;
    let injector = Injector::serve(move |_: &Value| patch.clone()).await?;
    let configuration = json!({
        "metadata": { "name": "other-injector" },
        "webhooks": [{
            "name": "other.example.org",
            "admissionReviewVersions": ["v1"],
            "sideEffects": "None",
            "clientConfig": injector.client_config(),
            "rules": [{ "apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["CREATE"],
                "resources": ["deployments"] }],
            "namespaceSelector": { "matchLabels": { LABEL: "" } },
        }],
    });
    let configuration: MutatingWebhookConfiguration = serde_json::from_value(configuration)?;
    let all: Api<MutatingWebhookConfiguration> = Api::all(client);
    all.create(&PostParams::default(), &configuration).await?;
    Ok(injector)
}
