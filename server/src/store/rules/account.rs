//! What users set for themselves.

use std::sync::Arc;

use magpie_protocol::{
    setting::Setting,
    wire::v1::{self, event_content::Kind},
};

use super::{Aside, ConversationKind, Effect, Members, Person, Place, Scene};
use crate::store::event::EventKind;

/// A setting of the sender's own: an event of their account log, which the first one
/// makes. What it is about need not be there: it means something to its user alone.
pub(in crate::store) fn change_account(
    place: Option<Place>,
    sender: &Arc<Person>,
    setting: &Setting,
) -> Effect {
    let (scene, members) = match place {
        Some(place) => (Scene::In(place), Members::Same),
        None => (
            Scene::New(ConversationKind::Account, String::new()),
            Members::Join(vec![(Arc::clone(sender), None)]),
        ),
    };
    let aside = match setting {
        Setting::Notify {
            conversation,
            notify,
        } => Aside::Notify(*conversation, *notify),
        Setting::Receipts { hidden } => Aside::HideReceipts(*hidden),
        Setting::Hide { .. } | Setting::Contact { .. } => Aside::Nothing,
    };
    Effect {
        scene,
        kind: EventKind::AccountChanged,
        content: Kind::AccountChanged(v1::AccountChanged {
            change: Some(setting.to_wire()),
        }),
        members,
        aside,
    }
}
