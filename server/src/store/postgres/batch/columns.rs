//! Messages as the columns that their statement takes.

use std::collections::HashMap;

use magpie_protocol::{role::Role, seq::Seq};
use uuid::Uuid;

use super::MessageRow;
use crate::store::{
    Shard,
    postgres::{
        rows::number,
        session::{signed, uuid},
    },
    rules,
};

/// The columns of streams and of messages.
#[derive(Default)]
pub(super) struct Columns<'a> {
    senders: Vec<i64>,
    devices: Vec<Uuid>,
    places: Vec<i64>,
    /// Of each message; counted from 1.
    streams: Vec<i64>,
    ids: Vec<Uuid>,
    digests: Vec<Option<&'a [u8]>>,
    bodies: Vec<&'a [u8]>,
    /// 0 of one that answers nothing.
    replies: Vec<i64>,
    /// Of who may write it; 0 if any member may.
    least_roles: Vec<i16>,
    at_ms: i64,
    shard: i32,
}

impl<'a> Columns<'a> {
    pub(super) fn of(rows: &'a [MessageRow<'_>], shard: Shard, at_ms: i64) -> Self {
        let mut columns = Self {
            at_ms,
            shard: number(shard),
            ..Self::default()
        };
        let mut streams = HashMap::new();
        for row in rows {
            let device = row.append.actor.device;
            // No key is 0.
            let sender = row.sender.as_ref().map_or(0, |sender| sender.key);
            let place = row.place.unwrap_or(0);
            let stream = *streams.entry((sender, device, place)).or_insert_with(|| {
                columns.senders.push(sender);
                columns.devices.push(uuid(device.bytes()));
                columns.places.push(place);
                signed(columns.senders.len() as u64)
            });
            columns.streams.push(stream);
            columns.ids.push(uuid(row.append.id.bytes()));
            let digest = row.asked.as_ref().map(|asked| asked.digest.as_slice());
            columns.digests.push(digest);
            columns.bodies.push(&row.body);
            let reply_to = row.message.reply_to().map_or(0, Seq::get);
            columns.replies.push(signed(reply_to));
            let least = rules::least_role(row.place(Seq::ZERO, false), row.message);
            let least = match least {
                // Also who has none, in a direct conversation.
                Role::Member => 0,
                Role::Admin | Role::Owner => i16::from(least.number()),
            };
            columns.least_roles.push(least);
        }
        columns
    }

    pub(super) fn params(&self) -> [&(dyn tokio_postgres::types::ToSql + Sync); 11] {
        [
            &self.senders,
            &self.devices,
            &self.places,
            &self.streams,
            &self.ids,
            &self.digests,
            &self.bodies,
            &self.at_ms,
            &self.shard,
            &self.replies,
            &self.least_roles,
        ]
    }
}
