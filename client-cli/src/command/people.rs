//! `profile`, `link`, `find`, `typing`.

use magpie_client::{NewRequest, Setting};

use super::devices::connected;
use crate::{
    args::people::{Answer, Find, Link, Profile, Typing},
    carrier::Carrier,
    context::Context,
    failure::{Exit, Failure},
    line::{Line, Shown},
    wait::{Open, until_answered},
};

pub(crate) async fn profile(context: &Context, asked: Profile) -> Result<Exit, Failure> {
    let settings = settings(context, &asked)?;
    if !settings.is_empty() {
        context.signed_in()?;
        return set(context, settings, asked.queue).await;
    }
    let account = context.account()?;
    let (user, discoverable) = match &asked.of {
        None => (account.user_id, Some(context.home.is_discoverable()?)),
        Some(name) if name.as_str() == account.name => {
            (account.user_id, Some(context.home.is_discoverable()?))
        }
        Some(name) => {
            let user = context.home.user_named(name)?;
            let unknown = || Failure::UnknownUser { name: name.clone() };
            (user.ok_or_else(unknown)?, None)
        }
    };
    if let Some((user, profile)) = context.home.profile(user)? {
        let line = Line::profile(user, profile, discoverable);
        context.output.line(&line)?;
    }
    Ok(Exit::Done)
}

/// What is to be otherwise.
fn settings(context: &Context, asked: &Profile) -> Result<Vec<Setting>, Failure> {
    let mut settings = Vec::new();
    if asked.name.is_some() || asked.status.is_some() {
        let mut profile = context.home.own_profile()?;
        if let Some(name) = &asked.name {
            profile.display_name = name.clone();
        }
        if let Some(status) = &asked.status {
            profile.status = status.clone();
        }
        settings.push(Setting::Profile(profile));
    }
    if let Some(answer) = asked.discoverable {
        settings.push(Setting::Discoverable(matches!(answer, Answer::Yes)));
    }
    Ok(settings)
}

async fn set(context: &Context, settings: Vec<Setting>, only: bool) -> Result<Exit, Failure> {
    let requests = settings.into_iter().map(NewRequest::Set).collect();
    let ids = context.home.queue_all(requests)?;
    let mut open = Open::default();
    for id in ids {
        if only {
            let message_id = Shown(id);
            context.output.line(&Line::Queued { message_id })?;
        } else {
            open.push(id);
        }
    }
    match only {
        true => Ok(Exit::Done),
        false => until_answered(context, Carrier::any(context)?, open).await,
    }
}

pub(crate) async fn link(context: &Context, asked: &Link) -> Result<Exit, Failure> {
    context.account()?;
    let mut exit = Exit::Done;
    if asked.new || asked.none {
        context.signed_in()?;
        let secret = match asked.none {
            true => None,
            false => Some(context.home.new_link()?),
        };
        exit = set(context, vec![Setting::Link(secret)], asked.queue).await?;
    }
    let link = context.home.link()?.map(|link| link.to_string());
    context.output.line(&Line::Link { link })?;
    Ok(exit)
}

pub(crate) async fn typing(context: &Context, asked: &Typing) -> Result<Exit, Failure> {
    context.signed_in()?;
    let conversation = context.conversation(&asked.of)?;
    let carrier = connected(context).await?;
    let told = carrier.client()?.typing(conversation, !asked.end).await;
    carrier.shutdown().await;
    told?;
    Ok(Exit::Done)
}

pub(crate) async fn find(context: &Context, asked: &Find) -> Result<Exit, Failure> {
    context.signed_in()?;
    let by = asked.by()?;
    let carrier = connected(context).await?;
    let found = carrier.client()?.find_users(&by).await;
    carrier.shutdown().await;
    for (user, profile) in found? {
        let line = Line::profile(user, profile, None);
        context.output.line(&line)?;
    }
    Ok(Exit::Done)
}
