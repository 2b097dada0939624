//! How a device presents itself.

use bytes::Bytes;

use super::{
    convert::{InvalidRequest, device_id, size},
    v1,
};
use crate::{
    id::DeviceId,
    limits::{CLIENT_NAME_SIZE_MAX, CURSOR_SIZE_MAX},
};

/// Hello, checked.
#[derive(Clone, Eq, PartialEq)]
pub struct Hello {
    /// The highest protocol version that the client speaks.
    pub protocol_version: u32,
    /// Name and version, printable.
    pub client: String,
    /// Which device it is.
    pub device: DeviceId,
    /// What proves it.
    pub token: [u8; 32],
    /// The history that the device knows; 0 before the first.
    pub epoch: u64,
    /// The position at which that history began; 0 before the first.
    pub base: u64,
    /// What the device stored last; empty before the first.
    pub cursor: Bytes,
    /// Nobody looks at the app.
    pub background: bool,
}

impl TryFrom<v1::Hello> for Hello {
    type Error = InvalidRequest;

    fn try_from(hello: v1::Hello) -> Result<Self, InvalidRequest> {
        let printable = |text: &str| -> String {
            text.chars()
                .filter(|character| !character.is_control())
                .collect()
        };
        size(
            "client_name",
            hello.client_name.len(),
            1,
            CLIENT_NAME_SIZE_MAX,
        )?;
        size(
            "client_version",
            hello.client_version.len(),
            1,
            CLIENT_NAME_SIZE_MAX,
        )?;
        size("cursor", hello.cursor.len(), 0, CURSOR_SIZE_MAX)?;
        size("device_token", hello.device_token.len(), 32, 32)?;
        let name = printable(&hello.client_name);
        let version = printable(&hello.client_version);
        Ok(Self {
            protocol_version: hello.protocol_version,
            client: format!("{name}/{version}"),
            device: device_id(&hello.device_id)?,
            token: hello
                .device_token
                .as_ref()
                .try_into()
                .map_err(|_| InvalidRequest::Missing {
                    field: "device_token",
                })?,
            epoch: hello.epoch,
            base: hello.base,
            cursor: hello.cursor,
            background: hello.background,
        })
    }
}
