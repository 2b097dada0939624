//! Where the objects lie: a folder for each, in a directory or a bucket. No name comes
//! from a client.

use std::{
    io,
    ops::Range,
    path::{Path as FilePath, PathBuf},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use data_encoding::HEXLOWER;
use futures_util::{StreamExt as _, TryStreamExt as _};
use magpie_protocol::id::MediaId;
use object_store::{
    Error, MultipartUpload, ObjectStore, ObjectStoreExt as _, PutPayload, local::LocalFileSystem,
    path::Path,
};

use super::bucket::{Putting, Remote};
use crate::{config::MediaPlace, store::Trash};

/// Photos and files cannot be kept where they are to be.
#[derive(Debug, thiserror::Error)]
#[error("photos and files cannot be kept in {place}: {reason}")]
pub struct UnusablePlace {
    /// The directory or the bucket.
    pub place: String,
    /// What is wrong with it.
    pub reason: String,
}

/// Objects, kept durably.
#[derive(Clone, Debug)]
pub(super) struct Depot {
    objects: Arc<dyn ObjectStore>,
    place: Place,
}

#[derive(Clone, Debug)]
enum Place {
    Directory(PathBuf),
    Bucket(Remote),
}

/// A blob that is being written.
pub(super) enum Writing {
    File(Box<dyn MultipartUpload>),
    Object(Putting),
}

impl Depot {
    /// Objects in this place. A directory is made if it is absent; a bucket must be there
    /// and is tried.
    pub(super) async fn open(place: &MediaPlace) -> Result<Self, UnusablePlace> {
        let opened = match place {
            MediaPlace::Directory(root) => {
                let opened = Self::in_directory(root).map_err(|error| error.to_string());
                opened.map_err(|reason| (root.display().to_string(), reason))
            }
            MediaPlace::Bucket {
                bucket,
                access,
                is_presigned,
            } => {
                let remote = Remote::open(bucket, access, *is_presigned).await;
                let opened = remote.map(|remote| Self {
                    objects: remote.objects(),
                    place: Place::Bucket(remote),
                });
                opened.map_err(|reason| (bucket.to_string(), reason))
            }
        };
        opened.map_err(|(place, reason)| UnusablePlace { place, reason })
    }

    fn in_directory(root: &FilePath) -> io::Result<Self> {
        std::fs::create_dir_all(root)?;
        let root = root.canonicalize()?;
        let objects = LocalFileSystem::new_with_prefix(&root)?.with_fsync(true);
        Ok(Self {
            objects: Arc::new(objects),
            place: Place::Directory(root),
        })
    }

    /// Where an object is, or those of an upload.
    fn path(&self, below: &str) -> Path {
        let prefix = match &self.place {
            Place::Directory(_) => "",
            Place::Bucket(remote) => remote.prefix(),
        };
        Path::from(format!("{prefix}{below}"))
    }

    fn folder(trash: Trash) -> String {
        match trash {
            Trash::Blob(name) => format!("blobs/{}", HEXLOWER.encode(&name)),
            Trash::Parts(id) => format!("uploads/{}", HEXLOWER.encode(&id.bytes())),
        }
    }

    fn blob(&self, name: [u8; 16]) -> Path {
        self.path(&format!("{}/whole", Self::folder(Trash::Blob(name))))
    }

    fn part(&self, upload: MediaId, name: [u8; 16]) -> Path {
        let folder = Self::folder(Trash::Parts(upload));
        self.path(&format!("{folder}/{}", HEXLOWER.encode(&name)))
    }

    /// Writes a part.
    pub(super) async fn put_part(
        &self,
        upload: MediaId,
        name: [u8; 16],
        bytes: Vec<Bytes>,
    ) -> io::Result<()> {
        let payload = PutPayload::from_iter(bytes);
        let put = self.objects.put(&self.part(upload, name), payload).await;
        put.map_err(broken)?;
        Ok(())
    }

    /// Parts that are read at the same time: a bucket is far away.
    pub(super) const fn read_ahead(&self) -> usize {
        match &self.place {
            Place::Directory(_) => 1,
            Place::Bucket(_) => 2,
        }
    }

    /// Reads a part.
    pub(super) async fn get_part(&self, upload: MediaId, name: [u8; 16]) -> io::Result<Bytes> {
        let got = self.objects.get(&self.part(upload, name)).await;
        got.map_err(broken)?.bytes().await.map_err(broken)
    }

    /// Whether clients may put parts where we say, without us.
    pub(super) fn takes_parts(&self) -> bool {
        match &self.place {
            Place::Bucket(remote) => remote.takes_parts(),
            Place::Directory(_) => false,
        }
    }

    /// Where whoever has this URL may put a part with this SHA-256, and begin to for so
    /// long; `None` if nobody may.
    pub(super) async fn presign_part(
        &self,
        upload: MediaId,
        name: [u8; 16],
        sha256: &[u8; 32],
        valid: Duration,
    ) -> io::Result<Option<String>> {
        let path = self.part(upload, name);
        match &self.place {
            Place::Bucket(remote) if remote.takes_parts() => {
                let signed = remote.presign_put(&path, Some(sha256), valid).await?;
                Ok(Some(signed.into()))
            }
            Place::Directory(_) | Place::Bucket(_) => Ok(None),
        }
    }

    /// Bytes of a part, if it is there.
    pub(super) async fn part_size(
        &self,
        upload: MediaId,
        name: [u8; 16],
    ) -> io::Result<Option<u64>> {
        match self.objects.head(&self.part(upload, name)).await {
            Ok(found) => Ok(Some(found.size)),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(broken(error)),
        }
    }

    /// Begins to write a blob of so many bytes, which are to be these, if that is known.
    pub(super) async fn begin_blob(
        &self,
        name: [u8; 16],
        size: u64,
        sha256: Option<&[u8; 32]>,
    ) -> io::Result<Writing> {
        let path = self.blob(name);
        match &self.place {
            Place::Directory(_) => Ok(Writing::File(self.objects.put_multipart(&path).await?)),
            Place::Bucket(remote) => Ok(Writing::Object(remote.put(&path, size, sha256).await?)),
        }
    }

    /// Reads a part of a blob.
    pub(super) async fn get_blob(&self, name: [u8; 16], range: Range<u64>) -> io::Result<Bytes> {
        let got = self.objects.get_range(&self.blob(name), range).await;
        got.map_err(broken)
    }

    /// Where whoever has this URL gets a blob from without us, for so long, as something of
    /// this type; `None` if it is to be had here alone.
    pub(super) async fn presign_blob(
        &self,
        name: [u8; 16],
        content_type: &str,
        valid: Duration,
    ) -> io::Result<Option<String>> {
        match &self.place {
            Place::Bucket(remote) if remote.is_presigned() => {
                let path = self.blob(name);
                remote.presign(&path, content_type, valid).await.map(Some)
            }
            Place::Directory(_) | Place::Bucket(_) => Ok(None),
        }
    }

    /// Deletes objects, also those that were begun and are not whole.
    pub(super) async fn delete(&self, trash: Trash) -> io::Result<()> {
        let folder = Self::folder(trash);
        let Place::Directory(root) = &self.place else {
            return self.delete_objects(trash).await;
        };
        match tokio::fs::remove_dir_all(root.join(folder)).await {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            done => done,
        }
    }

    /// In a bucket nothing is there before it is whole.
    async fn delete_objects(&self, trash: Trash) -> io::Result<()> {
        let deleted = match trash {
            Trash::Blob(name) => self.objects.delete(&self.blob(name)).await,
            Trash::Parts(_) => {
                let listed = self.objects.list(Some(&self.path(&Self::folder(trash))));
                let paths = listed.map_ok(|it| it.location).boxed();
                let mut deleted = self.objects.delete_stream(paths);
                loop {
                    match deleted.try_next().await {
                        Ok(Some(_)) => {}
                        Ok(None) => break Ok(()),
                        Err(error) => break Err(error),
                    }
                }
            }
        };
        match deleted {
            Err(Error::NotFound { .. }) => Ok(()),
            done => done.map_err(broken),
        }
    }
}

/// What a bucket answers stands in no log: it repeats the request.
pub(super) fn broken(error: Error) -> io::Error {
    if let Error::PermissionDenied { .. } | Error::Unauthenticated { .. } = error {
        return io::Error::new(io::ErrorKind::PermissionDenied, "the bucket refuses it");
    }
    error.into()
}

impl Writing {
    /// Writes on.
    pub(super) async fn write(&mut self, bytes: Bytes) -> io::Result<()> {
        match self {
            Self::File(file) => Ok(file.put_part(bytes.into()).await?),
            Self::Object(putting) => putting.write(bytes).await,
        }
    }

    /// It is whole, and durable when this returns.
    pub(super) async fn finish(self) -> io::Result<()> {
        match self {
            Self::File(mut file) => {
                file.complete().await?;
                Ok(())
            }
            Self::Object(putting) => putting.finish().await,
        }
    }
}
