//! `background`: behaves like an app on a phone that sleeps.
//!
//! It connects when it starts and when it is woken, and never otherwise: what it
//! has in the end, pushes have brought.

use std::{path::Path, time::Duration};

use magpie_fcm_emulator::{Control, Delivered};

use super::listen::{Stop, print_new};
use crate::{
    carrier::{Carrier, Patience},
    context::{Context, Places},
    failure::{Exit, Failure},
    line::Line,
};

/// How long the emulator holds the question for the next push.
const PUSH_WAIT: Duration = Duration::from_secs(30);

/// How long to wait before an emulator that did not answer is asked again.
const RETRY_DELAY: Duration = Duration::from_millis(200);

pub(crate) async fn run(
    context: &Context,
    emulator: &str,
    emulator_ca: Option<&Path>,
    token: &str,
) -> Result<Exit, Failure> {
    let control = match emulator_ca {
        Some(path) => {
            let ca = std::fs::read(path).map_err(|error| Failure::File {
                path: path.display().to_string(),
                error,
            })?;
            Control::trusting(emulator, &ca)
        }
        None => Control::new(emulator),
    };
    let control = control.map_err(Failure::Control)?;
    let mut stop = Stop::new()?;
    let mut places = Places::new(context);
    let mut seen = 0;
    loop {
        tokio::select! {
            biased;
            () = stop.asked() => return Ok(Exit::Done),
            synced = sync(context) => synced?,
        }
        print_new(&mut places, &mut stop).await?;
        context.output.line(&Line::Asleep)?;
        let pushes = tokio::select! {
            biased;
            () = stop.asked() => return Ok(Exit::Done),
            pushes = next_pushes(&control, token, seen) => pushes,
        };
        for push in pushes {
            seen = seen.max(push.number);
            context.output.line(&wake(&push))?;
        }
    }
}

/// Connects in the background, for as long as that takes, stores what came, says
/// that it goes, and goes.
async fn sync(context: &Context) -> Result<(), Failure> {
    let mut carrier = Carrier::in_background(context)?;
    carrier.until_caught_up(&Patience::new(None)).await?;
    // If the connection breaks now, the server sees that too.
    if let Err(error) = carrier.client()?.detach().await {
        context.output.note(&error.to_string());
    }
    carrier.shutdown().await;
    Ok(())
}

/// Waits until a push comes, however long.
async fn next_pushes(control: &Control, token: &str, seen: u64) -> Vec<Delivered> {
    loop {
        match control.pushes(token, seen, PUSH_WAIT).await {
            Ok(pushes) if pushes.is_empty() => {}
            Ok(pushes) => return pushes,
            Err(_) => tokio::time::sleep(RETRY_DELAY).await,
        }
    }
}

fn wake(push: &Delivered) -> Line {
    let id = push.message.pointer("/data/magpie_wake");
    Line::Wake {
        wake_id: id.and_then(|it| it.as_str()).map(str::to_owned),
        delay_ms: push.delay_ms,
        priority: if push.is_high { "high" } else { "normal" },
    }
}
