//! Where a device's pushes go, and that its app goes to the background.

use std::sync::Arc;

use magpie_protocol::push::PushAddress;

use crate::{
    clock::Clock,
    delivery::Keeper,
    hub::{Hub, Mailbox},
    store::{DEADLINE_MS_MAX, SharedStore, StoreError},
};

/// What a device says about its pushes.
#[derive(Debug)]
pub enum PushRequest {
    /// They go there.
    Set(PushAddress),
    /// It wants none.
    Clear,
    /// Its app goes to the background: it is as good as gone.
    Detach,
}

/// Takes what devices say about their pushes.
pub struct Pushes {
    /// Where it is written down.
    pub store: SharedStore,
    /// Who is connected.
    pub hub: Arc<Hub>,
    /// Who writes down who is connected.
    pub keeper: Arc<Keeper>,
    /// For when to look.
    pub clock: Clock,
}

impl Pushes {
    /// Does what a device asks for.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: nothing has changed.
    pub async fn handle(
        &self,
        from: &Arc<Mailbox>,
        request: PushRequest,
    ) -> Result<(), StoreError> {
        match request {
            PushRequest::Set(address) => {
                let look_at_ms = self.clock.wall_ms().saturating_add(DEADLINE_MS_MAX);
                let set = self.store.set_push(from.device, &address, look_at_ms);
                set.await
            }
            PushRequest::Clear => self.store.clear_push(from.device, None).await.map(drop),
            PushRequest::Detach => {
                self.hub.looks_away(from);
                self.keeper.detach(from).await
            }
        }
    }
}
