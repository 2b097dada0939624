//! What users set for themselves.

use std::sync::Arc;

use magpie_protocol::{
    setting::{Reach, Setting},
    wire::v1::{self, event_content::Kind},
};

use super::{
    Aside, Attached, ConversationKind, Effect, Members, Person, Place, Public, Scene, media::attach,
};
use crate::store::{Refusal, event::EventKind};

/// A setting of the sender's own: an event of their account log, which the first one
/// makes. What it is about need not be there: it means something to its user alone. But a
/// photo does, of which `found` is what the actor may have. Nobody blocks themself.
pub(in crate::store) fn change_account(
    place: Option<Place>,
    sender: &Arc<Person>,
    setting: &Setting,
    found: &[Attached],
) -> Result<Effect, Refusal> {
    if matches!(setting, Setting::Block { user, .. } if *user == sender.id) {
        return Err(Refusal::NotPossible);
    }
    let (scene, members) = match place {
        Some(place) => (Scene::In(place), Members::Same),
        None => (
            Scene::New(ConversationKind::Account, String::new()),
            Members::Join {
                people: vec![(Arc::clone(sender), None)],
                from_beginning: false,
            },
        ),
    };
    let photo = attach(&setting.media(), found)?.first().copied();
    let aside = match setting {
        Setting::Notify {
            conversation,
            notify,
        } => Aside::Notify(*conversation, *notify),
        Setting::Profile(it) => Aside::Person(Public::Profile(it.clone(), photo)),
        Setting::Discoverable(it) => Aside::Person(Public::Discoverable(*it)),
        Setting::Link(it) => Aside::Person(Public::Link(*it)),
        Setting::Block { user, blocked } => Aside::Block(*user, *blocked),
        Setting::Privacy { messages } => Aside::FriendsOnly(*messages == Reach::Friends),
        Setting::Receipts { hidden } => Aside::HideReceipts(*hidden),
        Setting::Presence { hidden } => Aside::HidePresence(*hidden),
        Setting::Hide { .. } | Setting::Contact { .. } | Setting::Declined { .. } => Aside::Nothing,
    };
    Ok(Effect {
        scene,
        kind: EventKind::AccountChanged,
        content: Kind::AccountChanged(v1::AccountChanged {
            change: Some(setting.to_wire()),
        }),
        members,
        aside,
    })
}
