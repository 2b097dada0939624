//! `profile`, `link`, `find`, `typing`.

use magpie_client::{Attached, AttachmentKind, NewRequest, Setting};

use super::{devices::connected, media::attach};
use crate::{
    args::people::{Answer, Find, Link, Profile, Typing},
    carrier::Carrier,
    context::Context,
    failure::{Exit, Failure},
    line::{Line, Shown},
    wait::{Open, until_answered},
};

pub(crate) async fn profile(context: &Context, asked: Profile) -> Result<Exit, Failure> {
    let (settings, photo) = settings(context, &asked).await?;
    if !settings.is_empty() {
        context.signed_in()?;
        return set(context, settings, photo, asked.queue).await;
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
async fn settings(
    context: &Context,
    asked: &Profile,
) -> Result<(Vec<Setting>, Option<Attached>), Failure> {
    let mut settings = Vec::new();
    let photo = match &asked.photo {
        Some(path) => Some(attach(context, path.clone(), AttachmentKind::Photo).await?),
        None => None,
    };
    let is_said = asked.name.is_some() || asked.status.is_some();
    if is_said || photo.is_some() || asked.no_photo {
        let mut profile = context.home.own_profile()?;
        if let Some(name) = &asked.name {
            profile.display_name = name.clone();
        }
        if let Some(status) = &asked.status {
            profile.status = status.clone();
        }
        if let Some(photo) = &photo {
            profile.photo = Some(photo.media().id);
        }
        if asked.no_photo {
            profile.photo = None;
        }
        settings.push(Setting::Profile(profile));
    }
    if let Some(answer) = asked.discoverable {
        settings.push(Setting::Discoverable(matches!(answer, Answer::Yes)));
    }
    Ok((settings, photo))
}

/// Sets all of it; the photo goes with the first.
async fn set(
    context: &Context,
    settings: Vec<Setting>,
    photo: Option<Attached>,
    only: bool,
) -> Result<Exit, Failure> {
    let mut requests = settings.into_iter().map(NewRequest::Set);
    let mut ids = Vec::new();
    if let Some(photo) = photo
        && let Some(profile) = requests.next()
    {
        ids.push(context.home.queue_with(profile, vec![photo])?);
    }
    ids.extend(context.home.queue_all(requests.collect())?);
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
        exit = set(context, vec![Setting::Link(secret)], None, asked.queue).await?;
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
