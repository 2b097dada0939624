//! The local database for a fuzzer, which plays the server. Built with
//! `--cfg fuzzing` alone; an app has no use for it.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use magpie_protocol::{
    id::{ConversationId, DeviceId, UserId},
    seq::Seq,
    wire::v1,
};
use prost::Message as _;

use crate::{
    database::{Changes, Database, Load, NewEvent, NewPage, States, Turn, Work},
    model::{Account, Gap, LocalHistory, StoredEvent},
    raw,
};

/// A device without a connection.
#[derive(Debug)]
pub struct Device {
    directory: PathBuf,
    database: Database,
}

impl Device {
    /// A new one of this user; whatever was in the directory is gone.
    #[must_use]
    pub fn new(directory: &Path, user_id: UserId) -> Self {
        drop(std::fs::remove_dir_all(directory));
        std::fs::create_dir_all(directory).expect("a directory");
        let mut database = Database::open(directory).expect("a new database");
        let account = Account {
            user_id,
            name: "alice".to_owned(),
            device_id: DeviceId::new([1; 16]),
            device_name: String::new(),
            server: "localhost:7443".to_owned(),
            signed_in: true,
        };
        database.signed_in(&account, &[7; 32]).expect("signed in");
        Self {
            directory: directory.to_owned(),
            database,
        }
    }

    /// As after `kill -9`.
    pub fn reopen(&mut self) {
        self.database = Database::open(&self.directory).expect("what it has written");
    }

    fn turn(&mut self, works: Vec<Work>, gaps: bool) -> Changes {
        let load = Load {
            gaps,
            ..Load::default()
        };
        self.database.turn(Turn { works, load }).expect("a turn")
    }

    /// A page, as a frame brings it. False if the frame is not one that a driver
    /// would go on after.
    pub fn page(&mut self, page: v1::Page) -> bool {
        let body = Some(v1::server_frame::Body::Page(page.clone()));
        let frame = v1::ServerFrame {
            body,
            ..Default::default()
        };
        let raw = raw::events(frame.encode_to_vec().into());
        let Ok(page) = NewPage::parse(page, raw) else {
            return false;
        };
        drop(self.turn(vec![Work::Page(page)], false));
        true
    }

    /// Stretches that the driver would ask for now.
    pub fn missing(&mut self) -> Vec<Gap> {
        self.turn(Vec::new(), true).missing.unwrap_or_default()
    }

    /// The answer to such a question.
    pub fn fill(&mut self, gap: Gap, events: Vec<v1::Event>, complete: bool) {
        let raw: Vec<Bytes> = events.iter().map(|it| it.encode_to_vec().into()).collect();
        let (events, _) = NewEvent::parse_all(events, raw).expect("as many as before");
        let filled = Work::Filled {
            gap,
            events,
            complete,
            states: States::default(),
            ask: 1,
        };
        drop(self.turn(vec![filled], false));
    }

    /// All that a person can see of a conversation.
    pub fn shown(&mut self, conversation: ConversationId) -> LocalHistory {
        let shown = self.database.history(conversation, None, 100_000);
        shown.expect("a history")
    }

    /// What `listen` would print, which is marked as printed then.
    pub fn print(&mut self, limit: usize) -> Vec<StoredEvent> {
        let events = self.database.unprinted(limit).expect("what is new");
        let marks: Vec<(ConversationId, Seq)> =
            events.iter().map(|it| (it.conversation, it.seq)).collect();
        self.database.mark_printed(&marks).expect("marks");
        events
    }

    /// The cursor for the next hello.
    #[must_use]
    pub fn cursor(&self) -> Bytes {
        self.database.credential().expect("a credential").cursor
    }
}

/// Makes a file ready to be sent as a photo, and looks at what came of it.
///
/// # Panics
///
/// What would be sent is not what it says that it is.
pub fn picture(file: &[u8]) {
    let Ok(made) = crate::media::decode(std::io::Cursor::new(file)) else {
        return;
    };
    assert!(made.thumbnails.len() <= 2 && made.thumbhash.len() <= 32);
    for picture in made.thumbnails.iter().chain([&made.whole]) {
        let opened = image::load_from_memory(&picture.bytes).expect("a picture");
        assert_eq!(
            (opened.width(), opened.height()),
            (picture.width, picture.height)
        );
        assert!(picture.width <= 2_048 && picture.height <= 2_048);
    }
}
