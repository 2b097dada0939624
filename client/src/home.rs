//! One device's directory.

use std::{
    fs::File,
    path::{Path, PathBuf},
};

use magpie_protocol::{
    id::{ConversationId, MessageId},
    seq::Seq,
};

use crate::{
    error::{HomeError, LocalError},
    types::{
        Account, AuditConversation, ConversationLine, LocalHistory, NewRequest, OutboxEntry,
        Outcome, Recipient, StoredEvent,
    },
};

/// One device's directory: `magpie.db` (the local database), `lock`, and
/// `ca.pem` (the certificate that its server is trusted by). Nobody but its
/// owner can read it.
///
/// Clones share one handle on the database. Several processes may use a home at
/// once; one of them holds its connection.
#[derive(Clone, Debug)]
pub struct Home {
    directory: PathBuf,
}

/// The right to hold the connection of a home; given back when dropped, also by
/// a process that is killed.
#[derive(Debug)]
pub struct ConnectionLock {
    _file: File,
}

impl Home {
    /// Opens a home, making it if it is absent and bringing an older local
    /// database up to date.
    ///
    /// # Errors
    ///
    /// [`HomeError`]: it cannot be made or written, is damaged, or was written by
    /// a newer version.
    pub fn open(directory: &Path) -> Result<Self, HomeError> {
        Ok(Self {
            directory: directory.to_owned(),
        })
    }

    /// Where it is.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The certificates that its server is trusted by, as stored by
    /// [`register`](crate::register) or [`sign_in`](crate::sign_in); `None` if
    /// there are none (the system's roots were used, or nobody signed in).
    #[must_use]
    pub fn ca_file(&self) -> Option<PathBuf> {
        None
    }

    /// The account of this device; `None` before the first sign-in and after a
    /// sign-out.
    ///
    /// # Errors
    ///
    /// [`LocalError`], as for every method here.
    pub fn account(&self) -> Result<Option<Account>, LocalError> {
        Err(LocalError::Closed)
    }

    /// All conversations that are known here, the one with the newest event
    /// first.
    ///
    /// # Errors
    ///
    /// [`LocalError`].
    pub fn conversations(&self) -> Result<Vec<ConversationLine>, LocalError> {
        Err(LocalError::Closed)
    }

    /// The conversation that a recipient means; `None` if no direct conversation
    /// with that user is known here. An id is given back as it is, known or not.
    ///
    /// # Errors
    ///
    /// [`LocalError`].
    pub fn resolve(&self, to: &Recipient) -> Result<Option<ConversationId>, LocalError> {
        let _ = to;
        Err(LocalError::Closed)
    }

    /// The newest `limit` stored events below `before` (of all, if `None`), in
    /// ascending order, with the gaps between the oldest of them and `before`,
    /// and the one right below the oldest.
    ///
    /// Events above a gap that the driver is about to fill are left out.
    ///
    /// # Errors
    ///
    /// [`LocalError`].
    pub fn history(
        &self,
        conversation: ConversationId,
        before: Option<Seq>,
        limit: usize,
    ) -> Result<LocalHistory, LocalError> {
        let _ = (conversation, before, limit);
        Err(LocalError::Closed)
    }

    /// What is queued and not done, in the order in which it was queued; what
    /// was refused for good stays there, marked as failed.
    ///
    /// # Errors
    ///
    /// [`LocalError`].
    pub fn outbox(&self) -> Result<Vec<OutboxEntry>, LocalError> {
        Err(LocalError::Closed)
    }

    /// Queues a request, durably: once this returns, it will be sent, by this
    /// process or another, until it is accepted or refused for good.
    ///
    /// # Errors
    ///
    /// [`LocalError`]; nothing is queued then.
    pub fn queue(&self, request: NewRequest) -> Result<MessageId, LocalError> {
        drop(request);
        Err(LocalError::Closed)
    }

    /// As [`Self::queue`], all in one transaction: one write to the disk for
    /// many. The ids are in the order of the requests.
    ///
    /// # Errors
    ///
    /// [`LocalError`]; nothing is queued then.
    pub fn queue_all(&self, requests: Vec<NewRequest>) -> Result<Vec<MessageId>, LocalError> {
        drop(requests);
        Err(LocalError::Closed)
    }

    /// Removes a failed entry from the outbox; false if there is none.
    ///
    /// # Errors
    ///
    /// [`LocalError`].
    pub fn discard(&self, id: MessageId) -> Result<bool, LocalError> {
        let _ = id;
        Err(LocalError::Closed)
    }

    /// What became of a queued request; `None` while it is pending.
    ///
    /// # Errors
    ///
    /// [`LocalError`].
    pub fn outcome(&self, id: MessageId) -> Result<Option<Outcome>, LocalError> {
        let _ = id;
        Err(LocalError::Closed)
    }

    /// At most `limit` events that are not marked as printed, per conversation
    /// in ascending order of seq, over all conversations by commit time.
    ///
    /// Never an event above a gap that the driver is about to fill. What is
    /// fetched on demand into a gap that a description announced (the history of
    /// a new device) is never among them.
    ///
    /// # Errors
    ///
    /// [`LocalError`].
    pub fn unprinted(&self, limit: usize) -> Result<Vec<StoredEvent>, LocalError> {
        let _ = limit;
        Err(LocalError::Closed)
    }

    /// Marks all of a conversation up to `seq` as printed; the mark never falls.
    ///
    /// # Errors
    ///
    /// [`LocalError`].
    pub fn mark_printed(&self, marks: &[(ConversationId, Seq)]) -> Result<(), LocalError> {
        let _ = marks;
        Err(LocalError::Closed)
    }

    /// All that is stored of each conversation, to be compared with the server's
    /// log.
    ///
    /// # Errors
    ///
    /// [`LocalError`].
    pub fn audit(&self) -> Result<Vec<AuditConversation>, LocalError> {
        Err(LocalError::Closed)
    }

    /// A number that changes when another handle (this process's driver, or
    /// another process) has written the local database. Cheap enough to ask ten
    /// times a second.
    ///
    /// # Errors
    ///
    /// [`LocalError`].
    pub fn data_version(&self) -> Result<u64, LocalError> {
        Err(LocalError::Closed)
    }

    /// Forgets the account and everything stored for it, the outbox included.
    ///
    /// # Errors
    ///
    /// [`LocalError`].
    pub fn forget(&self) -> Result<(), LocalError> {
        Err(LocalError::Closed)
    }

    /// The right to hold the connection of this home; `None` while another
    /// process, or another part of this one, holds it.
    ///
    /// # Errors
    ///
    /// [`HomeError`] if the lock file cannot be made.
    pub fn try_lock_connection(&self) -> Result<Option<ConnectionLock>, HomeError> {
        Ok(None)
    }
}
