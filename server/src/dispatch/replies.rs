//! Answers: what became of a request, as a frame.

use magpie_protocol::{
    seq::Seq,
    session::Reply,
    wire::{InvalidRequest, v1},
};
use v1::{Action, ErrorCode};

use crate::{
    limits::Limited,
    store::{Append, Outcome, Refusal},
};

/// The answer to a request for the log.
#[must_use]
pub fn outcome_reply(append: &Append, outcome: &Outcome) -> Reply {
    let message_id = append.id.to_wire();
    match outcome {
        Outcome::Accepted {
            conversation,
            seq,
            committed_at_ms,
        } => Reply::Accepted(v1::Accepted {
            in_reply_to: 0,
            message_id,
            conversation_id: conversation.to_wire(),
            seq: seq.get(),
            committed_at_ms: *committed_at_ms,
        }),
        Outcome::Refused(refusal) => Reply::Error(v1::Error {
            message_id,
            ..refused(*refusal)
        }),
    }
}

/// The answer to a question about other people.
pub(super) fn profiles_reply(profiles: Vec<v1::UserProfile>) -> Reply {
    Reply::Profiles(v1::Profiles {
        in_reply_to: 0,
        profiles,
    })
}

/// The answer to who is there.
pub(super) fn presences_reply(presences: Vec<v1::Presence>) -> Reply {
    Reply::Presences(v1::Presences {
        in_reply_to: 0,
        presences,
    })
}

/// The answer to a request that changes nothing.
pub(super) fn refused(refusal: Refusal) -> v1::Error {
    let (code, action) = match refusal {
        Refusal::NotFound
        | Refusal::Deleted
        | Refusal::NoInvite
        | Refusal::NotAsked
        | Refusal::NotAddable => (ErrorCode::NotFound, Action::Never),
        Refusal::NoMedia => (ErrorCode::MediaNotFound, Action::Never),
        Refusal::Conflict => (ErrorCode::Conflict, Action::Never),
        Refusal::GroupFull
        | Refusal::TooMany
        | Refusal::TooManyPins
        | Refusal::TooManyInvites
        | Refusal::AskedEnough => (ErrorCode::LimitReached, Action::Never),
        Refusal::NothingToDo => (ErrorCode::NothingToDo, Action::Never),
        Refusal::NotPossible => (ErrorCode::InvalidArgument, Action::Never),
        Refusal::NotAllowed | Refusal::Banned | Refusal::ReceiptsHidden => {
            (ErrorCode::NotAllowed, Action::Never)
        }
        Refusal::TooLate => (ErrorCode::TooLate, Action::Never),
        Refusal::DeviceRevoked => (ErrorCode::Unauthenticated, Action::SignIn),
    };
    error(code, action, &refusal.to_string())
}

/// The answer to who wants to know how many have read these.
pub(super) fn reader_counts(seqs: &[Seq], counted: Result<Vec<u64>, Refusal>) -> Reply {
    let counts = match counted {
        Ok(counts) => counts,
        Err(refusal) => return Reply::Error(refused(refusal)),
    };
    let counts = seqs.iter().zip(counts).map(|(seq, count)| v1::ReaderCount {
        seq: seq.get(),
        count,
    });
    Reply::ReaderCounts(v1::ReaderCounts {
        in_reply_to: 0,
        counts: counts.collect(),
    })
}

/// The answer to a request with an unacceptable field.
#[must_use]
pub fn invalid(reason: &InvalidRequest) -> v1::Error {
    error(
        ErrorCode::InvalidArgument,
        Action::Never,
        &reason.to_string(),
    )
}

/// The answer to what may be asked again later.
pub(super) fn rate_limited(limited: Limited) -> v1::Error {
    v1::Error {
        after_ms: limited.after_ms(),
        ..error(
            ErrorCode::RateLimited,
            Action::RetryAfter,
            &limited.to_string(),
        )
    }
}

/// The answer to a critical request that this version does not know.
#[must_use]
pub fn unsupported() -> v1::Error {
    error(
        ErrorCode::Unsupported,
        Action::Never,
        "this server does not know the request",
    )
}

/// The answer of a server that keeps no photos and files.
pub(super) fn no_media() -> v1::Error {
    error(
        ErrorCode::Unsupported,
        Action::Never,
        "this server keeps no photos and files",
    )
}

fn error(code: ErrorCode, action: Action, message: &str) -> v1::Error {
    metrics::counter!(crate::metrics::REQUESTS_REFUSED, "code" => code.as_str_name()).increment(1);
    v1::Error {
        code: code.into(),
        action: action.into(),
        message: message.to_owned(),
        ..Default::default()
    }
}
