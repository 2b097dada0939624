//! A device introduces itself: where it goes on, and when it may write.

use magpie_protocol::wire::{Hello, v1};

use super::{Context, Log, Mutant, Place, ServerLink};
use crate::world::TOKEN;

impl ServerLink {
    /// The hello sets the device's cursor, also downwards, and fences what came
    /// before it.
    pub(super) fn greet(&mut self, hello: &Hello, log: &mut Log, context: Context) {
        debug_assert_eq!(hello.token, TOKEN, "devices know their token");
        let epoch = log.epoch();
        self.held = Some(hello.epoch).filter(|held| *held != 0 && *held != epoch);
        let place = log.resume(self.held, Place::open(&hello.cursor), context.mutant);
        let row = log.rows.entry(hello.device).or_default();
        row.generation += 1;
        row.lowered |= !place.covers(&row.confirmed);
        row.confirmed = if context.mutant == Mutant::HelloNeverLowers {
            row.confirmed.higher_of(&place)
        } else {
            place.clone()
        };
        self.generation = row.generation;
        self.device = Some(hello.device);
        self.user = context.owner(hello.device);
        self.confirmed = place.clone();
        self.place = place;
        self.rung = true;
        if let (Some(held), Some(user)) = (self.held, self.user) {
            self.descriptions = log.in_common(user, held, context.mutant).into();
            self.owes_caught_up = true;
        }
        let welcome = v1::Welcome {
            epoch,
            ..Default::default()
        };
        self.session.welcome(&welcome, context.now, &mut self.out);
    }

    /// Whether a request comes too early: what its device does not know yet that
    /// it must send again comes before it. The connection ends there (D6, D11).
    pub(super) fn holds_write(&mut self, context: Context) -> bool {
        let acked = self.session.acked();
        let mut stored = self.pages.iter().take_while(|it| it.number <= acked);
        if stored.any(|it| it.catches_up) {
            self.held = None;
        }
        let holds = self.held.is_some() && context.mutant != Mutant::NoEarlyWriteGate;
        if holds {
            self.end(v1::ErrorCode::Unavailable, context);
        }
        holds
    }

    /// The next thing to be said of what two histories have in common.
    pub(super) fn describe(&mut self) -> Option<v1::Conversation> {
        let (conversation, first, common) = self.descriptions.pop_front()?;
        Some(v1::Conversation {
            conversation_id: conversation.to_wire(),
            first_seq: first,
            common_seq: Some(common),
            ..Default::default()
        })
    }
}
