//! Photos and files: made ready to be sent, and where they are.

use std::path::PathBuf;

use magpie_protocol::id::{MediaId, MessageId};
use tokio::{sync::Semaphore, task::spawn_blocking};

use super::Home;
use crate::{
    error::LocalError,
    media::{Attached, Attachment, Cache, InvalidAttachment, Stage, Unfit},
    message::MessagePlace,
    request::NewRequest,
};

/// One picture is decoded at a time: it may take up to 256 MB of memory.
static DECODING: Semaphore = Semaphore::const_new(1);

impl Home {
    /// Makes a file ready to be sent, on a thread of its own: decodes a photo, makes smaller
    /// ones of it, and writes all that is to be sent into the home. The file itself is of no
    /// importance any more. A photo takes at most 256 MB of memory and two seconds. Call it
    /// inside a tokio runtime.
    ///
    /// # Errors
    ///
    /// [`InvalidAttachment`] says why it cannot be sent.
    pub async fn attach(&self, what: Attachment) -> Result<Attached, InvalidAttachment> {
        let stage = Stage::of_home(&self.directory);
        let path = what.path.clone();
        // It is never closed.
        let permit = DECODING.acquire().await;
        let made = spawn_blocking(move || stage.attach(&what)).await;
        drop(permit);
        made.unwrap_or_else(|error| {
            let reason = Unfit::File(std::io::Error::other(error));
            Err(InvalidAttachment { path, reason })
        })
    }

    /// Queues a request that refers to what was attached: a message with its
    /// [`Media`](crate::Media), or a profile with its id as the photo. As with
    /// [`Self::queue`] it will be sent, once all of it is uploaded: nothing that is queued
    /// since waits for it, but for what is about the same profile.
    ///
    /// # Errors
    ///
    /// [`LocalError`]; nothing is queued then.
    pub fn queue_with(
        &self,
        request: NewRequest,
        mut attached: Vec<Attached>,
    ) -> Result<MessageId, LocalError> {
        let objects: Vec<_> = attached.iter().flat_map(Attached::objects).collect();
        let id = self.database.lock().queue_with(request, &objects)?;
        attached.iter_mut().for_each(Attached::keep);
        Ok(id)
    }

    /// Where a message is that is stored here, by its id; `None` if none has it.
    ///
    /// # Errors
    ///
    /// [`LocalError`].
    pub fn find(&self, id: MessageId) -> Result<Option<MessagePlace>, LocalError> {
        self.database.lock().find(id)
    }

    /// Where a photo or file is on this device; `None` if it must be fetched
    /// ([`Client::fetch_media`](crate::Client::fetch_media)). What waits to be sent is here.
    #[must_use]
    pub fn media(&self, id: MediaId) -> Option<PathBuf> {
        let staged = Stage::of_home(&self.directory).path(id);
        let found = Cache::of_home(&self.directory).find(id);
        found.or_else(|| staged.exists().then_some(staged))
    }

    pub(super) fn remove_staged(&self, files: &[MediaId]) {
        let stage = Stage::of_home(&self.directory);
        files.iter().for_each(|id| stage.remove(*id));
    }

    pub(super) fn forget_media(&self) {
        // What is left is swept, or used by nobody.
        drop(std::fs::remove_dir_all(self.directory.join("media")));
    }

    pub(super) fn sweep_media(&self) {
        let database = self.database.lock();
        // Of what cannot be asked, none is removed.
        let is_known = |id| database.is_upload(id).unwrap_or(true);
        Stage::of_home(&self.directory).sweep(is_known);
    }
}
