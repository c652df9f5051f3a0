//! What clients call a server by, as a certificate names it.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use crate::names::{is_dns_label, is_dns_subdomain};

/// A host that a certificate is for. [`str::parse`] reads one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    /// A DNS name in lower case, without wildcard and without a dot at its end.
    Name(String),
    /// An IP address.
    Address(IpAddr),
}

impl FromStr for Host {
    type Err = NotAHost;

    fn from_str(text: &str) -> Result<Self, NotAHost> {
        if let Ok(address) = text.parse() {
            return Ok(Host::Address(address));
        }
        if text.contains('*') {
            return Err(NotAHost::Wildcard);
        }
        // Clients take a name that ends with a number for an IPv4 address.
        let ends_with_number =
            text.rsplit('.').next().is_some_and(|label| label.bytes().all(|byte| byte.is_ascii_digit()));
        if !is_dns_subdomain(text) || !text.split('.').all(is_dns_label) || ends_with_number {
            return Err(NotAHost::Malformed);
        }
        Ok(Host::Name(text.to_owned()))
    }
}

impl fmt::Display for Host {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Host::Name(name) => formatter.write_str(name),
            Host::Address(address) => address.fmt(formatter),
        }
    }
}

/// Why a text names no host, and what to write instead.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAHost {
    /// It stands for several names.
    #[error("write each name out, without *")]
    Wildcard,
    /// It is something else.
    #[error(
        "write a DNS name, such as gapless.gapless-system.svc, or an IP address; a DNS name has lower case \
         letters, digits and -, at most 63 between two dots and 253 in all, and no port"
    )]
    Malformed,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_addresses() {
        let label = "a".repeat(63);
        let longest = format!("{label}.{label}.{label}.{}", "a".repeat(61));
        assert_eq!(longest.len(), 253);
        for name in ["localhost", "gapless.gapless-system.svc", "1.example", "a--b.c1", "x.1a", &longest] {
            assert_eq!(name.parse(), Ok(Host::Name(name.to_owned())));
        }
        for address in ["192.0.2.1", "::1", "2001:db8::1"] {
            let host: Host = address.parse().expect("an address");
            assert!(matches!(host, Host::Address(_)), "{host:?}");
            assert_eq!(host.to_string(), address);
        }
    }

    #[test]
    fn what_is_neither() {
        let label = "a".repeat(64);
        let too_long = vec!["abc"; 64].join(".");
        assert_eq!(too_long.len(), 255);
        let texts = "|.|a.|.a|a..b|-a|a-.b|A.b|a_b|a b|ä.b|a:443|https://a|[::1]|fe80::1%eth0|\
                     7|1.2.3|1.2.3.256|a.1|192.0.2.1:443|192.0.2.0/24";
        for text in texts.split('|').chain([label.as_str(), &too_long]) {
            assert_eq!(text.parse::<Host>(), Err(NotAHost::Malformed), "{text:?}");
        }
        for text in ["*", "*.example", "a.*"] {
            assert_eq!(text.parse::<Host>(), Err(NotAHost::Wildcard), "{text:?}");
        }
    }
}
