//! Networks, and where an address counts.

use std::net::IpAddr;

use super::value::Value;

/// Networks, by address and length of their prefix.
#[derive(Clone, Debug, Default, Eq, PartialEq, PartialOrd)]
pub struct Networks(pub(super) Vec<(IpAddr, u8)>);

impl Networks {
    /// Whether the address is in one of them.
    #[must_use]
    pub fn hold(&self, address: IpAddr) -> bool {
        self.0
            .iter()
            .any(|(network, length)| mask(address, *length) == Some(*network))
    }
}

/// The address without what follows its first `length` bits; `None` if it does
/// not have as many.
fn mask(address: IpAddr, length: u8) -> Option<IpAddr> {
    let length = u32::from(length);
    match address {
        IpAddr::V4(it) => {
            let rest = 32_u32.checked_sub(length)?;
            let mask = u32::MAX.checked_shl(rest).unwrap_or_default();
            Some(IpAddr::V4((it.to_bits() & mask).into()))
        }
        IpAddr::V6(it) => {
            let rest = 128_u32.checked_sub(length)?;
            let mask = u128::MAX.checked_shl(rest).unwrap_or_default();
            Some(IpAddr::V6((it.to_bits() & mask).into()))
        }
    }
}

/// Where an address counts: an IPv4 address for itself (/32), an IPv6 address for
/// the network that one customer gets (/64).
#[must_use]
pub fn network(address: IpAddr) -> IpAddr {
    let address = address.to_canonical();
    let length = if address.is_ipv4() { 32 } else { 64 };
    mask(address, length).unwrap_or(address)
}

impl Value for Networks {
    const EXPECTED: &'static str =
        "networks (127.0.0.0/8, fd00::/8) with commas between, or \"none\"";

    fn parse(text: &str) -> Option<Self> {
        if text == "none" {
            return Some(Self::default());
        }
        text.split(',')
            .map(|it| {
                let (address, length) = it.trim().split_once('/')?;
                let (address, length) = (address.parse().ok()?, length.parse().ok()?);
                Some((mask(address, length)?, length))
            })
            .collect::<Option<_>>()
            .map(Self)
    }

    fn show(&self) -> String {
        let shown: Vec<String> = self
            .0
            .iter()
            .map(|(network, length)| format!("{network}/{length}"))
            .collect();
        if shown.is_empty() {
            return "none".to_owned();
        }
        shown.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_counts_for_its_network() {
        let of = |text: &str| network(text.parse().unwrap()).to_string();
        assert_eq!(of("192.0.2.7"), "192.0.2.7");
        assert_eq!(of("::ffff:192.0.2.7"), "192.0.2.7");
        assert_eq!(of("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        let local = Networks::parse("127.0.0.0/8, ::1/128").unwrap();
        assert!(local.hold("127.9.9.9".parse().unwrap()));
        assert!(local.hold("::1".parse().unwrap()));
        assert!(!local.hold("128.0.0.1".parse().unwrap()));
        assert!(!local.hold("::2".parse().unwrap()));
    }
}
