//! For whom messages are meant in particular, for those who want no others.

use magpie_protocol::{seq::Position, setting::NotifyLevel};

use super::{Duty, Seen};
use crate::store::{Candidate, StoreError, WorthyEvent};

impl Duty {
    /// Finds for whom the messages are meant, if somebody wants no others.
    pub(super) async fn find_addressed(
        &self,
        events: &[WorthyEvent],
        candidates: &[Candidate],
        seen: &mut Seen,
    ) -> Result<(), StoreError> {
        let is_asked = candidates
            .iter()
            .any(|it| it.level == NotifyLevel::Mentions);
        if is_asked && seen.addressed.is_none() {
            let positions: Vec<Position> = events.iter().map(|it| it.position).collect();
            let found = self.store.addressed(&positions).await?;
            seen.addressed = Some(found.into_iter().map(|it| (it.position, it)).collect());
        }
        Ok(())
    }
}
