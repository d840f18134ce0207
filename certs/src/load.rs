//! Reads a certificate and its key, and says whether the two can be served and for how long.
//!
//! Must not know: the time (it is an argument), where the PEM comes from.

use std::{
    collections::BTreeSet,
    net::IpAddr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use rustls::{crypto::ring, sign::CertifiedKey};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use x509_parser::{
    certificate::X509Certificate, extensions::GeneralName, prelude::FromDer, time::ASN1Time,
};

use crate::issue::Pair;

/// Why PEM cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The certificate's PEM cannot be read.
    #[error("the certificate is not PEM")]
    CertificatePem(#[source] rustls_pki_types::pem::Error),
    /// The key's PEM cannot be read.
    #[error("the private key is not PEM")]
    KeyPem(#[source] rustls_pki_types::pem::Error),
    /// There is no certificate in the PEM.
    #[error("the certificate's PEM holds no certificate")]
    Empty,
    /// The certificate is not X.509.
    #[error("the certificate cannot be parsed: {0}")]
    Parse(String),
    /// The key is of a kind that cannot sign, or belongs to another certificate.
    #[error("the private key does not fit the certificate")]
    Mismatch(#[source] rustls::Error),
}

/// A certificate that can be served: it parses, and the key is its own.
#[derive(Debug, Clone)]
pub struct Identity {
    key: Arc<CertifiedKey>,
    facts: Facts,
}

#[derive(Debug, Clone)]
struct Facts {
    not_before: SystemTime,
    not_after: SystemTime,
    names: BTreeSet<String>,
}

impl Identity {
    /// Reads and checks `pair`.
    pub fn load(pair: &Pair) -> Result<Self, LoadError> {
        let chain = CertificateDer::pem_slice_iter(pair.certificate.as_bytes())
            .collect::<Result<Vec<_>, _>>()
            .map_err(LoadError::CertificatePem)?;
        let facts = facts(chain.first().ok_or(LoadError::Empty)?)?;
        let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).map_err(LoadError::KeyPem)?;
        let key = CertifiedKey::from_der(chain, key, &ring::default_provider())
            .map_err(LoadError::Mismatch)?;
        Ok(Self {
            key: Arc::new(key),
            facts,
        })
    }

    /// Whether `now` is within its validity.
    pub fn is_valid(&self, now: SystemTime) -> bool {
        (self.facts.not_before..=self.facts.not_after).contains(&now)
    }

    /// When it is to be replaced: after two thirds of its life.
    pub fn renew_at(&self) -> SystemTime {
        two_thirds(self.facts.not_before, self.facts.not_after)
    }

    /// The last moment of its validity.
    pub fn not_after(&self) -> SystemTime {
        self.facts.not_after
    }

    /// Whether it was made for all of `names`: DNS names and IP addresses.
    pub fn covers<'a>(&self, names: impl IntoIterator<Item = &'a str>) -> bool {
        names
            .into_iter()
            .all(|name| self.facts.names.contains(name))
    }

    pub(crate) fn key(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.key)
    }
}

/// When the first certificate in `pem` is to be replaced: after two thirds of its life.
pub fn renew_at(pem: &str) -> Result<SystemTime, LoadError> {
    let certificate =
        CertificateDer::from_pem_slice(pem.as_bytes()).map_err(LoadError::CertificatePem)?;
    let facts = facts(&certificate)?;
    Ok(two_thirds(facts.not_before, facts.not_after))
}

/// The certificates in `pem` that are still valid at `now`, as PEM, without repeats.
pub fn still_valid(pem: &str, now: SystemTime) -> String {
    let mut kept = Vec::new();
    for block in pem.split_inclusive("-----END CERTIFICATE-----") {
        let Ok(certificate) = CertificateDer::from_pem_slice(block.as_bytes()) else {
            continue;
        };
        let valid = facts(&certificate).is_ok_and(|facts| now <= facts.not_after);
        let block = block.trim();
        if valid && !kept.contains(&block) {
            kept.push(block);
        }
    }
    kept.into_iter().flat_map(|block| [block, "\n"]).collect()
}

fn two_thirds(from: SystemTime, to: SystemTime) -> SystemTime {
    let life = to.duration_since(from).unwrap_or_default();
    from + life / 3 * 2
}

fn facts(certificate: &CertificateDer<'_>) -> Result<Facts, LoadError> {
    let (_, certificate) = X509Certificate::from_der(certificate)
        .map_err(|error| LoadError::Parse(error.to_string()))?;
    let names = certificate
        .subject_alternative_name()
        .map_err(|error| LoadError::Parse(error.to_string()))?
        .into_iter()
        .flat_map(|extension| &extension.value.general_names)
        .filter_map(name)
        .collect();
    Ok(Facts {
        not_before: system_time(certificate.validity().not_before),
        not_after: system_time(certificate.validity().not_after),
        names,
    })
}

fn name(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => {
            let v4 = <[u8; 4]>::try_from(*bytes).map(IpAddr::from);
            v4.or_else(|_| <[u8; 16]>::try_from(*bytes).map(IpAddr::from))
                .ok()
                .map(|address| address.to_string())
        }
        _ => None,
    }
}

fn system_time(time: ASN1Time) -> SystemTime {
    let seconds = u64::try_from(time.timestamp()).unwrap_or_default();
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::issue::{Authority, Validity};

    const DAY: Duration = Duration::from_hours(24);

    fn now() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_hours(500_000)
    }

    fn leaf(names: &[&str]) -> (Authority, Pair) {
        let validity = Validity {
            not_before: now(),
            not_after: now() + 90 * DAY,
        };
        let authority = Authority::new("test", validity).unwrap();
        let leaf = authority.server("leaf", names, validity).unwrap();
        (authority, leaf)
    }

    #[test]
    fn a_certificate_is_renewed_after_two_thirds_of_its_life() {
        let identity = Identity::load(&leaf(&["localhost"]).1).unwrap();
        assert_eq!(identity.renew_at(), now() + 60 * DAY);
        assert!(identity.is_valid(now()) && identity.is_valid(now() + 90 * DAY));
        assert!(!identity.is_valid(now() - DAY) && !identity.is_valid(now() + 91 * DAY));
    }

    #[test]
    fn a_certificate_knows_whom_it_is_for() {
        let identity = Identity::load(&leaf(&["localhost", "127.0.0.1", "::1"]).1).unwrap();
        assert!(identity.covers(["localhost", "127.0.0.1", "::1"]));
        assert!(!identity.covers(["localhost", "127.0.0.2"]));
    }

    #[test]
    fn another_certificates_key_is_refused() {
        let (one, other) = (leaf(&["localhost"]).1, leaf(&["localhost"]).1);
        let mixed = Pair {
            certificate: one.certificate,
            key: other.key,
        };
        assert!(matches!(
            Identity::load(&mixed),
            Err(LoadError::Mismatch(_))
        ));
    }

    #[test]
    fn what_is_not_pem_is_refused() {
        let pair = Pair {
            certificate: "x".to_owned(),
            key: "y".to_owned(),
        };
        assert!(matches!(Identity::load(&pair), Err(LoadError::Empty)));
    }

    #[test]
    fn a_bundle_loses_what_has_expired_and_what_it_has_twice() {
        let authority = leaf(&[]).0;
        let old = authority.pair().certificate.clone();
        let validity = Validity {
            not_before: now(),
            not_after: now() + 900 * DAY,
        };
        let new = Authority::new("test", validity)
            .unwrap()
            .pair()
            .certificate
            .clone();
        let bundle = format!("{new}{old}{old}");
        assert_eq!(still_valid(&bundle, now()).matches("BEGIN").count(), 2);
        assert_eq!(still_valid(&bundle, now() + 91 * DAY).trim(), new.trim());
    }
}
