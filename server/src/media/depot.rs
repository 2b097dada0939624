//! Where the objects lie: a folder for each, in a directory. No name comes from a client.

use std::{
    io,
    ops::Range,
    path::{Path as FilePath, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use data_encoding::HEXLOWER;
use magpie_protocol::id::MediaId;
use object_store::{
    MultipartUpload, ObjectStore, ObjectStoreExt as _, PutPayload, local::LocalFileSystem,
    path::Path,
};

use crate::store::Trash;

/// Objects, kept durably.
#[derive(Clone, Debug)]
pub(super) struct Depot {
    objects: Arc<dyn ObjectStore>,
    root: PathBuf,
}

/// A blob that is being written.
pub(super) struct Writing(Box<dyn MultipartUpload>);

impl Depot {
    /// Objects in this directory, which is made if it is absent.
    pub(super) fn open(root: &FilePath) -> io::Result<Self> {
        std::fs::create_dir_all(root)?;
        let root = root.canonicalize()?;
        let objects = LocalFileSystem::new_with_prefix(&root)?.with_fsync(true);
        Ok(Self {
            objects: Arc::new(objects),
            root,
        })
    }

    fn folder(trash: Trash) -> String {
        match trash {
            Trash::Blob(name) => format!("blobs/{}", HEXLOWER.encode(&name)),
            Trash::Parts(id) => format!("uploads/{}", HEXLOWER.encode(&id.bytes())),
        }
    }

    fn blob(name: [u8; 16]) -> Path {
        Path::from(format!("{}/whole", Self::folder(Trash::Blob(name))))
    }

    fn part(upload: MediaId, name: [u8; 16]) -> Path {
        let folder = Self::folder(Trash::Parts(upload));
        Path::from(format!("{folder}/{}", HEXLOWER.encode(&name)))
    }

    /// Writes a part.
    pub(super) async fn put_part(
        &self,
        upload: MediaId,
        name: [u8; 16],
        bytes: Vec<Bytes>,
    ) -> io::Result<()> {
        let payload = PutPayload::from_iter(bytes);
        self.objects.put(&Self::part(upload, name), payload).await?;
        Ok(())
    }

    /// Reads a part.
    pub(super) async fn get_part(&self, upload: MediaId, name: [u8; 16]) -> io::Result<Bytes> {
        let got = self.objects.get(&Self::part(upload, name)).await?;
        Ok(got.bytes().await?)
    }

    /// Begins to write a blob.
    pub(super) async fn begin_blob(&self, name: [u8; 16]) -> io::Result<Writing> {
        Ok(Writing(
            self.objects.put_multipart(&Self::blob(name)).await?,
        ))
    }

    /// Reads a part of a blob.
    pub(super) async fn get_blob(&self, name: [u8; 16], range: Range<u64>) -> io::Result<Bytes> {
        Ok(self.objects.get_range(&Self::blob(name), range).await?)
    }

    /// Deletes objects, also those that were begun and are not whole.
    pub(super) async fn delete(&self, trash: Trash) -> io::Result<()> {
        let folder = self.root.join(Self::folder(trash));
        match tokio::fs::remove_dir_all(folder).await {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            done => done,
        }
    }
}

impl Writing {
    /// Writes on.
    pub(super) async fn write(&mut self, bytes: Bytes) -> io::Result<()> {
        Ok(self.0.put_part(bytes.into()).await?)
    }

    /// It is whole, and durable when this returns.
    pub(super) async fn finish(mut self) -> io::Result<()> {
        self.0.complete().await?;
        Ok(())
    }
}
