//! Addresses. Each rig has one /16 of the loopback network to itself, so that its daemons and pods
//! can have whatever ports they like, and each invented pod IP has a loopback address behind it.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener};

use anyhow::{Context as _, Result};

/// Held on the last address of a range while a rig has that range.
const CLAIM_PORT: u16 = 10_250;

/// The node's invented address.
pub(crate) const NODE_IP: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);

/// A claimed range 127.x.0.0/16.
#[derive(Debug)]
pub(crate) struct Loopback {
    range: u8,
    _claim: TcpListener,
}

impl Loopback {
    /// Takes a range that no other rig of this machine has.
    pub(crate) fn claim() -> Result<Self> {
        (0..253)
            .map(|attempt| u8::try_from((std::process::id() + attempt) % 253 + 2).unwrap_or(2))
            .find_map(|range| {
                let last = Ipv4Addr::new(127, range, 255, 254);
                let claim = TcpListener::bind((last, CLAIM_PORT)).ok()?;
                Some(Self {
                    range,
                    _claim: claim,
                })
            })
            .context("no free range in 127.0.0.0/8 (this rig needs Linux): too many rigs at once?")
    }

    /// A free port on the address of the `number`th daemon.
    pub(crate) fn daemon(&self, number: u8) -> Result<SocketAddr> {
        let address = Ipv4Addr::new(127, self.range, 255, number);
        Ok(TcpListener::bind((address, 0))?.local_addr()?)
    }

    /// The loopback address behind a pod IP.
    pub(crate) fn behind(&self, pod_ip: Ipv4Addr) -> Ipv4Addr {
        let [_, _, high, low] = pod_ip.octets();
        Ipv4Addr::new(127, self.range, high, low)
    }

    pub(crate) fn socket(&self, pod_ip: Ipv4Addr, port: u16) -> SocketAddr {
        SocketAddrV4::new(self.behind(pod_ip), port).into()
    }
}

/// The `number`th pod's invented IP, out of 10.244.0.0/16. The last 256 are not given.
pub(crate) fn pod_ip(number: u16) -> Option<Ipv4Addr> {
    let [high, low] = number.to_be_bytes();
    (high < 255).then_some(Ipv4Addr::new(10, 244, high, low))
}
