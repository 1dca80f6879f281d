//! Which addresses a registry may send us to.
//!
//! Whoever may pull chooses the registry, but the registry chooses where its redirects and its token service are. One on
//! the internet must not make this machine ask its router, its neighbours or its cloud's metadata service. The check is on
//! the addresses that are connected to, so that a name cannot mean one address when it is checked and another when it is
//! used. A proxy that the environment names resolves names itself and has to keep such a policy of its own.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::Error;

/// Where an address is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    /// On the internet.
    Public,
    /// On this machine or in its network.
    Local,
    /// Nowhere a registry could be: link-local (where clouds keep their secrets), multicast, unspecified.
    Never,
}

/// Which places may be gone to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reach {
    /// The internet.
    Public,
    /// The internet and this machine's network.
    Local,
}

impl Reach {
    fn admits(self, place: Place) -> bool {
        match place {
            Place::Public => true,
            Place::Local => self == Self::Local,
            Place::Never => false,
        }
    }
}

/// Where an address is, by the registries of special addresses (RFC 6890 and its successors).
#[must_use]
pub fn place(address: IpAddr) -> Place {
    match address {
        IpAddr::V4(address) => place_v4(address),
        IpAddr::V6(address) => match embedded_v4(address) {
            Some(inner) => place_v4(inner),
            None => place_v6(address),
        },
    }
}

fn place_v4(address: Ipv4Addr) -> Place {
    let [first, second, third, _] = address.octets();
    let is_shared = first == 100 && (64..128).contains(&second);
    let is_protocol = first == 192 && second == 0 && third == 0;
    let is_benchmark = first == 198 && (18..20).contains(&second);
    if address.is_link_local() || address.is_multicast() || first == 0 || first >= 240 {
        Place::Never
    } else if address.is_loopback()
        || address.is_private()
        || address.is_documentation()
        || is_shared
        || is_protocol
        || is_benchmark
    {
        Place::Local
    } else {
        Place::Public
    }
}

fn place_v6(address: Ipv6Addr) -> Place {
    if address.is_unicast_link_local() || address.is_multicast() || address.is_unspecified() {
        Place::Never
    } else if address.is_loopback() || address.is_unique_local() {
        Place::Local
    } else {
        Place::Public
    }
}

/// An IPv4 address in IPv6's clothes: mapped, or behind a translator (RFC 6052).
fn embedded_v4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let translated = match address.segments() {
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
            Some(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)))
        }
        _ => None,
    };
    address.to_ipv4_mapped().or(translated)
}

/// Refuses a URL whose host is an address out of reach. Names are checked when they are resolved.
///
/// # Errors
/// [`Error::Refused`].
pub fn check(url: &Url, reach: Reach, place: fn(IpAddr) -> Place) -> Result<(), Error> {
    let Some(host) = url.host_str() else {
        return Err(Error::Refused("a URL without a host".to_owned()));
    };
    // The URL's parser has brought every spelling of an address into the usual one.
    let Ok(address) = host.trim_matches(['[', ']']).parse::<IpAddr>() else {
        return Ok(());
    };
    if reach.admits(place(address)) {
        Ok(())
    } else {
        Err(Error::Refused(format!(
            "the registry leads to {address}, which is not on the internet"
        )))
    }
}

/// Resolves names to addresses within reach.
#[derive(Clone, Copy)]
pub struct Resolver {
    /// How far.
    pub reach: Reach,
    /// What counts as where.
    pub place: fn(IpAddr) -> Place,
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let resolver = *self;
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let reachable: Vec<SocketAddr> = found
                .filter(|address| resolver.reach.admits((resolver.place)(address.ip())))
                .collect();
            if reachable.is_empty() {
                let text = format!("{} has no address that may be connected to", name.as_str());
                return Err(text.into());
            }
            Ok(Box::new(reachable.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_place(address: &str, expected: Place) {
        assert_eq!(place(address.parse().unwrap()), expected, "{address}");
    }

    #[test]
    fn addresses_are_where_the_registries_say() {
        for address in [
            "1.1.1.1",
            "104.21.75.227",
            "2606:4700::1111",
            "64:ff9b::101:101",
        ] {
            check_place(address, Place::Public);
        }
        for address in [
            "127.0.0.1",
            "127.9.9.9",
            "10.0.0.1",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "100.64.0.1",
            "192.0.0.8",
            "198.18.0.1",
            "::1",
            "fd00::1",
            "::ffff:10.0.0.1",
            "64:ff9b::a00:1",
        ] {
            check_place(address, Place::Local);
        }
        for address in [
            "0.0.0.0",
            "169.254.169.254",
            "::ffff:169.254.169.254",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "fe80::1",
            "ff02::1",
        ] {
            check_place(address, Place::Never);
        }
    }

    #[test]
    fn literal_addresses_are_checked_in_every_spelling() {
        let refused = |text: &str, reach| check(&text.parse().unwrap(), reach, place).is_err();
        for text in [
            "http://127.0.0.1/x",
            "http://2130706433/",
            "http://0x7f.1/",
            "http://[::1]/",
            "http://[::ffff:127.0.0.1]/",
        ] {
            assert!(refused(text, Reach::Public), "{text}");
            assert!(!refused(text, Reach::Local), "{text}");
        }
        assert!(refused("http://169.254.169.254/latest", Reach::Local));
        assert!(!refused("https://example.org/", Reach::Public));
    }

    #[tokio::test]
    async fn names_are_resolved_within_reach() {
        let resolve = |reach| {
            let resolver = Resolver { reach, place };
            resolver.resolve("localhost".parse().unwrap())
        };
        assert!(resolve(Reach::Local).await.is_ok());
        assert!(resolve(Reach::Public).await.is_err());
    }
}
