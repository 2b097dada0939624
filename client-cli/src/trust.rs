//! Which server, and why its certificate is believed.

use std::{
    net::{Ipv4Addr, Ipv6Addr},
    path::{Path, PathBuf},
};

use magpie_client::{Server, Trust};

/// Where a server that was started with its defaults writes its certificate.
const DEVELOPMENT_CA: &str = "magpie-data/ca.pem";

/// The server when neither a flag nor the home names one.
pub(crate) const DEFAULT_SERVER: &str = "127.0.0.1:7443";

/// The server at `address`, trusted by `flag`, else by what is stored in the
/// home, else by the development certificate if it is on this machine, else by
/// the system's roots.
pub(crate) fn server(address: String, flag: Option<&Path>, stored: Option<PathBuf>) -> Server {
    let development = || {
        let path = PathBuf::from(DEVELOPMENT_CA);
        (is_loopback(&address) && path.is_file()).then_some(path)
    };
    let trust = flag
        .map(Path::to_owned)
        .or(stored)
        .or_else(development)
        .map_or(Trust::System, Trust::CaFile);
    Server { address, trust }
}

fn is_loopback(address: &str) -> bool {
    let Some((host, _port)) = address.rsplit_once(':') else {
        return false;
    };
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || bare.parse::<Ipv4Addr>().is_ok_and(|ip| ip.is_loopback())
        || bare.parse::<Ipv6Addr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_loopback() {
        for near in ["127.0.0.1:1", "127.9.9.9:1", "[::1]:1", "localhost:1"] {
            assert!(is_loopback(near), "{near}");
        }
        for far in ["10.0.0.1:1", "[::2]:1", "example.org:1", "localhost"] {
            assert!(!is_loopback(far), "{far}");
        }
    }

    #[test]
    fn the_flag_is_stronger_than_what_the_home_holds() {
        let flag = Path::new("flag.pem");
        let stored = PathBuf::from("stored.pem");
        let address = "10.0.0.1:1".to_owned();
        let both = server(address.clone(), Some(flag), Some(stored.clone()));
        assert_eq!(both.trust, Trust::CaFile(flag.to_owned()));
        let home = server(address.clone(), None, Some(stored.clone()));
        assert_eq!(home.trust, Trust::CaFile(stored));
        assert_eq!(server(address, None, None).trust, Trust::System);
    }
}
