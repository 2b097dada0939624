//! Stories of requests whose photos the server does not have, or not any more.

use magpie_protocol::{id::MediaId, profile::Profile, setting::Setting};

use super::*;
use crate::{database::Uploading, media::Object};

const SMALL: MediaId = MediaId::new([6; 16]);
const WHOLE: MediaId = MediaId::new([7; 16]);

/// A message with a photo and a smaller one of it.
fn photo() -> NewRequest {
    let photo = v1::Media {
        media_id: WHOLE.to_wire(),
        size: 10,
        sha256: vec![7; 32].into(),
        content_type: "image/jpeg".to_owned(),
        thumbnail_ids: vec![SMALL.to_wire()],
        ..Default::default()
    };
    let message = v1::Message {
        media: vec![photo],
        ..Default::default()
    };
    NewRequest::Send {
        to: Recipient::Conversation(CHAT),
        message: message.try_into().unwrap(),
    }
}

fn profile(name: &str, photo: Option<MediaId>) -> NewRequest {
    NewRequest::Set(Setting::Profile(Profile {
        display_name: name.to_owned().try_into().unwrap(),
        photo,
        ..Profile::default()
    }))
}

fn not_there(id: MessageId) -> Work {
    let refusal = Refusal {
        code: v1::ErrorCode::MediaNotFound,
        action: v1::Action::Never,
        after: std::time::Duration::ZERO,
        message: "a photo or file in it is not there: upload it first".to_owned(),
    };
    Work::Refused { id, refusal }
}

impl Device {
    /// What is to be sent now, in its order.
    fn ready(&mut self) -> Vec<MessageId> {
        let load = Load {
            outbox: Some((i64::MIN, 100)),
            ..Load::default()
        };
        let works = Vec::new();
        let changes = self.database.turn(Turn { works, load }).unwrap();
        let waiting = changes.waiting.unwrap().into_iter();
        waiting.map(|it| it.id).collect()
    }

    fn doubted(&self) -> Vec<(MediaId, u64)> {
        let uploads = self.database.uploads().unwrap().into_iter();
        let doubted = uploads.filter(|it| it.in_doubt);
        doubted
            .map(|Uploading { object, .. }| (object.id, object.size))
            .collect()
    }

    fn photos(&self) -> Vec<(MediaId, Vec<MediaId>)> {
        let entries = self.outbox().into_iter();
        let media = entries.flat_map(|entry| {
            let crate::request::Operation::Send { message, .. } = entry.operation else {
                panic!("{:?}", entry.operation);
            };
            message.media
        });
        media.map(|it| (it.id, it.thumbnails)).collect()
    }
}

/// D11. What is not there is uploaded again, what is there is not, and the request goes with
/// the new names behind what was said meanwhile.
#[test]
fn what_the_server_has_lost_is_uploaded_again_and_the_rest_is_not() {
    let mut device = device();
    let id = device.queue(photo());
    let words = device.send("said meanwhile");
    let changes = device.work(vec![not_there(id)]);
    assert!(changes.doubted && changes.refused.is_empty());
    let mut device = device.reopen();
    assert_eq!(device.doubted(), [(WHOLE, 10), (SMALL, 0)]);
    assert_eq!(device.ready(), [words]);

    assert_eq!(device.database.upload_done(SMALL).unwrap(), []);
    let found = Object {
        id: WHOLE,
        size: 10,
        sha256: [7; 32],
    };
    device.database.upload_again(&found).unwrap();
    let uploads = device.database.uploads().unwrap();
    assert_eq!(
        (uploads.len(), uploads[0].in_doubt, uploads[0].named),
        (1, false, None)
    );
    let named = MediaId::new([8; 16]);
    device.database.name_upload(WHOLE, Some(named)).unwrap();
    let names = device.database.upload_done(WHOLE).unwrap();
    assert_eq!(names, [(WHOLE, named), (SMALL, SMALL)]);
    assert_eq!(device.ready(), [words, id]);
    device.work(vec![Work::Accepted {
        id: words,
        at: at(1),
    }]);
    assert_eq!(device.photos(), [(named, vec![SMALL])]);
}

/// D12. Asked once: what is refused again is refused.
#[test]
fn a_request_that_is_refused_again_fails() {
    let mut device = device();
    let id = device.queue(photo());
    device.work(vec![not_there(id)]);
    for it in [WHOLE, SMALL] {
        device.database.upload_done(it).unwrap();
    }
    assert_eq!(device.ready(), [id]);
    let changes = device.work(vec![not_there(id)]);
    assert!(!changes.doubted);
    assert_eq!(changes.refused.len(), 1);
    assert_eq!(device.ready(), []);
    // A request without photos has nothing to be asked for.
    let words = device.send("hello");
    assert!(!device.work(vec![not_there(words)]).doubted);
}

#[test]
fn a_message_does_without_a_smaller_picture_and_not_without_the_photo() {
    let mut device = device();
    let id = device.queue(photo());
    device.work(vec![not_there(id)]);
    device.database.upload_done(WHOLE).unwrap();
    assert_eq!(device.database.leave_out(id, WHOLE).unwrap(), None);
    let names = device.database.leave_out(id, SMALL).unwrap();
    assert_eq!(names, Some(vec![(WHOLE, WHOLE)]));
    assert_eq!(device.ready(), [id]);
    assert_eq!(device.photos(), [(WHOLE, Vec::new())]);
}

/// D3. Another device may have what this one lacks, or be faster: its event is the request's.
#[test]
fn what_another_device_sent_again_is_done_here_too() {
    for fails in [false, true] {
        let mut device = device();
        let id = device.queue(photo());
        device.work(vec![not_there(id)]);
        if fails {
            device.work(vec![not_there(id)]);
        }
        let mut page = events([1]);
        page.events[0].sender = Some(user(ALICE, "alice"));
        page.events[0].message_id = id.to_wire();
        let changes = device.page(page);
        assert_eq!(changes.accepted, [(id, at(1))]);
        assert_eq!(device.outbox(), []);
        assert!(!device.database.is_upload(WHOLE).unwrap());
    }
}

/// D6. The last word holds, also if the one before it would come behind it.
#[test]
fn a_profile_that_was_replaced_meanwhile_is_not_sent_again() {
    let mut device = device();
    let first = device.queue(profile("one", Some(WHOLE)));
    let second = device.queue(profile("two", None));
    let changes = device.work(vec![not_there(first)]);
    assert!(!changes.doubted);
    assert_eq!(device.ready(), [second]);
    // What is said while it waits waits with it.
    let third = device.queue(profile("three", Some(WHOLE)));
    assert!(device.work(vec![not_there(third)]).doubted);
    let fourth = device.queue(profile("four", Some(WHOLE)));
    assert_eq!(device.ready(), [second]);
    device.database.upload_done(WHOLE).unwrap();
    assert_eq!(device.ready(), [second, third, fourth]);
}
