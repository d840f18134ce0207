//! A real etcd, kube-apiserver and kube-controller-manager, on loopback addresses of their own.
//!
//! Must not know: pods, Services, what the cluster is for.

use std::{
    fs::{self, File},
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use certs::{Authority, Pair, Validity};
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use serde_json::{Value, json};
use tokio::{
    process::Child,
    sync::Mutex,
    time::{Instant, sleep},
};

use crate::{loopback::Loopback, reaper, surroundings, tools::Tool};

/// How long a daemon may take to become ready on a busy machine.
const READY_WITHIN: Duration = Duration::from_mins(2);

const AUDIT_POLICY: &str = r#"{"apiVersion": "audit.k8s.io/v1", "kind": "Policy",
 "omitStages": ["RequestReceived"], "rules": [{"level": "Metadata"}]}"#;

/// Controllers that evict pods from nodes without a heartbeat: the process node has none.
const CONTROLLERS: &str = "--controllers=*,-node-lifecycle-controller,\
                           -pod-garbage-collector-controller,-taint-eviction-controller";

#[derive(Debug)]
struct Daemon {
    name: &'static str,
    child: Child,
    log: PathBuf,
}

impl Daemon {
    fn start(rig: &Path, name: &'static str, program: &Path, arguments: &[String]) -> Result<Self> {
        let log = rig.join(format!("{name}.log"));
        let file = File::options().create(true).append(true).open(&log)?;
        let child = reaper::command(program, rig)
            .args(arguments)
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        Ok(Self { name, child, log })
    }

    fn check_alive(&mut self) -> Result<()> {
        let Some(status) = self.child.try_wait()? else {
            return Ok(());
        };
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let tail = lines.get(lines.len().saturating_sub(15)..).unwrap_or(&[]);
        bail!("{} ended ({status}):\n{}", self.name, tail.join("\n"));
    }
}

/// The running control plane. It ends when the rig's processes are killed.
#[derive(Debug)]
pub(crate) struct ControlPlane {
    rig: PathBuf,
    etcd_address: SocketAddr,
    api_address: SocketAddr,
    kubeconfig: PathBuf,
    authority: String,
    config: Config,
    version: String,
    api_server: Mutex<Option<Daemon>>,
    _others: [Daemon; 2],
}

impl ControlPlane {
    /// Starts everything and waits until the API server answers and makes service accounts.
    pub(crate) async fn start(rig: &Path, loopback: &Loopback) -> Result<Self> {
        let etcd_address = loopback.daemon(1)?;
        let api_address = loopback.daemon(2)?;
        let authority = write_certificates(rig, api_address)?;
        let kubeconfig = rig.join("kubeconfig");
        let admin = json!({
            "client-certificate": rig.join("admin.crt"),
            "client-key": rig.join("admin.key"),
        });
        fs::write(
            &kubeconfig,
            render_kubeconfig(
                &format!("https://{api_address}"),
                &authority,
                "default",
                &admin,
            ),
        )?;
        fs::write(rig.join("audit-policy.json"), AUDIT_POLICY)?;
        fs::write(rig.join("audit.log"), "")?;

        let etcd = start_etcd(rig, etcd_address, loopback.daemon(1)?).await?;
        let mut api_server = start_api_server(rig, api_address, etcd_address).await?;
        let kube = Kubeconfig::read_from(&kubeconfig)?;
        let mut config =
            Config::from_custom_kubeconfig(kube, &KubeConfigOptions::default()).await?;
        config.default_retry = false;
        let client = Client::try_from(config.clone())?;
        wait_ready(&mut api_server, &client).await?;
        let controllers = start_controllers(rig, &kubeconfig).await?;
        let version = client.apiserver_version().await?.git_version;
        Ok(Self {
            rig: rig.to_owned(),
            etcd_address,
            api_address,
            kubeconfig,
            authority,
            config,
            version,
            api_server: Mutex::new(Some(api_server)),
            _others: [etcd, controllers],
        })
    }

    /// A configuration of the administrator, without retries.
    pub(crate) fn config(&self) -> Config {
        self.config.clone()
    }

    pub(crate) fn client(&self) -> Result<Client> {
        Ok(Client::try_from(self.config())?)
    }

    pub(crate) fn etcd(&self) -> SocketAddr {
        self.etcd_address
    }

    pub(crate) fn version(&self) -> &str {
        &self.version
    }

    pub(crate) fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// A kubeconfig's text for this API server, or for a proxy before it.
    pub(crate) fn render_kubeconfig(
        &self,
        proxy: Option<String>,
        namespace: &str,
        user: &Value,
    ) -> String {
        let server = proxy.unwrap_or_else(|| format!("https://{}", self.api_address));
        render_kubeconfig(&server, &self.authority, namespace, user)
    }

    /// The authority's certificate, PEM.
    pub(crate) fn authority(&self) -> &str {
        &self.authority
    }

    pub(crate) fn audit_log(&self) -> PathBuf {
        self.rig.join("audit.log")
    }

    /// Kills the API server. Its data stay.
    pub(crate) async fn stop_api_server(self: Arc<Self>) -> Result<()> {
        if let Some(mut daemon) = self.api_server.lock().await.take() {
            daemon.child.kill().await?;
        }
        Ok(())
    }

    /// Starts it again on the same address, and waits until it is ready.
    pub(crate) async fn start_api_server(self: Arc<Self>) -> Result<()> {
        let mut slot = self.api_server.lock().await;
        if slot.is_none() {
            let daemon = start_api_server(&self.rig, self.api_address, self.etcd_address).await?;
            let daemon = slot.insert(daemon);
            wait_ready(daemon, &self.client()?).await?;
        }
        Ok(())
    }
}

/// Makes every certificate of the cluster and returns the authority's, PEM.
fn write_certificates(rig: &Path, api_address: SocketAddr) -> Result<String> {
    let validity = Validity::starting(surroundings::now(), Duration::from_hours(24));
    let authority = Authority::new("testcluster", validity)?;
    let write = |name: &str, pair: &Pair| -> Result<()> {
        fs::write(rig.join(format!("{name}.crt")), &pair.certificate)?;
        fs::write(rig.join(format!("{name}.key")), &pair.key)?;
        Ok(())
    };
    let ip = api_address.ip().to_string();
    let names = [
        ip.as_str(),
        "localhost",
        "kubernetes.default.svc",
        "10.96.0.1",
    ];
    write("ca", authority.pair())?;
    write(
        "api",
        &authority.server("kube-apiserver", &names, validity)?,
    )?;
    let admin = authority.client("admin", Some("system:masters"), validity)?;
    write("admin", &admin)?;
    // Only its key is used: it signs service account tokens.
    write("tokens", &authority.client("tokens", None, validity)?)?;
    Ok(authority.pair().certificate.clone())
}

fn render_kubeconfig(server: &str, authority: &str, namespace: &str, user: &Value) -> String {
    json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "testcluster",
        "contexts": [{"name": "testcluster", "context": {
            "cluster": "testcluster", "user": "testcluster", "namespace": namespace,
        }}],
        "clusters": [{"name": "testcluster", "cluster": {
            "server": server,
            "certificate-authority-data": BASE64_STANDARD.encode(authority),
        }}],
        "users": [{"name": "testcluster", "user": user}],
    })
    .to_string()
}

async fn start_etcd(rig: &Path, clients: SocketAddr, peers: SocketAddr) -> Result<Daemon> {
    let arguments = [
        format!("--data-dir={}", rig.join("etcd").display()),
        format!("--listen-client-urls=http://{clients}"),
        format!("--advertise-client-urls=http://{clients}"),
        format!("--listen-peer-urls=http://{peers}"),
        format!("--initial-advertise-peer-urls=http://{peers}"),
        format!("--initial-cluster=default=http://{peers}"),
        "--unsafe-no-fsync".to_owned(),
        "--log-level=warn".to_owned(),
    ];
    Daemon::start(rig, "etcd", &Tool::Etcd.path().await?, &arguments)
}

async fn start_api_server(rig: &Path, address: SocketAddr, etcd: SocketAddr) -> Result<Daemon> {
    let file = |flag: &str, name: &str| format!("--{flag}={}", rig.join(name).display());
    let arguments = [
        format!("--etcd-servers=http://{etcd}"),
        // So that the recorder can read the store itself, past this server's outages.
        "--storage-media-type=application/json".to_owned(),
        format!("--bind-address={}", address.ip()),
        format!("--advertise-address={}", address.ip()),
        format!("--secure-port={}", address.port()),
        "--endpoint-reconciler-type=none".to_owned(),
        file("tls-cert-file", "api.crt"),
        file("tls-private-key-file", "api.key"),
        file("client-ca-file", "ca.crt"),
        file("service-account-key-file", "tokens.crt"),
        file("service-account-signing-key-file", "tokens.key"),
        "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
        "--authorization-mode=Node,RBAC".to_owned(),
        // Off by default, save in OpenShift.
        "--enable-admission-plugins=OwnerReferencesPermissionEnforcement".to_owned(),
        "--service-cluster-ip-range=10.96.0.0/16".to_owned(),
        "--allow-privileged=true".to_owned(),
        file("audit-policy-file", "audit-policy.json"),
        file("audit-log-path", "audit.log"),
        "--audit-log-maxsize=1000".to_owned(),
    ];
    Daemon::start(
        rig,
        "kube-apiserver",
        &Tool::ApiServer.path().await?,
        &arguments,
    )
}

async fn start_controllers(rig: &Path, kubeconfig: &Path) -> Result<Daemon> {
    let arguments = [
        format!("--kubeconfig={}", kubeconfig.display()),
        format!(
            "--service-account-private-key-file={}",
            rig.join("tokens.key").display()
        ),
        format!("--root-ca-file={}", rig.join("ca.crt").display()),
        "--use-service-account-credentials=true".to_owned(),
        "--leader-elect=false".to_owned(),
        "--secure-port=0".to_owned(),
        "--kube-api-qps=300".to_owned(),
        "--kube-api-burst=600".to_owned(),
        CONTROLLERS.to_owned(),
    ];
    let program = Tool::ControllerManager.path().await?;
    Daemon::start(rig, "kube-controller-manager", &program, &arguments)
}

async fn wait_ready(daemon: &mut Daemon, client: &Client) -> Result<()> {
    let deadline = Instant::now() + READY_WITHIN;
    loop {
        daemon.check_alive()?;
        let request = hyper::Request::get("/readyz").body(Vec::new())?;
        match client.request_text(request).await {
            Ok(_) => return Ok(()),
            Err(error) if Instant::now() > deadline => {
                return Err(error).context("kube-apiserver does not become ready");
            }
            Err(_) => sleep(Duration::from_millis(50)).await,
        }
    }
}
