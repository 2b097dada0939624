//! `notify`, `mute`, `unmute`, `hide`, `contact`, `block`, `unblock`, `contacts`, `receipts`: what
//! the user sets for themself, on all their devices; through the outbox, like messages.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use magpie_client::{FindUsers, NewRequest, Notify, NotifyLevel, Setting, UserId, UserName};

use super::{
    devices::connected,
    message::{place, queue},
};
use crate::{
    args::setting::{Block, Contact, Hide, Mute, Receipts, Scope, Told, Unblock, Unmute},
    context::Context,
    failure::{Exit, Failure},
    line::Line,
};

pub(crate) async fn notify(
    context: &Context,
    asked: crate::args::setting::Notify,
) -> Result<Exit, Failure> {
    set_level(context, asked.scope, asked.level.into(), asked.time).await
}

pub(crate) async fn mute(context: &Context, asked: Mute) -> Result<Exit, Failure> {
    set_level(context, asked.scope, NotifyLevel::None, asked.time).await
}

pub(crate) async fn unmute(context: &Context, asked: Unmute) -> Result<Exit, Failure> {
    set_level(context, asked.scope, NotifyLevel::All, None).await
}

async fn set_level(
    context: &Context,
    scope: Scope,
    level: NotifyLevel,
    time: Option<Duration>,
) -> Result<Exit, Failure> {
    context.signed_in()?;
    let conversation = match &scope.of {
        Some(of) => Some(context.conversation(of)?),
        None => None,
    };
    let until_ms = time.map(|time| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let until = now.unwrap_or_default().saturating_add(time);
        i64::try_from(until.as_millis()).unwrap_or(i64::MAX)
    });
    let notify = Notify { level, until_ms };
    let setting = Setting::Notify {
        conversation,
        notify,
    };
    queue(context, NewRequest::Set(setting), scope.queue).await
}

pub(crate) async fn hide(context: &Context, asked: Hide) -> Result<Exit, Failure> {
    context.signed_in()?;
    let place = place(context, &asked.which)?;
    let setting = Setting::Hide {
        conversation: place.conversation,
        seq: place.seq,
    };
    queue(context, NewRequest::Set(setting), asked.queue).await
}

pub(crate) async fn contact(context: &Context, asked: Contact) -> Result<Exit, Failure> {
    context.signed_in()?;
    let setting = Setting::Contact {
        user: known(context, &asked.name, asked.queue).await?,
        favourite: asked.favourite,
        nickname: asked.nickname,
    };
    queue(context, NewRequest::Set(setting), asked.queue).await
}

pub(crate) async fn block(context: &Context, asked: Block) -> Result<Exit, Failure> {
    set_blocked(context, &asked.name, true, asked.queue).await
}

pub(crate) async fn unblock(context: &Context, asked: Unblock) -> Result<Exit, Failure> {
    set_blocked(context, &asked.name, false, asked.queue).await
}

async fn set_blocked(
    context: &Context,
    name: &UserName,
    blocked: bool,
    queued: bool,
) -> Result<Exit, Failure> {
    context.signed_in()?;
    let user = known(context, name, queued).await?;
    let setting = Setting::Block { user, blocked };
    queue(context, NewRequest::Set(setting), queued).await
}

/// Somebody with whom the user shares a conversation; the server is asked for others,
/// unless nobody is to be connected to.
pub(super) async fn known(
    context: &Context,
    name: &UserName,
    queued: bool,
) -> Result<UserId, Failure> {
    if let Some(user) = context.home.user_named(name)? {
        return Ok(user);
    }
    let unknown = || Failure::UnknownUser { name: name.clone() };
    if queued {
        return Err(unknown());
    }
    let carrier = connected(context).await?;
    let by = FindUsers::Name(name.clone());
    let found = carrier.client()?.find_users(&by).await;
    carrier.shutdown().await;
    let (user, _) = found?.into_iter().next().ok_or_else(unknown)?;
    Ok(user.id)
}

pub(crate) async fn receipts(context: &Context, asked: Receipts) -> Result<Exit, Failure> {
    context.signed_in()?;
    let Some(told) = asked.told else {
        let hidden = context.home.hides_receipts()?;
        context.output.line(&Line::Receipts { hidden })?;
        return Ok(Exit::Done);
    };
    let hidden = matches!(told, Told::Hide);
    let setting = Setting::Receipts { hidden };
    queue(context, NewRequest::Set(setting), asked.queue).await
}

pub(crate) fn contacts(context: &Context) -> Result<Exit, Failure> {
    context.account()?;
    for contact in context.home.contacts()? {
        context.output.line(&Line::contact(contact))?;
    }
    Ok(Exit::Done)
}
