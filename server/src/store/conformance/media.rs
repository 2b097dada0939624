//! Photos and files.

mod photos;

use magpie_protocol::{
    id::MediaId,
    wire::{Target, v1},
};

pub(in crate::store) use self::photos::{
    a_groups_photo_is_for_its_members, a_profile_photo_is_for_who_may_see_the_profile,
    the_photo_of_who_is_deleted_goes,
};
use super::{NOON, Player, World, seq};
use crate::store::{
    Append, BeginUpload, Command, NewBlob, NewUpload, Part, Refusal, StoreError, StoredMedia,
    Trash, UploadBounds,
};

const DAY: i64 = 24 * 3_600_000;
const AMPLE: UploadBounds = UploadBounds {
    size_max: 1_000_000,
    unfinished_max: 100,
};

impl World {
    async fn people<const N: usize>(&self, names: [&str; N]) -> [Player; N] {
        let mut people = Vec::new();
        for name in names {
            people.push(self.player(name).await);
        }
        people.try_into().unwrap_or_else(|_| unreachable!())
    }

    async fn begin(&self, player: &Player, size: u64, bounds: UploadBounds) -> BeginUpload {
        self.begin_as(MediaId::new(self.fresh()), player, size, bounds)
            .await
    }

    async fn begin_as(
        &self,
        id: MediaId,
        player: &Player,
        size: u64,
        bounds: UploadBounds,
    ) -> BeginUpload {
        let upload = NewUpload {
            id,
            user: player.id(),
            size,
            sha256: None,
            expires_at_ms: NOON + DAY,
        };
        self.store.begin_upload(&upload, bounds).await.unwrap()
    }

    fn part(&self, start: u64, size: u64) -> Part {
        let name = self.fresh();
        Part { start, size, name }
    }

    async fn grow(&self, id: MediaId, part: Part) -> bool {
        let grown = self.store.add_parts(id, &[part], NOON + DAY).await;
        grown.unwrap()
    }

    /// A whole upload of these many bytes.
    async fn whole(&self, player: &Player, size: u64) -> MediaId {
        let id = MediaId::new(self.fresh());
        let begun = self.begin_as(id, player, size, AMPLE).await;
        assert_eq!(begun, BeginUpload::Done);
        assert!(self.grow(id, self.part(0, size)).await);
        id
    }

    async fn finish(&self, id: MediaId, sha256: [u8; 32]) -> [u8; 16] {
        let name = self.fresh();
        self.store.plan_blob(name, NOON + 10).await.unwrap();
        let finished = self.finish_as(id, name, sha256).await;
        assert_eq!(finished, Ok(true));
        name
    }

    async fn finish_as(
        &self,
        id: MediaId,
        name: [u8; 16],
        sha256: [u8; 32],
    ) -> Result<bool, StoreError> {
        let blob = NewBlob {
            name,
            sha256,
            content_type: "image/png",
        };
        let store = &self.store;
        store.finish_upload(id, &blob, NOON + DAY, NOON + 5).await
    }

    /// What there is to delete at that time; all of it is deleted.
    async fn empty(&self, now_ms: i64) -> Vec<Trash> {
        let trash = self.store.trash(now_ms, 100).await.unwrap();
        assert_eq!(self.store.emptied(&trash).await, Ok(()));
        trash
    }

    async fn media_of(&self, player: &Player, id: MediaId) -> Option<StoredMedia> {
        let found = self.store.media_for(player.id(), &[id]).await.unwrap();
        assert!(found.len() <= 1);
        found.into_iter().next()
    }
}

pub(in crate::store) async fn an_upload_grows_by_parts_that_follow(world: World) {
    let (alice, bob) = (world.player("alice").await, world.player("bob").await);
    let id = MediaId::new(world.fresh());
    assert_eq!(
        world.begin_as(id, &alice, 10, AMPLE).await,
        BeginUpload::Done
    );
    let (first, second) = (world.part(0, 4), world.part(4, 6));
    assert!(world.grow(id, first).await);
    assert!(!world.grow(id, world.part(5, 1)).await, "a hole");
    assert!(
        !world.grow(id, world.part(4, 7)).await,
        "more than the whole"
    );
    assert!(world.grow(id, second).await);
    assert_eq!(world.store.parts(id).await, Ok(vec![first, second]));
    let upload = world.store.upload(alice.id(), id).await.unwrap().unwrap();
    assert_eq!((upload.size, upload.received), (10, 10));
    assert_eq!((upload.is_stored, upload.sha256), (false, None));
    assert_eq!(world.store.upload(bob.id(), id).await, Ok(None));

    let name = world.finish(id, [7; 32]).await;
    let again = world.finish_as(id, world.fresh(), [7; 32]).await;
    assert_eq!(again, Ok(false), "it is stored already");
    let stored = world.media_of(&alice, id).await.unwrap();
    assert_eq!((stored.blob, stored.size), (name, 10));
    assert_eq!(stored.sha256, [7; 32]);
    assert_eq!(stored.content_type, "image/png");
    assert_eq!(world.store.stored_media(id).await, Ok(Some(stored)));
    assert!(!world.grow(id, world.part(10, 0)).await);
    let upload = world.store.upload(alice.id(), id).await.unwrap().unwrap();
    assert!(upload.is_stored);
    assert_eq!(world.empty(NOON + 100).await, [Trash::Parts(id)]);
}

pub(in crate::store) async fn of_two_parts_that_begin_alike_one_counts(world: World) {
    let alice = world.player("alice").await;
    let id = MediaId::new(world.fresh());
    assert_eq!(
        world.begin_as(id, &alice, 10, AMPLE).await,
        BeginUpload::Done
    );
    let (one, other) = (world.part(0, 4), world.part(0, 6));
    let both = [world.grow(id, one), world.grow(id, other)];
    let [first, second] = both;
    let (first, second) = tokio::join!(first, second);
    assert_ne!(first, second);
    let parts = world.store.parts(id).await.unwrap();
    assert_eq!(parts, [if first { one } else { other }]);
}

pub(in crate::store) async fn what_is_uploaded_twice_is_kept_once_for_each_user(world: World) {
    let (alice, bob) = (world.player("alice").await, world.player("bob").await);
    let mut names = Vec::new();
    let mut ids = Vec::new();
    for player in [&alice, &alice, &bob] {
        let id = world.whole(player, 4).await;
        names.push(world.finish(id, [7; 32]).await);
        ids.push(id);
    }
    let blob = async |player, id| world.media_of(player, id).await.unwrap().blob;
    assert_eq!(blob(&alice, ids[0]).await, names[0]);
    assert_eq!(blob(&alice, ids[1]).await, names[0]);
    assert_eq!(
        blob(&bob, ids[2]).await,
        names[2],
        "what others have is not looked at"
    );
    assert!(
        world
            .empty(NOON + 100)
            .await
            .contains(&Trash::Blob(names[1]))
    );

    // The object stays as long as one of them does.
    let remove = async |id| world.store.remove_media(alice.id(), id, NOON).await;
    assert_eq!(remove(ids[0]).await, Ok(true));
    assert_eq!(world.empty(NOON).await, []);
    assert_eq!(remove(ids[1]).await, Ok(true));
    assert_eq!(world.empty(NOON).await, [Trash::Blob(names[0])]);
    assert_eq!(remove(ids[1]).await, Ok(false));
}

/// D10.
pub(in crate::store) async fn media_are_for_who_may_have_them(world: World) {
    let (alice, bob) = (world.player("alice").await, world.player("bob").await);
    let id = world.whole(&alice, 4).await;
    assert_eq!(
        world.media_of(&alice, id).await,
        None,
        "it is not stored yet"
    );
    world.finish(id, [7; 32]).await;
    assert!(world.media_of(&alice, id).await.is_some());
    assert_eq!(world.media_of(&bob, id).await, None);
    let unknown = MediaId::new(world.fresh());
    assert_eq!(world.media_of(&bob, unknown).await, None);
    let removed = world.store.remove_media(bob.id(), id, NOON).await;
    assert_eq!(removed, Ok(false));
    assert!(world.media_of(&alice, id).await.is_some());
}

pub(in crate::store) async fn a_users_media_are_bounded_from_their_beginning(world: World) {
    let (alice, bob) = (world.player("alice").await, world.player("bob").await);
    let bounds = UploadBounds {
        size_max: 10,
        unfinished_max: 2,
    };
    assert_eq!(world.begin(&alice, 11, bounds).await, BeginUpload::TooLarge);
    let id = MediaId::new(world.fresh());
    assert_eq!(
        world.begin_as(id, &alice, 6, bounds).await,
        BeginUpload::Done
    );
    assert_eq!(world.begin(&alice, 5, bounds).await, BeginUpload::TooLarge);
    assert_eq!(world.begin(&alice, 1, bounds).await, BeginUpload::Done);
    assert_eq!(world.begin(&alice, 1, bounds).await, BeginUpload::TooMany);
    assert_eq!(world.begin(&bob, 10, bounds).await, BeginUpload::Done);
    let removed = world.store.remove_media(alice.id(), id, NOON).await;
    assert_eq!(removed, Ok(true));
    assert_eq!(world.begin(&alice, 9, bounds).await, BeginUpload::Done);
}

pub(in crate::store) async fn what_nobody_refers_to_expires_and_its_object_goes(world: World) {
    let alice = world.player("alice").await;
    let (stored, open) = (world.whole(&alice, 4).await, world.whole(&alice, 5).await);
    let name = world.finish(stored, [7; 32]).await;
    assert_eq!(world.empty(NOON + 100).await, [Trash::Parts(stored)]);
    let expire = async |now_ms| world.store.expire_media(now_ms, NOON + DAY + 9, 10).await;
    assert_eq!(expire(NOON + DAY - 1).await, Ok(0));
    assert_eq!(expire(NOON + DAY).await, Ok(2));
    assert_eq!(expire(NOON + DAY).await, Ok(0));
    assert_eq!(world.media_of(&alice, stored).await, None);
    assert_eq!(world.store.upload(alice.id(), open).await, Ok(None));
    assert_eq!(world.empty(NOON + DAY + 8).await, []);
    let mut gone = world.empty(NOON + DAY + 9).await;
    gone.sort_by_key(|trash| trash.number());
    assert_eq!(gone, [Trash::Blob(name), Trash::Parts(open)]);
}

/// D12.
pub(in crate::store) async fn an_object_is_trash_until_something_refers_to_it(world: World) {
    let alice = world.player("alice").await;
    let id = world.whole(&alice, 4).await;
    let name = world.fresh();
    world.store.plan_blob(name, NOON).await.unwrap();
    // Somebody takes it for trash, and maybe has deleted it.
    let taken = world.store.trash(NOON, 10).await;
    assert_eq!(taken, Ok(vec![Trash::Blob(name)]));
    let finished = world.finish_as(id, name, [7; 32]).await;
    assert!(
        matches!(finished, Err(StoreError::Unavailable { .. })),
        "{finished:?}"
    );
    assert_eq!(world.media_of(&alice, id).await, None);
    assert_eq!(
        world.empty(NOON).await,
        [Trash::Blob(name)],
        "until it is gone"
    );
    assert_eq!(world.empty(NOON).await, []);
    world.finish(id, [7; 32]).await;
    assert!(world.media_of(&alice, id).await.is_some());
}

impl World {
    /// A photo of these bytes' hash.
    async fn photo(&self, player: &Player, sha256: [u8; 32]) -> v1::Media {
        let id = self.whole(player, 4).await;
        self.finish(id, sha256).await;
        v1::Media {
            media_id: id.to_wire(),
            size: 4,
            sha256: sha256.to_vec().into(),
            content_type: "image/png".to_owned(),
            ..Default::default()
        }
    }

    /// Something that a user has uploaded.
    pub(in crate::store) async fn photo_of(&self, player: &Player) -> MediaId {
        id_of(&self.photo(player, [9; 32]).await)
    }

    /// A message with these photos alone.
    fn show(&self, by: &Player, to: Target, photos: &[&v1::Media]) -> Append {
        let media = photos.iter().map(|it| (*it).clone()).collect();
        let message = v1::Message {
            media,
            ..Default::default()
        };
        let message = message.try_into().unwrap();
        self.request(by, Command::SendMessage { to, message })
    }

    async fn has(&self, player: &Player, photo: &v1::Media) -> bool {
        self.media_of(player, id_of(photo)).await.is_some()
    }

    async fn expire(&self) -> u64 {
        let late = NOON + 100 * DAY;
        self.store.expire_media(late, late, 100).await.unwrap()
    }
}

fn id_of(photo: &v1::Media) -> MediaId {
    photo.media_id.as_ref().try_into().unwrap()
}

/// D10.
pub(in crate::store) async fn a_photo_is_for_who_may_read_the_message(world: World) {
    let [alice, bob, carol, eve] = world.people(["alice", "bob", "carol", "eve"]).await;
    let photo = world.photo(&alice, [1; 32]).await;
    // The first message makes the conversation.
    let direct = world.show(&alice, Target::User(bob.name()), &[&photo]);
    world.accept(direct).await;
    assert!(world.has(&bob, &photo).await);
    assert!(!world.has(&eve, &photo).await);

    let group = world.group(&alice, &[&bob, &eve]).await;
    world.remove(&alice, group, &eve).await;
    let second = world.photo(&alice, [2; 32]).await;
    let show = world.show(&alice, Target::Conversation(group), &[&second]);
    world.accept(show).await;
    world.add(&alice, group, &[&carol]).await;
    assert!(world.has(&bob, &second).await);
    assert!(!world.has(&eve, &second).await, "who was removed before");
    assert!(!world.has(&carol, &second).await, "who came after");
    world.remove(&alice, group, &bob).await;
    assert!(world.has(&bob, &second).await, "who has read it already");

    // Whoever has it may say it elsewhere.
    let forward = world.show(&bob, Target::User(eve.name()), &[&second]);
    world.accept(forward).await;
    assert!(world.has(&eve, &second).await);
}

/// D10.
pub(in crate::store) async fn nobody_sends_what_they_may_not_have(world: World) {
    let [alice, bob, eve] = world.people(["alice", "bob", "eve"]).await;
    let photo = world.photo(&alice, [1; 32]).await;
    let mut unknown = photo.clone();
    unknown.media_id = MediaId::new(world.fresh()).to_wire();
    let mut other_bytes = photo.clone();
    other_bytes.sha256 = vec![2; 32].into();
    let mut longer = photo.clone();
    longer.size = 5;
    let mut unfinished = photo.clone();
    unfinished.media_id = world.whole(&alice, 4).await.to_wire();
    let mut thumbnail = photo.clone();
    thumbnail.thumbnail_ids = vec![unknown.media_id.clone()];
    let to = || Target::User(bob.name());
    let group = world.group(&alice, &[&bob]).await;
    for (by, photo) in [
        (&eve, &photo),
        (&alice, &unknown),
        (&alice, &other_bytes),
        (&alice, &longer),
        (&alice, &unfinished),
        (&alice, &thumbnail),
    ] {
        let refused = world.refuse(world.show(by, to(), &[photo])).await;
        assert_eq!(refused, Refusal::NoMedia);
    }
    let into = world.show(&alice, Target::Conversation(group), &[&photo, &unknown]);
    assert_eq!(world.refuse(into).await, Refusal::NoMedia);
    assert!(!world.has(&bob, &photo).await);
    // Who may not write there learns nothing else.
    let into = world.show(&eve, Target::Conversation(group), &[&photo]);
    assert_eq!(world.refuse(into).await, Refusal::NotFound);

    thumbnail.thumbnail_ids = vec![world.photo(&alice, [3; 32]).await.media_id];
    world.accept(world.show(&alice, to(), &[&thumbnail])).await;
    let small = thumbnail.thumbnail_ids[0].as_ref().try_into().unwrap();
    assert!(world.media_of(&bob, small).await.is_some());
}

pub(in crate::store) async fn what_a_message_refers_to_stays_as_long_as_it(world: World) {
    let [alice, bob] = world.people(["alice", "bob"]).await;
    let photo = world.photo(&alice, [1; 32]).await;
    let to = || Target::User(bob.name());
    let show = world.show(&alice, to(), &[&photo]);
    let (conversation, first) = world.accept(show.clone()).await;
    assert_eq!(world.accept(show).await, (conversation, first), "once more");
    assert_eq!(world.expire().await, 0);
    let removed = world
        .store
        .remove_media(alice.id(), id_of(&photo), NOON)
        .await;
    assert_eq!(removed, Ok(false), "its owner ends it as an upload");
    let again = world.show(&alice, to(), &[&photo]);
    let (_, second) = world.accept(again).await;

    let delete = |at| Command::DeleteMessage {
        conversation,
        seq: seq(at),
    };
    world.accept(world.request(&alice, delete(first))).await;
    assert!(world.has(&bob, &photo).await);
    assert_eq!(world.expire().await, 0);
    world.accept(world.request(&alice, delete(second))).await;
    assert!(!world.has(&bob, &photo).await, "at once");
    assert_eq!(world.expire().await, 1);
    assert!(!world.has(&alice, &photo).await);
}
