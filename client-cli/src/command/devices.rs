//! `devices`, `devices revoke`.

use magpie_client::DeviceId;

use crate::{
    args::DevicesCommand,
    carrier::{Carrier, Patience},
    context::Context,
    failure::{Exit, Failure},
    line::{Line, Shown},
};

pub(crate) async fn run(
    context: &Context,
    command: Option<DevicesCommand>,
) -> Result<Exit, Failure> {
    match command {
        None => list(context).await,
        Some(DevicesCommand::Revoke { id }) => revoke(context, id).await,
    }
}

async fn list(context: &Context) -> Result<Exit, Failure> {
    let carrier = connected(context).await?;
    let devices = carrier.client()?.devices().await?;
    carrier.shutdown().await;
    for device in devices {
        context.output.line(&Line::device(device))?;
    }
    Ok(Exit::Done)
}

async fn revoke(context: &Context, id: DeviceId) -> Result<Exit, Failure> {
    let carrier = connected(context).await?;
    carrier.client()?.revoke_device(id).await?;
    carrier.shutdown().await;
    context.output.line(&Line::Revoked {
        device_id: Shown(id),
    })?;
    Ok(Exit::Done)
}

pub(crate) async fn connected(context: &Context) -> Result<Carrier<'_>, Failure> {
    let mut carrier = Carrier::own(context)?;
    let patience = Patience::new(context.timeout());
    carrier.until_connected(&patience).await?;
    Ok(carrier)
}
