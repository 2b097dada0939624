//! One device's directory.

mod groups;
mod media;
mod people;
mod settings;

use std::{
    fs::{DirBuilder, File, OpenOptions, TryLockError},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use magpie_protocol::{
    id::{ConversationId, MessageId},
    role::Role,
    seq::Seq,
};

use parking_lot::Mutex;

use crate::{
    database::{Credential, Database, OutboxPlace, now_ms},
    error::{HomeError, LocalError},
    message::{Mention, Message, MessagePlace},
    model::{
        Account, AuditConversation, ConversationLine, History, LocalHistory, Member, StoredEvent,
    },
    request::{NewRequest, OutboxEntry, Outcome, Recipient},
};

/// One device's directory: `magpie.db` (the local database), `lock`, `media` (files to be
/// sent, and what was fetched), and `ca.pem` (the certificate that its server is trusted by). Nobody but its
/// owner can read it.
///
/// Clones share one handle on the database. Several processes may use a home at
/// once; one of them holds its connection.
#[derive(Clone, Debug)]
pub struct Home {
    directory: Arc<Path>,
    database: Arc<Mutex<Database>>,
    /// Held by the driver while it writes, and by who writes again and again:
    /// SQLite lets who waits try now and then, this lock lets them take turns.
    turns: Arc<Mutex<()>>,
}

/// The right to hold the connection of a home; given back when dropped, also by
/// a process that is killed.
#[derive(Debug)]
pub struct ConnectionLock {
    _file: File,
}

/// The entries of an outbox, read in pages.
#[derive(Debug)]
pub struct Outbox {
    database: Arc<Mutex<Database>>,
    page: std::vec::IntoIter<(OutboxPlace, OutboxEntry)>,
    /// Of the last entry given out; none once there are no more.
    place: Option<OutboxPlace>,
}

/// Entries of the outbox read at once. With the longest texts this is 4 MiB.
const OUTBOX_PAGE: usize = 256;

impl Iterator for Outbox {
    type Item = Result<OutboxEntry, LocalError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.page.len() == 0 {
            let read = self.database.lock().outbox(self.place.take()?, OUTBOX_PAGE);
            match read {
                Ok(page) => self.page = page.into_iter(),
                Err(error) => return Some(Err(error)),
            }
        }
        let (place, entry) = self.page.next()?;
        self.place = Some(place);
        Some(Ok(entry))
    }
}

const CA_FILE_NAME: &str = "ca.pem";

impl Home {
    /// Opens a home, making it if it is absent and bringing an older local
    /// database up to date.
    ///
    /// # Errors
    ///
    /// [`HomeError`]: it cannot be made or written, is damaged, or was written by
    /// a newer version.
    pub fn open(directory: &Path) -> Result<Self, HomeError> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)
            .map_err(|source| HomeError::of_file(directory, source))?;
        let mut database = Database::open(directory)?;
        if let Err(error) = database.prune_outcomes(now_ms()) {
            // The next one who opens it tries again.
            tracing::debug!(%error, "old outcomes not deleted");
        }
        let home = Self {
            directory: directory.into(),
            database: Arc::new(Mutex::new(database)),
            turns: Arc::default(),
        };
        home.sweep_media();
        Ok(home)
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
        let path = self.directory.join(CA_FILE_NAME);
        path.exists().then_some(path)
    }

    /// The account of this device; `None` before the first sign-in and after a
    /// sign-out.
    ///
    /// # Errors
    ///
    /// [`LocalError`], as for every method here.
    pub fn account(&self) -> Result<Option<Account>, LocalError> {
        self.database.lock().account()
    }

    /// The history that the server serves, as far as this device was told; `None`
    /// before it was connected.
    ///
    /// # Errors
    ///
    /// As [`Home::account`].
    pub fn served(&self) -> Result<Option<History>, LocalError> {
        self.database.lock().served()
    }

    /// All conversations that are known here but the account log, the one with the
    /// newest event first.
    ///
    /// # Errors
    ///
    /// [`LocalError`].
    pub fn conversations(&self) -> Result<Vec<ConversationLine>, LocalError> {
        self.database.lock().conversations()
    }

    /// The newest seq that is known of each conversation, also of those that
    /// [`Self::conversations`] does not list: the account log, and what is all hidden.
    ///
    /// # Errors
    ///
    /// [`LocalError`].
    pub fn heads(&self) -> Result<Vec<(ConversationId, Seq)>, LocalError> {
        self.database.lock().heads()
    }

    /// The conversation that a recipient means; `None` if no direct conversation
    /// with that user is known here. An id is given back as it is, known or not.
    ///
    /// # Errors
    ///
    /// [`LocalError`].
    pub fn resolve(&self, to: &Recipient) -> Result<Option<ConversationId>, LocalError> {
        self.database.lock().resolve(to)
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
        self.database.lock().history(conversation, before, limit)
    }

    /// A stored event, and the edits of it that are stored, in ascending order of
    /// seq: what it said before and when. `None` if it is not stored.
    ///
    /// # Errors
    ///
    /// [`LocalError`].
    pub fn event(
        &self,
        place: MessagePlace,
    ) -> Result<Option<(StoredEvent, Vec<StoredEvent>)>, LocalError> {
        self.database.lock().event(place)
    }

    /// The parts of a text that name members of a conversation that is known here,
    /// and whether it names `@everybody`, as admins and owners of a group may.
    ///
    /// # Errors
    ///
    /// [`LocalError`].
    pub fn mentioned(
        &self,
        to: &Recipient,
        text: &str,
    ) -> Result<(Vec<Mention>, bool), LocalError> {
        let (members, account) = {
            let database = self.database.lock();
            (database.mentionable(to)?, database.account()?)
        };
        let me = account.map(|account| account.user_id);
        let is_admin = |it: &Member| Some(it.user.id) != me || it.role != Some(Role::Member);
        let (mentions, everybody) = Message::mentioned(text, &members);
        Ok((mentions, everybody && members.iter().all(is_admin)))
    }

    /// What is queued and not done, in the order in which it was queued, read
    /// marks last; what was refused for good stays there, marked as failed.
    ///
    /// It is read in pages, so the longest outbox needs little memory. What is
    /// answered or queued meanwhile may be in it or not. The error of a page is
    /// the last item.
    #[must_use]
    pub fn outbox(&self) -> Outbox {
        Outbox {
            database: Arc::clone(&self.database),
            page: Vec::new().into_iter(),
            place: Some(OutboxPlace::START),
        }
    }

    /// How many entries [`Self::outbox`] has, and those that only a newer
    /// version can read.
    ///
    /// # Errors
    ///
    /// [`LocalError`].
    pub fn outbox_count(&self) -> Result<u64, LocalError> {
        self.database.lock().outbox_count()
    }

    /// Queues a request, durably: once this returns, it will be sent, by this
    /// process or another, until it is accepted or refused for good.
    ///
    /// # Errors
    ///
    /// [`LocalError`]; nothing is queued then.
    pub fn queue(&self, request: NewRequest) -> Result<MessageId, LocalError> {
        let mut ids = self.queue_all(vec![request])?;
        ids.pop().ok_or(LocalError::Closed)
    }

    /// As [`Self::queue`], all in one transaction: one write to the disk for
    /// many. The ids are in the order of the requests.
    ///
    /// # Errors
    ///
    /// [`LocalError`]; nothing is queued then.
    pub fn queue_all(&self, requests: Vec<NewRequest>) -> Result<Vec<MessageId>, LocalError> {
        self.database.lock().queue_all(requests)
    }

    /// Removes a failed entry from the outbox; false if there is none.
    ///
    /// # Errors
    ///
    /// [`LocalError`].
    pub fn discard(&self, id: MessageId) -> Result<bool, LocalError> {
        let (discarded, files) = self.database.lock().discard(id)?;
        self.remove_staged(&files);
        Ok(discarded)
    }

    /// What became of a queued request; `None` while it is pending, and again 30
    /// days after it was done, when the home is next opened.
    ///
    /// # Errors
    ///
    /// [`LocalError`].
    pub fn outcome(&self, id: MessageId) -> Result<Option<Outcome>, LocalError> {
        self.database.lock().outcome(id)
    }

    /// At most `limit` events that are not marked as printed, per conversation
    /// in ascending order of seq, those of several conversations by commit time.
    /// When there are more, whole conversations may come later.
    ///
    /// Never an event above a gap that the driver is about to fill. What is
    /// fetched on demand into a gap that a description announced (the history of
    /// a new device) is never among them.
    ///
    /// # Errors
    ///
    /// [`LocalError`].
    pub fn unprinted(&self, limit: usize) -> Result<Vec<StoredEvent>, LocalError> {
        self.database.lock().unprinted(limit)
    }

    /// Marks all of a conversation up to `seq` as printed. The mark falls with what
    /// is [dropped](crate::Dropped) alone, and one of what was dropped changes
    /// nothing.
    ///
    /// # Errors
    ///
    /// [`LocalError`].
    pub fn mark_printed(&self, marks: &[(ConversationId, Seq)]) -> Result<(), LocalError> {
        let _turn = self.turns.lock();
        self.database.lock().mark_printed(marks)
    }

    /// All that is stored of each conversation, to be compared with the server's
    /// log.
    ///
    /// # Errors
    ///
    /// [`LocalError`].
    pub fn audit(&self) -> Result<Vec<AuditConversation>, LocalError> {
        self.database.lock().audit()
    }

    /// A number that changes when another handle (this process's driver, or
    /// another process) has written the local database. Cheap enough to ask ten
    /// times a second.
    ///
    /// # Errors
    ///
    /// [`LocalError`].
    pub fn data_version(&self) -> Result<u64, LocalError> {
        self.database.lock().data_version()
    }

    /// Forgets the account and everything stored for it, the outbox included.
    ///
    /// # Errors
    ///
    /// [`LocalError`].
    pub fn forget(&self) -> Result<(), LocalError> {
        self.database.lock().forget()?;
        let removed = std::fs::remove_file(self.directory.join(CA_FILE_NAME));
        // Without an account nothing is trusted by it; the next one replaces it.
        drop(removed);
        self.forget_media();
        Ok(())
    }

    /// The right to hold the connection of this home; `None` while another
    /// process, or another part of this one, holds it.
    ///
    /// # Errors
    ///
    /// [`HomeError`] if the lock file cannot be made.
    pub fn try_lock_connection(&self) -> Result<Option<ConnectionLock>, HomeError> {
        let path = self.directory.join("lock");
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&path)
            .map_err(|source| HomeError::of_file(&path, source))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(ConnectionLock { _file: file })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(source)) => Err(HomeError::of_file(&path, source)),
        }
    }

    /// A handle of the driver's own: what it writes is seen by this one as
    /// another's, and neither waits for the other's reading.
    pub(crate) fn open_again(&self) -> Result<Database, HomeError> {
        Database::open(&self.directory)
    }

    pub(crate) fn turns(&self) -> &Mutex<()> {
        &self.turns
    }

    pub(crate) fn credential(&self) -> Result<Credential, LocalError> {
        self.database.lock().credential()
    }

    pub(crate) fn database(&self) -> &Mutex<Database> {
        &self.database
    }

    /// Stores the certificates that the server is trusted by; whole, or not at
    /// all.
    pub(crate) fn store_ca(&self, pem: &[u8]) -> Result<(), HomeError> {
        let path = self.directory.join(CA_FILE_NAME);
        let next = self.directory.join("ca.pem.next");
        std::fs::write(&next, pem)
            .and_then(|()| File::open(&next)?.sync_all())
            .and_then(|()| std::fs::rename(&next, &path))
            .map_err(|source| HomeError::of_file(&path, source))
    }
}

#[cfg(test)]
mod tests {
    use magpie_protocol::id::{DeviceId, UserId};

    use super::*;
    use crate::request::Operation;

    fn home(directory: &Path) -> Home {
        let home = Home::open(directory).unwrap();
        let account = Account {
            user_id: UserId::new([1; 16]),
            name: "alice".to_owned(),
            device_id: DeviceId::new([2; 16]),
            device_name: String::new(),
            server: "localhost:7443".to_owned(),
            signed_in: true,
        };
        home.database.lock().signed_in(&account, &[3; 32]).unwrap();
        home
    }

    fn message(text: usize) -> NewRequest {
        NewRequest::Send {
            to: Recipient::Conversation(ConversationId::new([4; 16])),
            message: text.to_string().try_into().unwrap(),
        }
    }

    /// D9.
    #[test]
    fn a_long_outbox_is_read_page_by_page_and_whole() {
        let directory = tempfile::tempdir().unwrap();
        let home = home(directory.path());
        for count in [0, 1, OUTBOX_PAGE - 1, OUTBOX_PAGE, 2 * OUTBOX_PAGE + 1] {
            let queued: Vec<_> = home.outbox().map(|entry| entry.unwrap().id).collect();
            let more = (queued.len()..count).map(message).collect();
            let ids = [queued, home.queue_all(more).unwrap()].concat();
            assert_eq!(home.outbox_count().unwrap(), u64::try_from(count).unwrap());
            let mut outbox = home.outbox();
            for id in ids {
                assert_eq!(outbox.next().unwrap().unwrap().id, id);
                assert!(outbox.page.len() < OUTBOX_PAGE);
            }
            assert!(outbox.next().is_none());
            assert!(outbox.next().is_none());
        }
    }

    #[test]
    fn an_entry_that_is_queued_while_the_outbox_is_read_comes_in_its_place() {
        let directory = tempfile::tempdir().unwrap();
        let home = home(directory.path());
        home.queue_all((0..OUTBOX_PAGE).map(message).collect())
            .unwrap();
        let mut outbox = home.outbox();
        outbox.next().unwrap().unwrap();
        home.queue(message(OUTBOX_PAGE)).unwrap();
        let last = outbox.last().unwrap().unwrap();
        let Operation::Send { message, .. } = last.operation else {
            panic!("{last:?}");
        };
        assert_eq!(message.text, OUTBOX_PAGE.to_string());
    }
}
