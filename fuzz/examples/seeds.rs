//! Writes the first corpus of `frame_decode`: each kind of frame, alone and in a
//! row. `cargo run --example seeds`, in this folder.

use std::{fs, io, path::Path};

use bytes::{BufMut as _, BytesMut};
use magpie_fuzz::{Answered, Content, client_frame, server_frame};
use magpie_protocol::frame::Frame as _;

fn main() -> io::Result<()> {
    let folder = Path::new("corpus/frame_decode");
    fs::create_dir_all(folder)?;
    let client = [
        Content::Empty,
        Content::Hello { version: 1, token_size: 0, cursor_size: 20 },
        Content::Register { name: 5 },
        Content::SignIn { name: 5 },
        Content::Ping(7),
        Content::Goodbye,
        Content::Send { id_size: 0, text_size: 20 },
        Content::Create { names: 3 },
        Content::Add { names: 3 },
        Content::Remove,
        Content::Leave,
        Content::MarkRead(300),
        Content::History { limit: 50 },
        Content::Conversations { limit: 50 },
        Content::Members { id_size: 16, limit: 50 },
        Content::Devices,
        Content::Revoke { id_size: 0 },
        Content::SignOut,
    ];
    let server = [
        Answered::Empty,
        Answered::Welcome,
        Answered::SignedIn,
        Answered::Refused,
        Answered::Pong { id: 1, checkpoint: Some((2, 0)) },
        Answered::Goodbye,
        Answered::Page { events: 3, cursor: Some(1) },
        Answered::Accepted(1),
        Answered::Done(2),
        Answered::Error(3),
        Answered::History(2),
        Answered::Conversations(2),
        Answered::Members(2),
        Answered::Devices(2),
    ];
    let (mut all, mut number) = (BytesMut::new(), 0);
    let mut write = |name: String, frame: BytesMut| {
        let mut input = BytesMut::new();
        input.put_u16(3);
        input.extend_from_slice(&frame);
        all.extend_from_slice(&frame);
        fs::write(folder.join(name), &input)
    };
    for (index, content) in client.iter().enumerate() {
        number += 1;
        let mut out = BytesMut::new();
        client_frame(number, 0, true, content).write(&mut out);
        write(format!("client-{index:02}"), out)?;
    }
    for (index, content) in server.iter().enumerate() {
        let mut out = BytesMut::new();
        server_frame(index as u64 + 1, 2, false, content, 5).write(&mut out);
        write(format!("server-{index:02}"), out)?;
    }
    let mut input = BytesMut::new();
    input.put_u16(60);
    input.extend_from_slice(&all);
    fs::write(folder.join("all-in-a-row"), input)
}
