//! This program's certificates: kept in a Secret, made known to the API server, renewed in time.
//!
//! Every replica runs the same loop. What they write to the Secret is compare-and-swap, so the
//! first one wins and the others load; what they write to the configuration is the same bytes.
//! Must not know: who connects.

mod keep;

use std::{sync::Arc, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use certs::{Rotating, issue::IssueError};
use contract::wording::in_one_line;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use self::keep::{Kept, Next};
use crate::{
    clock,
    cluster::{Cluster, Object, RequestError, Resource},
    health::Readiness,
};

/// How often Secret and configuration are looked at.
const ROUND: Duration = Duration::from_secs(30);
/// The same after a failure.
const RETRY: Duration = Duration::from_secs(1);
/// The same while an earlier certificate is served.
const RETRY_SERVING: Duration = Duration::from_secs(10);
/// How often another replica may be first before the next round.
const ATTEMPTS: u32 = 10;
/// How long API servers may take to see a new authority before a leaf of it is served.
const SPREAD: Duration = Duration::from_secs(5);

/// Where certificates are kept and made known, and for which hosts they are.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) namespace: String,
    pub(crate) secret: String,
    pub(crate) configuration: String,
    pub(crate) hosts: Vec<String>,
}

/// Keeps them.
#[derive(Debug)]
pub(crate) struct Certificates {
    cluster: Cluster,
    place: Place,
    identity: Arc<Rotating>,
    readiness: Readiness,
}

#[derive(Debug, thiserror::Error)]
enum CertificateError {
    #[error(transparent)]
    Request(#[from] RequestError),
    #[error(transparent)]
    Issue(#[from] IssueError),
    #[error("{0} does not exist: install the chart again, which brings it")]
    Missing(String),
    #[error("{0} was written by others {ATTEMPTS} times in a row")]
    Contended(String),
    #[error("{0} does not say what was written to it")]
    NotTaken(String),
}

impl Certificates {
    pub(crate) fn new(
        cluster: Cluster,
        place: Place,
        identity: Arc<Rotating>,
        readiness: Readiness,
    ) -> Self {
        Self {
            cluster,
            place,
            identity,
            readiness,
        }
    }

    /// Keeps them until `stop`. Ready as soon as the API server can call this program.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let mut served: Option<Kept> = None;
        loop {
            let round = tokio::select! {
                () = stop.cancelled() => return,
                round = self.round(&mut served) => round,
            };
            let pause = match round {
                Ok(()) => ROUND,
                Err(error) => {
                    tracing::error!(
                        error = in_one_line(&error),
                        ns = self.place.namespace,
                        name = self.place.secret,
                        "certificates cannot be kept"
                    );
                    if served.is_some() {
                        RETRY_SERVING
                    } else {
                        RETRY
                    }
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    async fn round(&self, served: &mut Option<Kept>) -> Result<(), CertificateError> {
        let kept = self.current().await?;
        self.publish(&kept.bundle).await?;
        if served.as_ref().is_some_and(|served| served.is_same(&kept)) {
            return Ok(());
        }
        let trusts_both = |served: &Kept| {
            served.bundle != kept.bundle && kept.bundle.contains(served.bundle.trim())
        };
        if served.as_ref().is_some_and(trusts_both) {
            tokio::time::sleep(SPREAD).await;
        }
        self.identity.replace(&kept.identity);
        self.readiness.set(true);
        tracing::info!(
            until = jiff::Timestamp::try_from(kept.identity.not_after())
                .ok()
                .map(tracing::field::display),
            "certificate served"
        );
        *served = Some(kept);
        Ok(())
    }

    /// What the Secret holds, after it was made good where it was not.
    async fn current(&self) -> Result<Kept, CertificateError> {
        let object = self.secret();
        for _ in 0..ATTEMPTS {
            let secret = self
                .cluster
                .get(object)
                .await?
                .ok_or_else(|| CertificateError::Missing(object.to_string()))?;
            let hosts: Vec<_> = self.place.hosts.iter().map(String::as_str).collect();
            let data = match keep::judge(&secret, &hosts, clock::time_of_day())? {
                Next::Serve(kept) => return Ok(*kept),
                Next::Write(data) => data,
            };
            let version = secret.pointer("/metadata/resourceVersion");
            let patch = json!({ "metadata": { "resourceVersion": version }, "data": data });
            match self.cluster.merge(object, &patch).await {
                Ok(_) => tracing::info!(object = %object, "certificates made"),
                Err(error) if error.is_conflict() => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(CertificateError::Contended(object.to_string()))
    }

    /// Sets `caBundle`, and nothing else, wherever it differs.
    async fn publish(&self, bundle: &str) -> Result<(), CertificateError> {
        let object = Object {
            resource: Resource::MutatingWebhookConfiguration,
            namespace: "",
            name: &self.place.configuration,
        };
        let bundle = STANDARD.encode(bundle);
        let configuration = self
            .cluster
            .get(object)
            .await?
            .ok_or_else(|| CertificateError::Missing(object.to_string()))?;
        if has_bundle(&configuration, &bundle) {
            return Ok(());
        }
        let webhooks: Vec<_> = webhooks(&configuration)
            .filter_map(|webhook| webhook.get("name"))
            .map(|name| json!({ "name": name, "clientConfig": { "caBundle": bundle } }))
            .collect();
        let wanted = json!({
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "MutatingWebhookConfiguration",
            "metadata": { "name": self.place.configuration },
            "webhooks": webhooks,
        });
        let applied = self.cluster.apply(object, &wanted).await?;
        if !has_bundle(&applied, &bundle) {
            return Err(CertificateError::NotTaken(object.to_string()));
        }
        tracing::info!(object = %object, "caBundle set");
        Ok(())
    }

    fn secret(&self) -> Object<'_> {
        Object {
            resource: Resource::Secret,
            namespace: &self.place.namespace,
            name: &self.place.secret,
        }
    }
}

fn webhooks(configuration: &Value) -> impl Iterator<Item = &Value> {
    configuration
        .get("webhooks")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
}

fn has_bundle(configuration: &Value, bundle: &str) -> bool {
    webhooks(configuration).all(|webhook| {
        webhook
            .pointer("/clientConfig/caBundle")
            .and_then(Value::as_str)
            == Some(bundle)
    })
}
