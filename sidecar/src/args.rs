//! The flags, each with an environment variable of the same meaning, and the Go original's
//! spelling of them.

use std::ffi::OsString;
use std::net::{Ipv6Addr, SocketAddr};
use std::sync::Arc;

use anyhow::Context as _;
use clap::{CommandFactory as _, Parser};
use contract::{
    names::{self, env},
    wording::in_one_line,
};
use election::{PodName, PodUid, Timing};
use futures::Stream;
use tokio::signal::unix::{SignalKind, signal};

use crate::clock::System;
use crate::log::{self, Format, Level};
use crate::run::{Settings, run};

const ANYWHERE: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V6(Ipv6Addr::UNSPECIFIED), names::PORT);

/// Labels its pod, takes part in an election, and keeps the Service at the leader.
#[derive(Debug, Parser)]
#[command(name = "service-leader-election-sidecar", version)]
pub struct Args {
    /// The Service whose traffic must reach one pod only, or several separated by commas
    #[arg(long, env = env::SERVICE, value_name = "NAME", value_parser = services)]
    service_name: Services,
    /// The Lease of the election [default: service-leader-election- and the first Service's name]
    #[arg(long, env = env::LEASE, value_name = "NAME", value_parser = object_name_or_none)]
    lease_name: Option<Name>,
    /// The namespace of all [default: the service account's or the kubeconfig's]
    #[arg(long, env = env::POD_NAMESPACE, value_name = "NAME", value_parser = object_name_or_none)]
    namespace: Option<Name>,
    /// This pod's name (fieldRef metadata.name)
    #[arg(long, env = env::POD_NAME, value_name = "NAME", value_parser = PodName::parse)]
    pod_name: PodName,
    /// This pod's UID (fieldRef metadata.uid) [default: looked up]
    #[arg(long, env = env::POD_UID, value_name = "UID", default_value = "", hide_default_value = true)]
    pod_uid: String,
    /// The lease's length in seconds, 5 to 300: who takes over after a lost node waits so long
    #[arg(long, env = env::LEASE_DURATION, value_name = "SECONDS", default_value = "12", value_parser = timing)]
    lease_duration: Timing,
    /// The container whose readiness counts [default: the whole pod's]
    #[arg(long, env = env::CONTAINER, value_name = "NAME", default_value = "", hide_default_value = true)]
    container: String,
    /// Where the status endpoint listens
    #[arg(long, env = env::LISTEN, value_name = "ADDRESS:PORT", default_value_t = ANYWHERE)]
    listen: SocketAddr,
    /// The application's own port on 127.0.0.1: POST /promote once it leads, POST /demote before it hands over [default: nobody is told]
    #[arg(long, env = env::NOTIFY_PORT, value_name = "PORT", value_parser = port_or_none, default_value = "", hide_default_value = true)]
    notify_port: NotifyPort,
    /// How much is logged
    #[arg(long, env = env::LOG_LEVEL, value_enum, default_value_t = Level::Info)]
    log_level: Level,
    /// How it is logged [default: text on a terminal, json elsewhere]
    #[arg(long, env = env::LOG_FORMAT, value_enum)]
    log_format: Option<Format>,
}

/// The Services, each once, in name order.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Services(Vec<String>);

/// A name; `None` where it is empty, as an environment variable may be.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Name(Option<String>);

/// A port; `None` where it is empty, as an environment variable may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct NotifyPort(Option<u16>);

fn port_or_none(text: &str) -> Result<NotifyPort, String> {
    if text.is_empty() {
        return Ok(NotifyPort(None));
    }
    let port = text.parse().ok().filter(|port| *port > 0);
    let port = port.ok_or("write a port number from 1 to 65535")?;
    Ok(NotifyPort(Some(port)))
}

impl Args {
    /// Reads the command line and the environment; ends the process where they make no sense.
    #[must_use]
    pub fn read() -> Self {
        Self::parse_from(normalise(std::env::args_os()))
    }

    /// Takes part in the election until the process is told to end, and logs why it ends otherwise.
    pub async fn run(self) -> anyhow::Result<()> {
        log::start(self.log_level, self.log_format);
        self.take_part().await.inspect_err(|error| {
            tracing::error!(error = in_one_line(error.as_ref()), "ended");
        })
    }

    async fn take_part(self) -> anyhow::Result<()> {
        let Self {
            service_name: Services(services),
            lease_name,
            namespace,
            pod_name,
            pod_uid,
            lease_duration,
            container,
            listen,
            notify_port: NotifyPort(notify_port),
            log_level: _,
            log_format: _,
        } = self;
        let stop = signals().context("cannot listen for signals")?;
        let cluster = kube::Config::infer().await.context(
            "found neither a kubeconfig nor a service account: mount the service account's token, \
             or set KUBECONFIG",
        )?;
        let lease = lease_name.and_then(|name| name.0);
        let settings = Settings {
            namespace: namespace
                .and_then(|name| name.0)
                .unwrap_or_else(|| cluster.default_namespace.clone()),
            lease: lease.unwrap_or_else(|| {
                names::default_name(services.first().map_or("", String::as_str))
            }),
            cluster,
            pod: pod_name,
            uid: Some(pod_uid)
                .filter(|uid| !uid.is_empty())
                .map(|uid| PodUid::new(&uid)),
            services,
            timing: lease_duration,
            container: Some(container).filter(|container| !container.is_empty()),
            listen,
            notify_port,
            time: Arc::new(System),
        };
        run(settings, stop).await?;
        Ok(())
    }
}

/// Yields at each SIGTERM and SIGINT.
fn signals() -> std::io::Result<impl Stream<Item = ()> + Unpin> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(futures::stream::poll_fn(move |cx| {
        let signalled = terminate.poll_recv(cx).is_ready() || interrupt.poll_recv(cx).is_ready();
        if signalled {
            std::task::Poll::Ready(Some(()))
        } else {
            std::task::Poll::Pending
        }
    }))
}

/// The Go original wrote flags with one dash: `-lease-name=x` and `-lease-name x`.
fn normalise(words: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let command = Args::command();
    let flags: Vec<&str> = command
        .get_arguments()
        .filter_map(clap::Arg::get_long)
        .collect();
    words.map(|word| with_two_dashes(&flags, word)).collect()
}

fn with_two_dashes(flags: &[&str], word: OsString) -> OsString {
    let text = word.to_str().and_then(|text| text.strip_prefix('-'));
    let flag = text.map(|text| text.split('=').next().unwrap_or(text));
    match (text, flag) {
        (Some(text), Some(flag)) if flags.contains(&flag) || flag == "version" => {
            format!("--{text}").into()
        }
        _ => word,
    }
}

fn services(text: &str) -> Result<Services, String> {
    let mut names: Vec<String> = text
        .split(',')
        .map(str::trim)
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect();
    if names.is_empty() {
        return Err("name the Service whose traffic must reach one pod only".to_owned());
    }
    for name in &names {
        object_name(name)?;
    }
    names.sort_unstable();
    names.dedup();
    Ok(Services(names))
}

fn object_name_or_none(text: &str) -> Result<Name, String> {
    if text.is_empty() {
        return Ok(Name(None));
    }
    object_name(text)?;
    Ok(Name(Some(text.to_owned())))
}

/// What Kubernetes takes as a name (RFC 1123).
fn object_name(name: &str) -> Result<(), String> {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let ends = |b: Option<&u8>| b.is_some_and(|b| inner(*b));
    let bytes = name.as_bytes();
    let good = bytes.len() <= 253
        && ends(bytes.first())
        && ends(bytes.last())
        && bytes.iter().all(|b| inner(*b) || matches!(b, b'-' | b'.'));
    if good {
        return Ok(());
    }
    Err(format!(
        "{name:?} can be no object's name: use a-z, 0-9, '-' and '.', and begin and end with a \
         letter or a digit"
    ))
}

fn timing(text: &str) -> Result<Timing, String> {
    let seconds = text
        .trim()
        .trim_end_matches('s')
        .parse()
        .map_err(|_| format!("{text:?} is no number of seconds: choose 5 to 300"))?;
    Timing::from_seconds(seconds).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use testcluster::troubleshooting::documented;

    use super::*;

    fn parse(words: &[&str]) -> Result<Args, clap::Error> {
        let words = ["sidecar"].iter().chain(words).map(OsString::from);
        Args::try_parse_from(normalise(words))
    }

    #[test]
    fn the_flags_make_a_valid_command() {
        Args::command().debug_assert();
    }

    #[test]
    fn the_go_originals_spelling_is_taken() {
        for words in [
            ["-lease-name=l", "-service-name=s", "--pod-name=p"].as_slice(),
            &["-lease-name", "l", "-service-name", "s", "-pod-name", "p"],
            &["--lease-name", "l", "--service-name=s", "--pod-name", "p"],
        ] {
            let args = parse(words).unwrap();
            assert_eq!(args.lease_name, Some(Name(Some("l".to_owned()))));
            assert_eq!(args.service_name, Services(vec!["s".to_owned()]));
        }
    }

    #[test]
    fn a_value_is_not_taken_for_a_flag() {
        let flags = ["listen"];
        for word in ["-1", "-x", "-listener", "listen", "--listen=x", "-"] {
            assert_eq!(with_two_dashes(&flags, word.into()), OsString::from(word));
        }
    }

    #[test]
    fn services_are_sorted_and_each_is_named_once() {
        let args = parse(&["--service-name=web, admin,web,", "--pod-name=p"]).unwrap();
        assert_eq!(
            args.service_name,
            Services(vec!["admin".to_owned(), "web".to_owned()])
        );
    }

    #[test]
    fn a_bad_value_is_explained_on_a_page() {
        let said = |words: &[&str]| parse(words).unwrap_err().to_string();
        let long = said(&["--service-name=web", "--pod-name=p", "--lease-duration=301"]);
        documented("flag-lease-duration", &long).unwrap();
        let service = said(&["--service-name=We_b", "--pod-name=p"]);
        documented("flag-service-name", &service).unwrap();
        let pod = said(&["--service-name=web", "--pod-name=P"]);
        documented("flag-pod-name", &pod).unwrap();
    }

    #[test]
    fn a_bad_value_is_answered_with_what_to_do() {
        for (words, advice) in [
            (
                ["--service-name=web", "--pod-name=p", "--lease-duration=4"],
                "choose 5 to 300",
            ),
            (
                ["--service-name=web", "--pod-name=p", "--lease-duration=x"],
                "choose 5 to 300",
            ),
            (
                ["--service-name=,", "--pod-name=p", "--lease-name="],
                "name the Service",
            ),
            (
                ["--service-name=We_b", "--pod-name=p", "--lease-name="],
                "use a-z",
            ),
            (
                ["--service-name=web", "--pod-name=P", "--lease-name="],
                "shorten the name",
            ),
        ] {
            let error = parse(&words).unwrap_err().to_string();
            assert!(error.contains(advice), "{words:?}: {error}");
        }
    }
}
