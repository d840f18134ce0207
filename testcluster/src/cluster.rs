//! The rig as a whole: one control plane, one process node, and what tests do with them.

use std::{
    fs,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use kube::{Api, Client, api::PostParams};
use serde_json::json;
use tokio::{
    io::AsyncWriteExt as _,
    runtime::{Builder, Handle, Runtime},
    time::{Instant, sleep},
};

use crate::{
    control_plane::ControlPlane,
    faults::{Faults, Proxy},
    forwarder::Forwarder,
    loopback::Loopback,
    node::{self, Node},
    programs::{programs, workspace},
    reaper::{self, Reaper},
    record::Recorder,
    tools::Tool,
};

/// What a test may want otherwise.
#[derive(Debug, Clone)]
pub struct Options {
    /// How long the processes of a force-deleted pod may live on. As with kubelet, by default the
    /// pod's `terminationGracePeriodSeconds`.
    pub force_deleted_grace: Option<Duration>,
    /// How long after its first end a container is started again; 10 s, 20 s, ... after its later
    /// ones.
    pub first_restart: Duration,
    /// The sidecar to run in place of the one that is built for tests.
    pub sidecar: Option<PathBuf>,
    /// The webhook to run in place of the one that is built for tests.
    pub webhook: Option<PathBuf>,
    /// Whether the pods reach the API server through a proxy that can do harm: [`Cluster::faults`].
    pub faults: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            force_deleted_grace: None,
            first_restart: Duration::from_secs(1),
            sidecar: None,
            webhook: None,
            faults: false,
        }
    }
}

/// What a command has written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// Its standard output.
    pub stdout: String,
    /// Its standard error: warnings, too.
    pub stderr: String,
}

/// A running cluster. Its tasks run on a runtime of its own, so that it may be shared by tests
/// that have one each. When it is dropped, or its process ends in whatever way, its processes are
/// killed and its folder is removed.
#[derive(Debug)]
pub struct Cluster {
    // Dropped in this order: no task may start a process behind the reaper's back.
    runtime: OwnRuntime,
    _reaper: Reaper,
    folder: PathBuf,
    plane: Arc<ControlPlane>,
    proxy: Option<Arc<Proxy>>,
    loopback: Arc<Loopback>,
    node: Node,
}

#[derive(Debug)]
struct OwnRuntime(Option<Runtime>);

impl Drop for OwnRuntime {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            // A runtime must not be waited for inside another one's tasks: hence the thread.
            let end = move || runtime.shutdown_timeout(Duration::from_secs(5));
            if thread::spawn(end).join().is_err() {
                tracing::warn!("the rig's runtime panicked");
            }
        }
    }
}

impl OwnRuntime {
    fn handle(&self) -> Result<&Handle> {
        let runtime = self.0.as_ref().context("the rig has ended")?;
        Ok(runtime.handle())
    }

    /// Runs work on this runtime, whichever one waits for it.
    async fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        self.handle()?.spawn(work).await?
    }
}

impl Cluster {
    /// Starts a cluster; builds first what is not built yet.
    pub async fn start(options: Options) -> Result<Self> {
        let mut programs = programs().await?.clone();
        programs.sidecar = options.sidecar.clone().unwrap_or(programs.sidecar);
        programs.webhook = options.webhook.clone().unwrap_or(programs.webhook);
        let folder = reaper::folder();
        let reaper = Reaper::start(&programs.reaper, &folder)?;
        fs::DirBuilder::new().mode(0o700).create(&folder)?;
        let runtime = OwnRuntime(Some(
            Builder::new_multi_thread()
                .worker_threads(2)
                .thread_name("testcluster")
                .enable_all()
                .build()?,
        ));
        let loopback = Arc::new(Loopback::claim()?);
        let rig = folder.clone();
        let range = Arc::clone(&loopback);
        let started = runtime.run(async move {
            let plane = Arc::new(ControlPlane::start(&rig, &range).await?);
            let proxy = if options.faults {
                Some(Arc::new(Proxy::start(plane.config()).await?))
            } else {
                None
            };
            let (to, through) = (Arc::clone(&plane), proxy.clone());
            let node = Node::start(to, through, range, programs, rig, options).await?;
            wait_for_account(&plane.client()?, "default").await?;
            Ok((plane, proxy, node))
        });
        let (plane, proxy, node) = started.await?;
        Ok(Self {
            runtime,
            _reaper: reaper,
            folder,
            plane,
            proxy,
            loopback,
            node,
        })
    }

    /// A new client of the administrator, without retries, for the runtime that calls.
    pub fn client(&self) -> Result<Client> {
        self.plane.client()
    }

    /// A new client that acts as a service account.
    pub fn client_for(&self, namespace: &str, account: &str) -> Result<Client> {
        let mut config = self.plane.config();
        let user = format!("system:serviceaccount:{namespace}:{account}");
        config.auth_info.impersonate = Some(user);
        Ok(Client::try_from(config)?)
    }

    /// A new client with a bearer token of somebody's.
    pub fn client_with_token(&self, token: &str) -> Result<Client> {
        let mut config = self.plane.config();
        config.auth_info = kube::config::AuthInfo {
            token: Some(token.to_owned().into()),
            ..kube::config::AuthInfo::default()
        };
        Ok(Client::try_from(config)?)
    }

    /// The administrator's kubeconfig.
    pub fn kubeconfig(&self) -> &Path {
        self.plane.kubeconfig()
    }

    /// The API server's version, as it says itself.
    pub fn version(&self) -> &str {
        self.plane.version()
    }

    /// The API server's audit log, level Metadata, one JSON object per line and request.
    pub fn audit_log(&self) -> PathBuf {
        self.plane.audit_log()
    }

    /// The rig's folder: kubeconfig, logs and data.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The node that plays the pods.
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// What may be done to the requests of a namespace's pods. Only where [`Options::faults`] is set.
    pub fn faults(&self, namespace: &str) -> Result<Faults> {
        let proxy = self.proxy.as_ref();
        let proxy = proxy.context("the cluster was started without Options::faults")?;
        Ok(proxy.faults(namespace))
    }

    /// Registers one more node, if it is not there yet. The same process plays its pods.
    pub async fn add_node(&self, name: &str) -> Result<()> {
        let plane = Arc::clone(&self.plane);
        let name = name.to_owned();
        let added = async move { node::register(&plane.client()?, &name).await };
        self.runtime.run(added).await
    }

    /// Kills the API server; everything else goes on.
    pub async fn stop_api_server(&self) -> Result<()> {
        self.runtime
            .run(Arc::clone(&self.plane).stop_api_server())
            .await
    }

    /// Starts the API server again, on the same address and with the same data, and waits until it
    /// is ready.
    pub async fn start_api_server(&self) -> Result<()> {
        self.runtime
            .run(Arc::clone(&self.plane).start_api_server())
            .await
    }

    /// Makes a namespace whose name begins with `prefix`, and waits until pods may start in it.
    pub async fn namespace(&self, prefix: &str) -> Result<String> {
        let plane = Arc::clone(&self.plane);
        let prefix = format!("{prefix}-");
        let made = self.runtime.run(async move {
            let client = plane.client()?;
            let namespaces: Api<Namespace> = Api::all(client.clone());
            let namespace = serde_json::from_value(json!({"metadata": {"generateName": prefix}}))?;
            let made = namespaces
                .create(&PostParams::default(), &namespace)
                .await?;
            let name = made.metadata.name.context("a namespace without a name")?;
            wait_for_account(&client, &name).await?;
            Ok(name)
        });
        made.await
    }

    /// A proxy for one port of a Service, which need not exist yet.
    pub async fn forward(&self, namespace: &str, service: &str, port: u16) -> Result<Forwarder> {
        let plane = Arc::clone(&self.plane);
        let loopback = Arc::clone(&self.loopback);
        let (namespace, service) = (namespace.to_owned(), service.to_owned());
        let started = self.runtime.run(async move {
            Forwarder::start(plane.client()?, loopback, &namespace, &service, port).await
        });
        started.await
    }

    /// Records every revision of the Services, Leases and pods of a namespace, from now on.
    pub async fn record(&self, namespace: &str) -> Result<Recorder> {
        let etcd = self.plane.etcd();
        let namespace = namespace.to_owned();
        let started = async move { Recorder::start(etcd, &namespace).await };
        self.runtime.run(started).await
    }

    /// Runs kubectl as the administrator.
    pub async fn kubectl(&self, arguments: &[&str]) -> Result<Output> {
        self.command(Tool::Kubectl, arguments, "").await
    }

    /// Runs kubectl as the administrator, with text on its standard input: `-f -`.
    pub async fn kubectl_stdin(&self, arguments: &[&str], input: &str) -> Result<Output> {
        self.command(Tool::Kubectl, arguments, input).await
    }

    /// Runs helm as the administrator.
    pub async fn helm(&self, arguments: &[&str]) -> Result<Output> {
        self.command(Tool::Helm, arguments, "").await
    }

    /// Installs this product's chart with Helm, and waits until its pods are ready. The webhook is
    /// called at the returned forwarder, which must outlive it.
    pub async fn install_chart(&self, values: &[(&str, &str)]) -> Result<Forwarder> {
        const RELEASE: &str = "service-leader-election";
        let webhook = format!("{RELEASE}-webhook");
        let forwarder = self.forward(RELEASE, &webhook, 443).await?;
        let chart = workspace()
            .join("charts")
            .join(RELEASE)
            .display()
            .to_string();
        let url = format!("webhook.url=https://{}/mutate", forwarder.address());
        let values: Vec<_> = values
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let mut arguments = vec!["install", RELEASE, &chart, "--namespace", RELEASE];
        arguments.extend(["--create-namespace", "--wait", "--set", &url]);
        for value in &values {
            arguments.extend(["--set", value]);
        }
        self.helm(&arguments).await?;
        Ok(forwarder)
    }

    async fn command(&self, tool: Tool, arguments: &[&str], input: &str) -> Result<Output> {
        let mut command = reaper::command(&tool.path().await?, &self.folder);
        command
            .args(arguments)
            .env("KUBECONFIG", self.kubeconfig())
            .env("HOME", &self.folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let input = input.as_bytes().to_vec();
        let line = format!("{} {}", tool.name(), arguments.join(" "));
        let run = async move {
            let mut child = command.spawn()?;
            let stdin = child.stdin.take();
            let feed = async {
                if let Some(mut stdin) = stdin {
                    // A command that does not read its input is no failure.
                    stdin.write_all(&input).await.ok();
                }
            };
            let ((), output) = tokio::join!(feed, child.wait_with_output());
            Ok(output?)
        };
        let output = self.runtime.run(run).await.with_context(|| line.clone())?;
        let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        if !output.status.success() {
            bail!("{line}: {}\n{stderr}{stdout}", output.status);
        }
        Ok(Output { stdout, stderr })
    }
}

/// Pods are refused until their namespace has this account.
async fn wait_for_account(client: &Client, namespace: &str) -> Result<()> {
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), namespace);
    let deadline = Instant::now() + Duration::from_mins(1);
    while accounts.get_opt("default").await?.is_none() {
        if Instant::now() > deadline {
            bail!("namespace {namespace} gets no default service account");
        }
        sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}
