//! What opens the doors of media: tokens to upload with, and the keys in URLs. Both are
//! made and checked without memory, by any server of the log.

use aws_lc_rs::{constant_time::verify_slices_are_equal, hmac};
use bytes::{Buf as _, BufMut as _};
use data_encoding::HEXLOWER;
use magpie_protocol::id::{DeviceId, MediaId, UserId};

/// RFC 2104, section 5, allows half the hash.
const TAG_SIZE: usize = 16;
const TOKEN_FORMAT: u8 = 1;
const URL_FORMAT: u8 = 2;
const PART_FORMAT: u8 = 3;
/// Sets the key apart from that of cursors, which comes from the same secret.
const CONTEXT: &[u8] = b"magpie media";

/// Who may upload.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Leave {
    pub(super) user: UserId,
    pub(super) device: DeviceId,
    pub(super) expires_at_ms: i64,
}

/// Makes and checks tokens and URLs.
#[derive(Debug)]
pub(super) struct MediaKey(hmac::Key);

impl MediaKey {
    pub(super) fn new(secret: &[u8; 32]) -> Self {
        let of_all = hmac::Key::new(hmac::HMAC_SHA256, secret);
        let own = hmac::sign(&of_all, CONTEXT);
        Self(hmac::Key::new(hmac::HMAC_SHA256, own.as_ref()))
    }

    fn tag(&self, body: &[u8]) -> [u8; TAG_SIZE] {
        let whole = hmac::sign(&self.0, body);
        whole.as_ref().first_chunk().copied().unwrap_or_default()
    }

    /// A token, as text.
    pub(super) fn seal(&self, leave: &Leave) -> String {
        let mut token = vec![TOKEN_FORMAT];
        token.put_slice(&leave.user.bytes());
        token.put_slice(&leave.device.bytes());
        token.put_i64(leave.expires_at_ms);
        let tag = self.tag(&token);
        token.put_slice(&tag);
        HEXLOWER.encode(&token)
    }

    /// Who may upload with this token, if it is one of ours and still good.
    pub(super) fn open(&self, token: &[u8], now_ms: i64) -> Option<Leave> {
        let token = HEXLOWER.decode(token).ok()?;
        let (mut body, tag) = token.split_at_checked(token.len().checked_sub(TAG_SIZE)?)?;
        verify_slices_are_equal(&self.tag(body), tag).ok()?;
        if body.try_get_u8().ok()? != TOKEN_FORMAT {
            return None;
        }
        let mut id = [0; 16];
        body.try_copy_to_slice(&mut id).ok()?;
        let user = UserId::new(id);
        body.try_copy_to_slice(&mut id).ok()?;
        let leave = Leave {
            user,
            device: DeviceId::new(id),
            expires_at_ms: body.try_get_i64().ok()?,
        };
        (body.is_empty() && now_ms < leave.expires_at_ms).then_some(leave)
    }

    /// The name of the part of an upload that begins there, if its uploader puts it into the
    /// bucket.
    pub(super) fn part_name(&self, upload: MediaId, start: u64) -> [u8; 16] {
        let mut body = vec![PART_FORMAT];
        body.put_slice(&upload.bytes());
        body.put_u64(start);
        self.tag(&body)
    }

    /// What must stand in the URL of a medium.
    pub(super) fn url_key(&self, id: MediaId, expires_at_ms: i64) -> String {
        let mut body = vec![URL_FORMAT];
        body.put_slice(&id.bytes());
        body.put_i64(expires_at_ms);
        HEXLOWER.encode(&self.tag(&body))
    }

    /// Whether this stood in a URL of ours.
    pub(super) fn is_url_key(&self, id: MediaId, expires_at_ms: i64, key: &[u8]) -> bool {
        let expected = self.url_key(id, expires_at_ms);
        verify_slices_are_equal(expected.as_bytes(), key).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAVE: Leave = Leave {
        user: UserId::new([1; 16]),
        device: DeviceId::new([2; 16]),
        expires_at_ms: 1_000,
    };

    #[test]
    fn a_token_is_good_until_it_expires_and_as_it_was_made() {
        let key = MediaKey::new(&[1; 32]);
        let token = key.seal(&LEAVE);
        assert_eq!(key.open(token.as_bytes(), 999), Some(LEAVE));
        assert_eq!(key.open(token.as_bytes(), 1_000), None);
        assert_eq!(MediaKey::new(&[2; 32]).open(token.as_bytes(), 0), None);
        for at in 0..token.len() {
            assert_eq!(key.open(&token.as_bytes()[..at], 0), None);
            let mut changed = token.clone().into_bytes();
            changed[at] = if changed[at] == b'0' { b'1' } else { b'0' };
            assert_eq!(key.open(&changed, 0), None, "at {at}");
        }
        // A key that stands in a URL is no token.
        let url_key = key.url_key(MediaId::new([1; 16]), 1_000);
        assert_eq!(key.open(url_key.as_bytes(), 0), None);
    }

    #[test]
    fn a_part_has_one_name_and_no_other_part_has_it() {
        let key = MediaKey::new(&[1; 32]);
        let name = |id, start| key.part_name(MediaId::new([id; 16]), start);
        assert_eq!(name(1, 5), name(1, 5));
        assert_ne!(name(1, 5), name(1, 6));
        assert_ne!(name(1, 5), name(2, 5));
    }

    #[test]
    fn the_key_of_a_url_is_for_one_medium_and_one_time() {
        let key = MediaKey::new(&[1; 32]);
        let id = MediaId::new([3; 16]);
        let text = key.url_key(id, 5);
        assert!(key.is_url_key(id, 5, text.as_bytes()));
        assert!(!key.is_url_key(id, 6, text.as_bytes()));
        assert!(!key.is_url_key(MediaId::new([4; 16]), 5, text.as_bytes()));
        assert!(!key.is_url_key(id, 5, b""));
    }
}
