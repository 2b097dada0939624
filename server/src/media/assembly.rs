//! From the parts of an upload to one object.

use std::io;

use aws_lc_rs::digest::{Context, SHA256};
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use magpie_protocol::id::{MediaId, UserId};

use super::{Media, content, replies::Refused, upkeep::BLOB_MADE_WITHIN};
use crate::store::{NewBlob, Upload};

impl Media {
    /// An upload is whole: makes it what it is. Whatever ends this in between leaves it
    /// to be done again.
    pub(super) async fn assemble(
        &self,
        user: UserId,
        id: MediaId,
        upload: &Upload,
    ) -> Result<(), Refused> {
        let (store, random) = (&self.parts.store, self.parts.random.bytes());
        let name = random.map_err(|none| Refused::Unavailable(none.to_string()))?;
        store.plan_blob(name, self.in_ms(BLOB_MADE_WITHIN)).await?;
        let Some((sha256, content_type)) = self.write_blob(id, upload, name).await? else {
            // It will never be what it was to be.
            store.remove_media(user, id, self.trash_ms()).await?;
            return Err(Refused::Checksum);
        };
        let blob = NewBlob {
            name,
            sha256,
            content_type,
        };
        let (expires_at_ms, trash_at_ms) = (self.expiry_ms(), self.trash_ms());
        // If it is none any more that can be finished, somebody else did, or ended it.
        let is_ours = store
            .finish_upload(id, &blob, expires_at_ms, trash_at_ms)
            .await?;
        if is_ours {
            metrics::counter!(crate::metrics::MEDIA_STORED).increment(1);
        }
        Ok(())
    }

    /// Writes all parts into one object. What it is, and what it says that it is; `None`
    /// if that is not what its uploader said.
    async fn write_blob(
        &self,
        id: MediaId,
        upload: &Upload,
        name: [u8; 16],
    ) -> Result<Option<([u8; 32], &'static str)>, Refused> {
        let parts = self.parts.store.parts(id).await?;
        let wanted = upload.sha256.as_ref();
        let mut writing = self.depot.begin_blob(name, upload.size, wanted).await?;
        let (mut context, mut head, mut written) = (Context::new(&SHA256), Vec::new(), 0);
        let depot = self.depot.clone();
        let mut read = stream::iter(parts)
            .map(move |part| {
                let depot = depot.clone();
                async move { (part, depot.get_part(id, part.name).await) }
            })
            .buffered(self.depot.read_ahead());
        while let Some((part, bytes)) = read.next().await {
            let bytes = bytes?;
            if part.start != written || bytes.len() as u64 != part.size {
                return Err(damaged().into());
            }
            written += part.size;
            context.update(&bytes);
            put_head(&mut head, &bytes);
            writing.write(bytes).await?;
        }
        if written != upload.size {
            return Err(damaged().into());
        }
        let sha256 = context.finish().as_ref().try_into();
        let sha256 = sha256.map_err(|_| damaged())?;
        if wanted.is_some_and(|wanted| *wanted != sha256) {
            return Ok(None);
        }
        writing.finish().await?;
        Ok(Some((sha256, content::content_type(&head))))
    }
}

fn put_head(head: &mut Vec<u8>, bytes: &Bytes) {
    let wanted = content::HEAD_SIZE.saturating_sub(head.len());
    head.extend(bytes.iter().take(wanted));
}

fn damaged() -> io::Error {
    io::Error::other("the parts of an upload are not those that were written down")
}
