//! A pod's service account tokens, bound to the pod, in files, and the kubeconfigs that name them.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result};
use k8s_openapi::api::{
    authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec},
    core::v1::{Pod, ServiceAccount},
};
use kube::{
    Api, Client,
    api::{ObjectMeta, PostParams},
};
use serde_json::json;

use super::plan::TokenVolume;
use crate::{control_plane::ControlPlane, faults::Proxy};

/// The token volumes of one pod.
#[derive(Debug)]
pub(super) struct Credentials {
    folder: PathBuf,
    account: String,
    pod: ObjectMeta,
    volumes: Vec<TokenVolume>,
}

impl Credentials {
    pub(super) fn new(folder: PathBuf, pod: &Pod, volumes: Vec<TokenVolume>) -> Self {
        let account = pod
            .spec
            .as_ref()
            .and_then(|spec| spec.service_account_name.clone());
        Self {
            folder,
            account: account.unwrap_or_else(|| "default".to_owned()),
            pod: pod.metadata.clone(),
            volumes,
        }
    }

    /// The kubeconfig of a container that mounts this volume.
    pub(super) fn kubeconfig(&self, volume: &str) -> PathBuf {
        self.folder.join(format!("{volume}.kubeconfig"))
    }

    /// How long after [`Credentials::write`] it must be called again: at four fifths of the life of
    /// the token that lives shortest, as kubelet does.
    pub(super) fn renew_after(&self) -> Duration {
        let seconds = self.volumes.iter().map(|volume| volume.seconds).min();
        Duration::from_secs(seconds.unwrap_or(3600).max(600).unsigned_abs() * 4 / 5)
    }

    /// Asks for new tokens and writes them.
    pub(super) async fn write(
        &self,
        client: &Client,
        plane: &ControlPlane,
        proxy: Option<&Proxy>,
    ) -> Result<()> {
        let namespace = self.pod.namespace.as_deref().unwrap_or_default();
        for volume in &self.volumes {
            let folder = self.folder.join(&volume.name);
            let token = folder.join(&volume.path);
            fs::create_dir_all(token.parent().unwrap_or(&folder))?;
            replace(&token, &self.request(client, volume).await?)?;
            replace(&folder.join("ca.crt"), plane.authority())?;
            replace(&folder.join("namespace"), namespace)?;
            let pod = self.pod.name.as_deref().unwrap_or_default();
            let server = proxy.map(|proxy| proxy.url(namespace, pod));
            let user = json!({"tokenFile": token});
            let kubeconfig = plane.render_kubeconfig(server, namespace, &user);
            replace(&self.kubeconfig(&volume.name), &kubeconfig)?;
        }
        Ok(())
    }

    async fn request(&self, client: &Client, volume: &TokenVolume) -> Result<String> {
        let namespace = self.pod.namespace.as_deref().unwrap_or_default();
        let request = TokenRequest {
            spec: TokenRequestSpec {
                audiences: volume.audience.iter().cloned().collect(),
                expiration_seconds: Some(volume.seconds),
                bound_object_ref: Some(BoundObjectReference {
                    api_version: Some("v1".to_owned()),
                    kind: Some("Pod".to_owned()),
                    name: self.pod.name.clone(),
                    uid: self.pod.uid.clone(),
                }),
            },
            ..TokenRequest::default()
        };
        let made = Api::<ServiceAccount>::namespaced(client.clone(), namespace)
            .create_token_request(&self.account, &PostParams::default(), &request)
            .await?;
        let status = made.status.context("the answer holds no token")?;
        Ok(status.token)
    }
}

/// Writes a file so that nobody reads half of it.
fn replace(path: &Path, text: &str) -> Result<()> {
    let unfinished = path.with_extension("unfinished");
    fs::write(&unfinished, text)?;
    fs::rename(&unfinished, path).with_context(|| format!("cannot write {}", path.display()))
}
