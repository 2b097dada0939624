//! What users set for themselves.

use std::sync::Arc;

use magpie_protocol::{
    setting::Setting,
    wire::v1::{self, event_content::Kind},
};

use super::{Aside, ConversationKind, Effect, Members, Person, Place, Public, Scene};
use crate::store::{Refusal, event::EventKind};

/// A setting of the sender's own: an event of their account log, which the first one
/// makes. What it is about need not be there: it means something to its user alone. Nobody
/// blocks themself.
pub(in crate::store) fn change_account(
    place: Option<Place>,
    sender: &Arc<Person>,
    setting: &Setting,
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
    let aside = match setting {
        Setting::Notify {
            conversation,
            notify,
        } => Aside::Notify(*conversation, *notify),
        Setting::Profile(it) => Aside::Person(Public::Profile(it.clone())),
        Setting::Discoverable(it) => Aside::Person(Public::Discoverable(*it)),
        Setting::Link(it) => Aside::Person(Public::Link(*it)),
        Setting::Block { user, blocked } => Aside::Block(*user, *blocked),
        Setting::Receipts { hidden } => Aside::HideReceipts(*hidden),
        Setting::Presence { hidden } => Aside::HidePresence(*hidden),
        Setting::Hide { .. } | Setting::Contact { .. } => Aside::Nothing,
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
