//! What a flag or a name may be, and what is said if it is not.

use magpie_client::{DeviceName, Seq, Title, UserName};

pub(super) fn address(text: &str) -> Result<String, String> {
    let port = text
        .rsplit_once(':')
        .filter(|(host, _)| !host.is_empty() && (!host.contains(':') || host.ends_with(']')))
        .and_then(|(_, port)| port.parse::<u16>().ok());
    match port {
        Some(port) if port > 0 => Ok(text.to_owned()),
        Some(_) | None => Err("write HOST:PORT, such as chat.example.org:7443".to_owned()),
    }
}

/// With or without the `@`: here it can mean nothing else.
pub(super) fn user_name(text: &str) -> Result<UserName, String> {
    let name = text.strip_prefix('@').unwrap_or(text);
    UserName::parse(name).map_err(|error| error.to_string())
}

pub(super) fn title(text: &str) -> Result<Title, String> {
    Title::try_from(text.to_owned()).map_err(|error| error.to_string())
}

pub(super) fn device_name(text: &str) -> Result<DeviceName, String> {
    DeviceName::try_from(text.to_owned()).map_err(|error| error.to_string())
}

pub(super) fn seq(text: &str) -> Result<Seq, String> {
    let number = text.parse().map(Seq::new);
    number.map_err(|_| "write a whole number".to_owned())
}

pub(super) fn limit(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(limit @ 1..=100_000) => Ok(limit),
        Ok(_) | Err(_) => Err("write a number from 1 to 100000".to_owned()),
    }
}
