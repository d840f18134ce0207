//! Makes certificates: an authority, and what it signs. ECDSA P-256 throughout.
//!
//! Must not know: the time (a [`Validity`] is an argument), where the result is kept.

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
};

/// A certificate is valid from this long before it was made, for clocks that are behind.
const BACKDATED: Duration = Duration::from_mins(5);

/// Why a certificate could not be made.
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    /// A name that is neither an IP address nor a DNS name.
    #[error("{name:?} is neither a DNS name nor an IP address")]
    Name {
        /// The refused name.
        name: String,
        /// What the library says of it.
        source: rcgen::Error,
    },
    /// Making or signing failed.
    #[error("cannot make the certificate of {subject:?}")]
    Make {
        /// The common name.
        subject: String,
        /// The cause.
        source: rcgen::Error,
    },
    /// An authority's certificate or key cannot be read.
    #[error("cannot read the authority's certificate or key")]
    Authority(#[source] rcgen::Error),
}

/// A certificate and its private key, both PEM.
#[derive(Clone, PartialEq, Eq)]
pub struct Pair {
    /// The certificate, or the chain with the leaf first.
    pub certificate: String,
    /// The private key, PKCS #8.
    pub key: String,
}

impl fmt::Debug for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pair")
            .field("certificate", &self.certificate)
            .finish_non_exhaustive()
    }
}

/// From when to when a certificate is valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// The first moment.
    pub not_before: SystemTime,
    /// The last moment.
    pub not_after: SystemTime,
}

impl Validity {
    /// Valid for `lasts` from `now`, and for five minutes before, for clocks that are behind.
    pub fn starting(now: SystemTime, lasts: Duration) -> Self {
        Self {
            not_before: now.checked_sub(BACKDATED).unwrap_or(now),
            not_after: now.checked_add(lasts).unwrap_or(now),
        }
    }
}

/// A certificate authority that signs leaves.
pub struct Authority {
    pair: Pair,
    issuer: Issuer<'static, KeyPair>,
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority")
            .field("pair", &self.pair)
            .finish_non_exhaustive()
    }
}

impl Authority {
    /// A new self-signed authority, which may sign leaves and no further authorities.
    pub fn new(common_name: &str, validity: Validity) -> Result<Self, IssueError> {
        let wrap = |source| IssueError::Make {
            subject: common_name.to_owned(),
            source,
        };
        let mut params = params(common_name, None, &[], validity)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![
            KeyUsagePurpose::KeyCertSign,
            KeyUsagePurpose::DigitalSignature,
        ];
        let key = key().map_err(wrap)?;
        let certificate = params.self_signed(&key).map_err(wrap)?;
        let pair = Pair {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        };
        Ok(Self {
            pair,
            issuer: Issuer::new(params, key),
        })
    }

    /// The authority that [`Authority::pair`] gave earlier.
    pub fn from_pair(pair: Pair) -> Result<Self, IssueError> {
        let key = KeyPair::from_pem(&pair.key).map_err(IssueError::Authority)?;
        let issuer =
            Issuer::from_ca_cert_pem(&pair.certificate, key).map_err(IssueError::Authority)?;
        Ok(Self { pair, issuer })
    }

    /// Its own certificate, which clients must trust, and its key.
    pub fn pair(&self) -> &Pair {
        &self.pair
    }

    /// A server's certificate. Each of `names` is a DNS name (`*.example.org` too) or an IP
    /// address.
    pub fn server(
        &self,
        common_name: &str,
        names: &[&str],
        validity: Validity,
    ) -> Result<Pair, IssueError> {
        let mut params = params(common_name, None, names, validity)?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.sign(common_name, params)
    }

    /// A client's certificate. To a Kubernetes API server `common_name` is the user and
    /// `organisation` a group.
    pub fn client(
        &self,
        common_name: &str,
        organisation: Option<&str>,
        validity: Validity,
    ) -> Result<Pair, IssueError> {
        let mut params = params(common_name, organisation, &[], validity)?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(common_name, params)
    }

    fn sign(&self, subject: &str, mut params: CertificateParams) -> Result<Pair, IssueError> {
        let wrap = |source| IssueError::Make {
            subject: subject.to_owned(),
            source,
        };
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        let key = key().map_err(wrap)?;
        let certificate = params.signed_by(&key, &self.issuer).map_err(wrap)?;
        Ok(Pair {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        })
    }
}

fn key() -> Result<KeyPair, rcgen::Error> {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)
}

fn params(
    common_name: &str,
    organisation: Option<&str>,
    names: &[&str],
    validity: Validity,
) -> Result<CertificateParams, IssueError> {
    let mut params = CertificateParams::default();
    for name in names {
        let alone =
            CertificateParams::new([(*name).to_owned()]).map_err(|source| IssueError::Name {
                name: (*name).to_owned(),
                source,
            })?;
        params.subject_alt_names.extend(alone.subject_alt_names);
    }
    params.distinguished_name = rcgen::DistinguishedName::new();
    if let Some(organisation) = organisation {
        params
            .distinguished_name
            .push(DnType::OrganizationName, organisation);
    }
    params
        .distinguished_name
        .push(DnType::CommonName, common_name);
    params.not_before = validity.not_before.into();
    params.not_after = validity.not_after.into();
    Ok(params)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn validity() -> Validity {
        Validity::starting(
            SystemTime::UNIX_EPOCH + Duration::from_hours(500_000),
            Duration::from_hours(24),
        )
    }

    #[test]
    fn a_reloaded_authority_signs_as_before() {
        let authority = Authority::new("test", validity()).unwrap();
        let reloaded = Authority::from_pair(authority.pair().clone()).unwrap();
        let leaf = reloaded
            .server("leaf", &["localhost", "127.0.0.1"], validity())
            .unwrap();
        let (_, ca) =
            x509_parser::pem::parse_x509_pem(authority.pair().certificate.as_bytes()).unwrap();
        let (_, leaf) = x509_parser::pem::parse_x509_pem(leaf.certificate.as_bytes()).unwrap();
        let (ca, leaf) = (ca.parse_x509().unwrap(), leaf.parse_x509().unwrap());
        assert_eq!(leaf.issuer(), ca.subject());
        assert_eq!(
            leaf.subject_alternative_name()
                .unwrap()
                .unwrap()
                .value
                .general_names
                .len(),
            2
        );
    }

    #[test]
    fn a_client_is_in_the_group_of_its_organisation() {
        let authority = Authority::new("test", validity()).unwrap();
        let client = authority
            .client("admin", Some("system:masters"), validity())
            .unwrap();
        let (_, pem) = x509_parser::pem::parse_x509_pem(client.certificate.as_bytes()).unwrap();
        let certificate = pem.parse_x509().unwrap();
        let organisations: Vec<_> = certificate
            .subject()
            .iter_organization()
            .map(|o| o.as_str().unwrap())
            .collect();
        assert_eq!(organisations, ["system:masters"]);
    }

    #[test]
    fn a_key_is_not_printed() {
        let authority = Authority::new("test", validity()).unwrap();
        assert!(!format!("{authority:?}").contains("PRIVATE"));
    }
}
