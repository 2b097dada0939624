//! What a peer does, and waits until it is done.

use bytes::Bytes;
use magpie_protocol::wire::v1::{self, account_change::Kind, client_frame, server_frame};

use crate::peer::{Device, Peer, World, fresh_id};

impl World {
    /// Alice and Bob, the devices with which they act, and those with which they look on.
    pub(crate) async fn two_of_two(&self) -> ([Device; 2], [Peer; 2], [Peer; 2]) {
        let (alice, bob) = (self.register("alice").await, self.register("bob").await);
        let (laptop, tablet) = (self.sign_in("alice").await, self.sign_in("bob").await);
        let (a, _) = self.connect(&alice, Bytes::new()).await;
        let (b, _) = self.connect(&bob, Bytes::new()).await;
        let (of_alice, _) = self.connect(&laptop, Bytes::new()).await;
        let (of_bob, _) = self.connect(&tablet, Bytes::new()).await;
        ([alice, bob], [a, b], [of_alice, of_bob])
    }
}

impl Peer {
    /// Sets something of the user's own. The seq of its event.
    pub(crate) async fn set(&mut self, kind: Kind) -> u64 {
        let change = v1::ChangeAccount {
            message_id: fresh_id(),
            change: Some(v1::AccountChange { kind: Some(kind) }),
        };
        let number = self
            .request(client_frame::Body::ChangeAccount(change))
            .await;
        match self.answer(number).await {
            server_frame::Body::Accepted(accepted) => accepted.seq,
            other => panic!("not accepted: {other:?}"),
        }
    }

    pub(crate) async fn mark_read(&mut self, conversation_id: &Bytes, seq: u64) {
        let mark = v1::MarkRead {
            conversation_id: conversation_id.clone(),
            seq,
        };
        let number = self.request(client_frame::Body::MarkRead(mark)).await;
        let answer = self.answer(number).await;
        assert!(matches!(answer, server_frame::Body::Done(_)), "{answer:?}");
    }
}
