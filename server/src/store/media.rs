//! Photos and files: what there is, whose it is, and which objects hold it. The objects
//! lie elsewhere; which of them may go is decided here.
//!
//! An object is written down as trash before it is made, and taken off that list in the
//! transaction that makes something refer to it. So whatever is interrupted leaves no
//! object that nobody knows of, and none goes that something refers to: a name is never
//! given again.

use async_trait::async_trait;
use magpie_protocol::id::{MediaId, UserId};

use super::StoreError;

/// An upload that begins.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct NewUpload {
    /// Its name.
    pub id: MediaId,
    /// Whose it is.
    pub user: UserId,
    /// Bytes of the whole; counted from now on.
    pub size: u64,
    /// What its uploader says that it is.
    pub sha256: Option<[u8; 32]>,
    /// When it goes unless it grows, milliseconds since 1970.
    pub expires_at_ms: i64,
}

/// What a user may have.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct UploadBounds {
    /// Bytes in all.
    pub size_max: u64,
    /// Uploads that are not whole.
    pub unfinished_max: u64,
}

/// What became of an upload that was to begin.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum BeginUpload {
    /// It has begun.
    Done,
    /// The user would have too many bytes.
    TooLarge,
    /// The user has too many that are not whole.
    TooMany,
}

/// An upload.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Upload {
    /// Bytes of the whole.
    pub size: u64,
    /// Bytes that are there.
    pub received: u64,
    /// What its uploader says that it is.
    pub sha256: Option<[u8; 32]>,
    /// It is whole, and has become a blob.
    pub is_stored: bool,
    /// When it goes; absent while something refers to it.
    pub expires_at_ms: Option<i64>,
}

/// Bytes of an upload, as an object of their own.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Part {
    /// Where they begin.
    pub start: u64,
    /// How many.
    pub size: u64,
    /// The object's name.
    pub name: [u8; 16],
}

/// An object with the whole of an upload.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NewBlob {
    /// The object's name.
    pub name: [u8; 16],
    /// What it is.
    pub sha256: [u8; 32],
    /// What its first bytes say that it is.
    pub content_type: &'static str,
}

/// Something to fetch.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct StoredMedia {
    /// Its name.
    pub id: MediaId,
    /// The name of the object.
    pub blob: [u8; 16],
    /// Bytes.
    pub size: u64,
    /// What it is.
    pub sha256: [u8; 32],
    /// What its first bytes say that it is.
    pub content_type: String,
}

/// Objects that nothing refers to.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Trash {
    /// The blob with this name.
    Blob([u8; 16]),
    /// All parts of this upload.
    Parts(MediaId),
}

impl Trash {
    pub(super) const fn number(self) -> i16 {
        match self {
            Self::Blob(_) => 1,
            Self::Parts(_) => 2,
        }
    }

    pub(super) const fn name(self) -> [u8; 16] {
        match self {
            Self::Blob(name) => name,
            Self::Parts(id) => id.bytes(),
        }
    }

    pub(super) fn stored(number: i64, name: [u8; 16]) -> Result<Self, StoreError> {
        match number {
            1 => Ok(Self::Blob(name)),
            2 => Ok(Self::Parts(MediaId::new(name))),
            _ => Err(StoreError::Corrupt {
                what: format!("trash of kind {number}"),
            }),
        }
    }
}

/// The part of a store that knows of media.
#[async_trait]
pub trait MediaStore {
    /// Begins an upload within the bounds of its user.
    async fn begin_upload(
        &self,
        upload: &NewUpload,
        bounds: UploadBounds,
    ) -> Result<BeginUpload, StoreError>;

    /// The upload with this id, if it is this user's.
    async fn upload(&self, user: UserId, id: MediaId) -> Result<Option<Upload>, StoreError>;

    /// Adds parts, which follow each other. Whether the first begins where the upload
    /// ends, and the upload is not whole; else nothing has changed.
    async fn add_parts(
        &self,
        id: MediaId,
        parts: &[Part],
        expires_at_ms: i64,
    ) -> Result<bool, StoreError>;

    /// The parts of an upload, in their order.
    async fn parts(&self, id: MediaId) -> Result<Vec<Part>, StoreError>;

    /// An upload is whole, as this blob, or as one of the same user with the same bytes:
    /// then the new one stays trash. Its parts are trash from `trash_at_ms` on. Whether
    /// there is such an upload, whole and not stored yet.
    async fn finish_upload(
        &self,
        id: MediaId,
        blob: &NewBlob,
        expires_at_ms: i64,
        trash_at_ms: i64,
    ) -> Result<bool, StoreError>;

    /// Removes an upload of this user's to which nothing refers; its objects are trash
    /// from then on. Whether there was one.
    async fn remove_media(
        &self,
        user: UserId,
        id: MediaId,
        trash_at_ms: i64,
    ) -> Result<bool, StoreError>;

    /// Those of these that are stored and that this user may have, in any order.
    async fn media_for(
        &self,
        user: UserId,
        ids: &[MediaId],
    ) -> Result<Vec<StoredMedia>, StoreError>;

    /// What is stored under this id, whoever may have it.
    async fn stored_media(&self, id: MediaId) -> Result<Option<StoredMedia>, StoreError>;

    /// An object will be made that may turn out to be of no use by then.
    async fn plan_blob(&self, name: [u8; 16], trash_at_ms: i64) -> Result<(), StoreError>;

    /// Removes media that have expired, at most `count`; their objects are trash from
    /// `trash_at_ms` on. How many there were.
    async fn expire_media(
        &self,
        now_ms: i64,
        trash_at_ms: i64,
        count: usize,
    ) -> Result<u64, StoreError>;

    /// Objects that may go now, at most `count`: from now on nothing can refer to them.
    async fn trash(&self, now_ms: i64, count: usize) -> Result<Vec<Trash>, StoreError>;

    /// These objects are gone.
    async fn emptied(&self, trash: &[Trash]) -> Result<(), StoreError>;
}
