//! One pod, from its binding to its end, in kubelet's order.

use std::{fs, net::Ipv4Addr, path::PathBuf, sync::Arc, time::Duration};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, PodStatus};
use kube::{
    Api, Client,
    api::{DeleteParams, Patch, PatchParams, Preconditions},
};
use serde_json::json;
use tokio::{
    sync::{Notify, watch},
    task::JoinSet,
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    Inner,
    container::{Container, Ending, Place, log_path},
    credentials::Credentials,
    plan::{ContainerPlan, Plan},
    status::{self, PodState},
};
use crate::programs::Programs;

const RETRY: Duration = Duration::from_millis(200);

/// What plays a pod.
pub(super) struct Worker {
    pub(super) node: Arc<Inner>,
    pub(super) client: Client,
    pub(super) pod: Pod,
    pub(super) uid: String,
    pub(super) ip: Ipv4Addr,
    pub(super) state: watch::Sender<PodState>,
    pub(super) ending: watch::Receiver<Option<Ending>>,
    /// Wants new tokens now.
    pub(super) rotate: Arc<Notify>,
}

/// Containers that end together: a token to stop them, and their tasks.
#[derive(Default)]
struct Group {
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

impl Group {
    async fn end(mut self) {
        self.stop.cancel();
        while self.tasks.join_next().await.is_some() {}
    }
}

impl Worker {
    /// Plays the pod until its object and its processes are gone.
    pub(super) async fn run(self) {
        let start = Timestamp::now();
        let folder = self.node.rig.join("pods").join(&self.uid);
        let mut written = None;
        tokio::select! {
            () = self.live(folder.clone()) => {}
            () = self.report_always(start, &mut written) => {}
        }
        self.state.send_modify(|state| state.ended = true);
        if !self.is_gone() {
            tokio::select! {
                () = self.finish(start, written) => {}
                () = self.gone() => {}
            }
        }
        fs::remove_dir_all(folder).ok();
    }

    async fn live(&self, folder: PathBuf) {
        let plan = match Plan::read(&self.pod, self.ip) {
            Ok(plan) => plan,
            Err(what) => {
                self.state.send_modify(|state| state.refused = Some(what));
                return self.told_to_end().await;
            }
        };
        let credentials = Arc::new(Credentials::new(folder, &self.pod, plan.volumes.clone()));
        let mut apps = Group::default();
        let mut sidecars = Vec::new();
        tokio::select! {
            () = self.told_to_end() => {}
            () = async {
                self.write(&credentials).await;
                self.start(&plan, &credentials, &mut apps, &mut sidecars).await;
                loop {
                    timeout(credentials.renew_after(), self.rotate.notified())
                        .await
                        .ok();
                    self.write(&credentials).await;
                }
            } => {}
        }
        apps.end().await;
        for sidecar in sidecars.into_iter().rev() {
            sidecar.end().await;
        }
    }

    async fn write(&self, credentials: &Credentials) {
        let (plane, proxy) = (&self.node.plane, self.node.proxy.as_deref());
        while let Err(error) = credentials.write(&self.client, plane, proxy).await {
            tracing::debug!(%error, "cannot write a pod's token yet");
            sleep(RETRY).await;
        }
    }

    /// Starts the sidecars one after another, each when the one before has started, then the rest.
    async fn start(
        &self,
        plan: &Plan,
        credentials: &Credentials,
        apps: &mut Group,
        sidecars: &mut Vec<Group>,
    ) {
        let place = Place {
            rig: self.node.rig.clone(),
            address: self.node.loopback.behind(self.ip),
            state: self.state.clone(),
            ending: self.ending.clone(),
            grace: plan.grace,
            first_restart: self.node.options.first_restart,
        };
        for container in &plan.sidecars {
            let mut group = Group::default();
            let running = self.container(container, &place, credentials, group.stop.clone());
            group.tasks.spawn(running.run());
            sidecars.push(group);
            let mut state = self.state.subscribe();
            state
                .wait_for(|state| state.started(&container.name))
                .await
                .ok();
        }
        for container in &plan.apps {
            let running = self.container(container, &place, credentials, apps.stop.clone());
            apps.tasks.spawn(running.run());
        }
    }

    fn container(
        &self,
        plan: &ContainerPlan,
        place: &Place,
        credentials: &Credentials,
        stop: CancellationToken,
    ) -> Container {
        let meta = &self.pod.metadata;
        let (name, namespace) = (meta.name.as_deref(), meta.namespace.as_deref());
        let (name, namespace) = (name.unwrap_or_default(), namespace.unwrap_or_default());
        let (program, mut env) = program(&self.node.programs, plan, place.address);
        env.push(("HOSTNAME".to_owned(), name.to_owned()));
        if let Some(volume) = &plan.token_volume {
            let kubeconfig = credentials.kubeconfig(volume).display().to_string();
            env.push(("KUBECONFIG".to_owned(), kubeconfig));
        }
        Container {
            plan: plan.clone(),
            program,
            env,
            log: log_path(&self.node.logs, namespace, name, &self.uid, &plan.name),
            place: place.clone(),
            stop,
        }
    }

    async fn told_to_end(&self) {
        let mut ending = self.ending.clone();
        ending.wait_for(Option::is_some).await.ok();
        let mut state = self.state.subscribe();
        state.wait_for(|state| !state.frozen).await.ok();
    }

    fn is_gone(&self) -> bool {
        self.ending.borrow().is_some_and(|ending| ending.gone)
    }

    async fn gone(&self) {
        let mut ending = self.ending.clone();
        let gone = |ending: &Option<Ending>| ending.is_some_and(|ending| ending.gone);
        ending.wait_for(gone).await.ok();
    }

    /// Writes the status whenever it has changed.
    async fn report_always(&self, start: Timestamp, written: &mut Option<PodStatus>) {
        let mut changes = self.state.subscribe();
        loop {
            if !changes.borrow_and_update().frozen && !self.is_gone() {
                self.report(start, written).await;
            }
            if changes.changed().await.is_err() {
                return;
            }
        }
    }

    /// Writes the status as it is now, unless it is written, until that has succeeded.
    async fn report(&self, start: Timestamp, written: &mut Option<PodStatus>) {
        loop {
            let state = self.state.borrow().clone();
            let new = status::render(&self.pod, &state, self.ip, start, written.as_ref());
            if written.as_ref() == Some(&new) {
                return;
            }
            let patch = Patch::Strategic(json!({"metadata": {"uid": self.uid}, "status": new}));
            let name = self.pod.metadata.name.as_deref().unwrap_or_default();
            let pods = self.pods();
            let params = PatchParams::default();
            let sent = pods.patch_status(name, &params, &patch);
            match timeout(Duration::from_secs(5), sent).await {
                Ok(Ok(_)) => *written = Some(new),
                Ok(Err(kube::Error::Api(status))) if [404, 409, 422].contains(&status.code) => {
                    tracing::debug!(pod = name, error = %status, "status refused");
                    return;
                }
                _ => sleep(RETRY).await,
            }
        }
    }

    /// Writes the last status and deletes the object.
    async fn finish(&self, start: Timestamp, mut written: Option<PodStatus>) {
        self.report(start, &mut written).await;
        let name = self.pod.metadata.name.as_deref().unwrap_or_default();
        let params = DeleteParams::default()
            .grace_period(0)
            .preconditions(Preconditions {
                uid: Some(self.uid.clone()),
                resource_version: None,
            });
        while let Err(error) = self.pods().delete(name, &params).await {
            if matches!(&error, kube::Error::Api(status) if [404, 409].contains(&status.code)) {
                return;
            }
            sleep(RETRY).await;
        }
    }

    fn pods(&self) -> Api<Pod> {
        let namespace = self.pod.metadata.namespace.as_deref().unwrap_or_default();
        Api::namespaced(self.client.clone(), namespace)
    }
}

/// The program that plays a container's image, and the variables that tell it where to listen.
fn program(
    programs: &Programs,
    plan: &ContainerPlan,
    address: Ipv4Addr,
) -> (PathBuf, Vec<(String, String)>) {
    let variable = |name: &str, port: u16| (name.to_owned(), format!("{address}:{port}"));
    let first = plan.ports.first().map(|(_, number)| *number);
    match image_name(&plan.image) {
        "service-leader-election/sidecar" => {
            const LISTEN: &str = "SERVICE_LEADER_ELECTION_LISTEN";
            let own = plan.env.iter().find(|(name, _)| name == LISTEN);
            let own = own.and_then(|(_, value)| value.rsplit(':').next()?.parse().ok());
            let port = own.or(first).unwrap_or(28086);
            (programs.sidecar.clone(), vec![variable(LISTEN, port)])
        }
        "service-leader-election/webhook" => {
            let https = plan.port("https").unwrap_or(8443);
            let metrics = plan.port("metrics").unwrap_or(8080);
            let env = vec![
                variable("SERVICE_LEADER_ELECTION_WEBHOOK_LISTEN", https),
                variable("SERVICE_LEADER_ELECTION_WEBHOOK_METRICS_LISTEN", metrics),
            ];
            (programs.webhook.clone(), env)
        }
        _ => {
            let mut ports: Vec<u16> = plan.ports.iter().map(|(_, number)| *number).collect();
            if ports.is_empty() {
                ports.push(8080);
            }
            let listen: Vec<_> = ports
                .iter()
                .map(|port| format!("{address}:{port}"))
                .collect();
            let env = vec![("TESTCLUSTER_LISTEN".to_owned(), listen.join(","))];
            (programs.app.clone(), env)
        }
    }
}

/// The last two segments of an image's path, without tag and digest.
fn image_name(image: &str) -> &str {
    let image = image.split_once('@').map_or(image, |(name, _)| name);
    let begin = image
        .match_indices('/')
        .rev()
        .nth(1)
        .map_or(0, |(at, _)| at + 1);
    let name = image.get(begin..).unwrap_or(image);
    name.rsplit_once(':').map_or(name, |(name, _)| name)
}

impl Ending {
    /// Ends `grace` from now.
    pub(super) fn within(grace: Duration) -> Self {
        Self {
            kill_at: Instant::now() + grace,
            gone: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::image_name;

    #[test]
    fn an_image_is_known_by_its_last_two_segments() {
        for image in [
            "a/b",
            "a/b:v1",
            "registry.example:5000/a/b:v1",
            "example.org/x/a/b@sha256:00",
        ] {
            assert_eq!(image_name(image), "a/b", "{image}");
        }
        assert_eq!(image_name("nginx:1"), "nginx");
    }
}
