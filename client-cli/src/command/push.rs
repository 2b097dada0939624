//! `push set`, `push clear`, `fcm-emulator`.

use std::{net::SocketAddr, path::Path};

use magpie_client::{AppId, Platform, PushAddress, PushToken};
use magpie_fcm_emulator::Emulator;

use super::devices::connected;
use crate::{
    args::{Global, PlatformName, PushCommand},
    context::Context,
    failure::{Exit, Failure},
    line::Line,
    output::Output,
};

pub(crate) async fn run(context: &Context, command: PushCommand) -> Result<Exit, Failure> {
    let carrier = connected(context).await?;
    let line = match command {
        PushCommand::Set {
            token,
            platform,
            app,
        } => {
            let address = address(&token, platform, &app)?;
            carrier.client()?.set_push(&address).await?;
            Line::PushSet { app_id: app }
        }
        PushCommand::Clear => {
            carrier.client()?.clear_push().await?;
            Line::PushCleared
        }
    };
    carrier.shutdown().await;
    context.output.line(&line)?;
    Ok(Exit::Done)
}

fn address(token: &str, platform: PlatformName, app: &str) -> Result<PushAddress, Failure> {
    Ok(PushAddress {
        platform: match platform {
            PlatformName::Android => Platform::Android,
            PlatformName::Ios => Platform::Ios,
            PlatformName::Web => Platform::Web,
        },
        app: AppId::parse(app)?,
        token: PushToken::parse(token)?,
    })
}

/// Runs the emulator until the process is ended.
pub(crate) async fn emulate(
    global: &Global,
    listen: SocketAddr,
    account: &Path,
    tls: Option<&Path>,
) -> Result<Exit, Failure> {
    let unwritable = |path: &Path| {
        let path = path.display().to_string();
        |error| Failure::File { path, error }
    };
    let emulator = match tls {
        Some(_) => Emulator::start_with_tls(listen).await,
        None => Emulator::start(listen).await,
    };
    let emulator = emulator.map_err(Failure::Emulator)?;
    emulator
        .write_account(account)
        .map_err(unwritable(account))?;
    if let (Some(path), Some(ca)) = (tls, emulator.ca()) {
        std::fs::write(path, ca).map_err(unwritable(path))?;
    }
    Output::new(global).line(&Line::Emulator {
        url: emulator.url(),
        account: account.display().to_string(),
        ca: tls.map(|it| it.display().to_string()),
    })?;
    emulator.wait().await;
    Ok(Exit::Done)
}
