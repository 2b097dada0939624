//! `register`, `login`, `logout`, `password`, `delete-account`.

use std::{io::IsTerminal as _, time::Duration};

use magpie_client::{Account, SignInError};

use super::devices::connected;
use crate::{
    args::{Credentials, DeleteArgs, PasswordArgs},
    carrier::{Carrier, Patience},
    context::Context,
    failure::{Exit, Failure},
    line::Line,
    password,
};

/// How long a new device may take to fetch what is recent.
const BEGIN_MAX: Duration = Duration::from_secs(10);

pub(crate) async fn register(
    context: &Context,
    typed: Credentials,
    invitation: &str,
) -> Result<Exit, Failure> {
    if let Some(account) = context.home.account()? {
        return Err(held(context, account));
    }
    let password = password::read(typed.password_stdin, true)?;
    let server = context.server(None);
    let registering = magpie_client::register_invited(
        &context.home,
        &server,
        typed.name.as_str(),
        password.reveal(),
        typed.device_name.as_str(),
        invitation,
    );
    let account = in_time(context, registering).await?;
    begin(context).await;
    context.output.line(&Line::Registered(account.into()))?;
    Ok(Exit::Done)
}

pub(crate) async fn login(context: &Context, typed: Credentials) -> Result<Exit, Failure> {
    let before = context.home.account()?;
    // A home that the server signed out may be signed in again by its user.
    if let Some(account) = before.clone()
        && (account.signed_in || account.name != typed.name.as_str())
    {
        return Err(held(context, account));
    }
    let password = password::read(typed.password_stdin, false)?;
    let server = context.server(before.as_ref());
    let signing_in = magpie_client::sign_in(
        &context.home,
        &server,
        typed.name.as_str(),
        password.reveal(),
        typed.device_name.as_str(),
    );
    let account = in_time(context, signing_in).await?;
    begin(context).await;
    context.output.line(&Line::LoggedIn(account.into()))?;
    Ok(Exit::Done)
}

pub(crate) async fn logout(context: &Context, force: bool) -> Result<Exit, Failure> {
    let account = context.account()?;
    let count = context.home.outbox_count()?;
    if count > 0 && !force {
        return Err(Failure::OutboxHolds { count });
    }
    if account.signed_in {
        sign_out(context).await?;
    } else {
        // The server has ended the credential already.
        context.home.forget()?;
    }
    context
        .output
        .line(&Line::LoggedOut { user: account.name })?;
    Ok(Exit::Done)
}

pub(crate) async fn password(context: &Context, typed: PasswordArgs) -> Result<Exit, Failure> {
    let account = context.signed_in()?;
    let (current, new) = password::read_change(typed.password_stdin)?;
    let carrier = connected(context).await?;
    let changed = carrier
        .client()?
        .change_password(&current, &new, typed.sign_out_others)
        .await;
    carrier.shutdown().await;
    changed?;
    context.output.line(&Line::PasswordChanged {
        user: account.name,
        others_signed_out: typed.sign_out_others,
    })?;
    Ok(Exit::Done)
}

pub(crate) async fn delete(context: &Context, typed: DeleteArgs) -> Result<Exit, Failure> {
    let account = context.signed_in()?;
    if !typed.yes {
        confirm(&account.name)?;
    }
    let password = password::read(typed.password_stdin, false)?;
    let carrier = connected(context).await?;
    let deleted = carrier.client()?.delete_account(&password).await;
    carrier.shutdown().await;
    deleted?;
    context
        .output
        .line(&Line::AccountDeleted { user: account.name })?;
    Ok(Exit::Done)
}

/// Asks a person whether they mean it.
fn confirm(name: &str) -> Result<(), Failure> {
    if !std::io::stdin().is_terminal() {
        return Err(Failure::NotConfirmed);
    }
    eprint!("This deletes @{name} for ever. Type the name to go on: ");
    match password::first_line()?.trim().trim_start_matches('@') == name {
        true => Ok(()),
        false => Err(Failure::NotConfirmed),
    }
}

/// Begins the device's history now: from here on, everything that is sent to
/// this user comes, not only what is recent when this home next connects.
///
/// The account is there whether this succeeds or not.
async fn begin(context: &Context) {
    let timeout = context.timeout().unwrap_or(BEGIN_MAX).min(BEGIN_MAX);
    let begun = async {
        let mut carrier = Carrier::own(context)?;
        let begun = carrier.until_caught_up(&Patience::new(Some(timeout))).await;
        carrier.shutdown().await;
        begun
    };
    if let Err(failure) = begun.await {
        context
            .output
            .note(&format!("signed in, but not synced yet: {failure}"));
    }
}

async fn sign_out(context: &Context) -> Result<(), Failure> {
    let mut carrier = Carrier::own(context)?;
    let patience = Patience::new(context.timeout());
    carrier.until_connected(&patience).await?;
    carrier.client()?.sign_out().await?;
    carrier.shutdown().await;
    Ok(())
}

fn held(context: &Context, account: Account) -> Failure {
    Failure::Held {
        home: context.home_name(),
        name: account.name,
    }
}

async fn in_time(
    context: &Context,
    answer: impl Future<Output = Result<Account, SignInError>>,
) -> Result<Account, Failure> {
    let patience = Patience::new(context.timeout());
    tokio::select! {
        biased;
        answer = answer => {
            answer.map_err(|error| Failure::from_sign_in(error, context.home_name()))
        }
        () = patience.over() => Err(patience.timed_out("the server did not answer")),
    }
}
