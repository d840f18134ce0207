//! What a Secret's certificates come to: serve them, or write these instead. Pure.
//!
//! Must not know: how a Secret is read or written.

use std::time::{Duration, SystemTime};

use base64::{Engine, engine::general_purpose::STANDARD};
use certs::{
    Authority, Identity, Pair, Validity,
    issue::IssueError,
    load::{renew_at, still_valid},
};
use serde_json::{Map, Value};

const DAY: Duration = Duration::from_hours(24);
/// How long an authority lives. A new one costs every replica a moment of care.
const AUTHORITY_LIVES: Duration = DAY.saturating_mul(3650);
/// How long a leaf lives; it is replaced after two thirds of it.
const LEAF_LIVES: Duration = DAY.saturating_mul(90);

const CA_CERTIFICATE: &str = "ca.crt";
const CA_KEY: &str = "ca.key";
const CERTIFICATE: &str = "tls.crt";
const KEY: &str = "tls.key";

/// Certificates that are fit to serve.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) identity: Identity,
    /// The authorities that a client must trust, PEM, the newest first.
    pub(super) bundle: String,
    certificate: String,
}

impl Kept {
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.certificate == other.certificate && self.bundle == other.bundle
    }
}

/// What is to be done next.
#[derive(Debug)]
pub(super) enum Next {
    /// They are good.
    Serve(Box<Kept>),
    /// Write this as the Secret's data, and look again.
    Write(Map<String, Value>),
}

/// Judges a Secret's data at `now`.
pub(super) fn judge(secret: &Value, hosts: &[&str], now: SystemTime) -> Result<Next, IssueError> {
    let text = |key| decoded(secret, key).unwrap_or_default();
    let bundle = text(CA_CERTIFICATE);
    let leaf = Pair {
        certificate: text(CERTIFICATE),
        key: text(KEY),
    };
    let authority = authority(&bundle, text(CA_KEY), now);
    if authority.is_some()
        && let Ok(identity) = Identity::load(&leaf)
        && identity.is_valid(now)
        && now < identity.renew_at()
        && identity.covers(hosts.iter().copied())
    {
        let certificate = leaf.certificate;
        return Ok(Next::Serve(Box::new(Kept {
            identity,
            bundle,
            certificate,
        })));
    }
    let (authority, bundle) = if let Some(authority) = authority {
        (authority, bundle)
    } else {
        let validity = Validity::starting(now, AUTHORITY_LIVES);
        let authority = Authority::new("service-leader-election-webhook", validity)?;
        // The old one stays trusted until every replica serves the new.
        let bundle = format!(
            "{}{}",
            authority.pair().certificate,
            still_valid(&bundle, now)
        );
        (authority, bundle)
    };
    let name = hosts
        .first()
        .copied()
        .unwrap_or("service-leader-election-webhook");
    // A common name has at most 64 characters; nobody looks at it, but some refuse a longer one.
    let common_name = if name.len() <= 64 {
        name
    } else {
        "service-leader-election-webhook"
    };
    let leaf = authority.server(common_name, hosts, Validity::starting(now, LEAF_LIVES))?;
    let mut data = Map::new();
    for (key, text) in [
        (CA_CERTIFICATE, &bundle),
        (CA_KEY, &authority.pair().key),
        (CERTIFICATE, &leaf.certificate),
        (KEY, &leaf.key),
    ] {
        data.insert(key.to_owned(), Value::from(STANDARD.encode(text)));
    }
    Ok(Next::Write(data))
}

/// The first authority of the bundle, if it can sign and is in the first two thirds of its life.
fn authority(bundle: &str, key: String, now: SystemTime) -> Option<Authority> {
    if now >= renew_at(bundle).ok()? {
        return None;
    }
    Authority::from_pair(Pair {
        certificate: bundle.to_owned(),
        key,
    })
    .ok()
}

fn decoded(secret: &Value, key: &str) -> Option<String> {
    let text = secret.get("data")?.get(key)?.as_str()?;
    String::from_utf8(STANDARD.decode(text).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const HOSTS: [&str; 2] = ["webhook.ns.svc", "127.0.0.1"];

    fn now() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_hours(500_000)
    }

    fn write(secret: &Value, hosts: &[&str], now: SystemTime) -> Value {
        match judge(secret, hosts, now).unwrap() {
            Next::Write(data) => json!({ "data": data }),
            Next::Serve(_) => panic!("was good"),
        }
    }

    fn serve(secret: &Value, hosts: &[&str], now: SystemTime) -> Kept {
        match judge(secret, hosts, now).unwrap() {
            Next::Serve(kept) => *kept,
            Next::Write(_) => panic!("was not good"),
        }
    }

    #[test]
    fn an_empty_secret_is_filled_and_then_served() {
        let secret = write(&json!({}), &HOSTS, now());
        let kept = serve(&secret, &HOSTS, now());
        assert!(kept.identity.covers(HOSTS));
        assert_eq!(kept.bundle.matches("BEGIN").count(), 1);
    }

    #[test]
    fn a_leaf_is_renewed_under_the_same_authority() {
        let first = write(&json!({}), &HOSTS, now());
        serve(&first, &HOSTS, now() + 59 * DAY);
        let second = write(&first, &HOSTS, now() + 61 * DAY);
        assert_eq!(
            second["data"][CA_CERTIFICATE],
            first["data"][CA_CERTIFICATE]
        );
        assert_ne!(second["data"][CERTIFICATE], first["data"][CERTIFICATE]);
    }

    #[test]
    fn an_old_authority_stays_trusted_beside_the_new() {
        let first = write(&json!({}), &HOSTS, now());
        let later = now() + 2500 * DAY;
        let second = write(&first, &HOSTS, later);
        let kept = serve(&second, &HOSTS, later);
        assert_eq!(kept.bundle.matches("BEGIN").count(), 2);
        let first_authority = decoded(&first, CA_CERTIFICATE).unwrap();
        assert!(kept.bundle.contains(first_authority.trim()));
    }

    #[test]
    fn another_host_needs_another_leaf() {
        let first = write(&json!({}), &HOSTS, now());
        let second = write(&first, &["webhook.ns.svc", "example.org"], now());
        assert_eq!(
            second["data"][CA_CERTIFICATE],
            first["data"][CA_CERTIFICATE]
        );
    }

    #[test]
    fn what_cannot_be_read_is_replaced() {
        let mut secret = write(&json!({}), &HOSTS, now());
        secret["data"][KEY] = json!("AAAA");
        let secret = write(&secret, &HOSTS, now());
        serve(&secret, &HOSTS, now());
    }
}
