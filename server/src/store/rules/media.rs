//! Which photos and files somebody may refer to.

use magpie_protocol::{id::MediaId, media::MediaReference};

use crate::store::Refusal;

/// Something stored that the actor may have: their own, out of a message that they may
/// read, or the photo of somebody whom they know.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::store) struct Attached {
    /// The engine's own.
    pub(in crate::store) key: i64,
    pub(in crate::store) id: MediaId,
    pub(in crate::store) size: u64,
    pub(in crate::store) sha256: [u8; 32],
}

/// The keys of what somebody refers to, of what there is for the actor. It must be as
/// a message says, for that is what devices believe before they fetch it.
pub(super) fn attach(
    references: &[MediaReference],
    found: &[Attached],
) -> Result<Vec<i64>, Refusal> {
    let attach = |it: &MediaReference| {
        let mut found = found.iter();
        let found = found.find(|found| found.id == it.id)?;
        let is_so = it
            .exactly
            .is_none_or(|exactly| exactly == (found.size, found.sha256));
        is_so.then_some(found.key)
    };
    let keys: Option<Vec<i64>> = references.iter().map(attach).collect();
    keys.ok_or(Refusal::NoMedia)
}
