//! Making this home a device of a user.

use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use magpie_protocol::{
    frame::{FrameLimits, Split, split},
    id::{DeviceId, UserId},
    limits::{LENGTH_SIZE, WELCOME_TIMEOUT},
    moment::Moment,
    session::{ClientSession, Incoming},
    wire::v1::{self, Action, ErrorCode, client_frame::Body},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::timeout,
};

use crate::{
    driver::{Dial, Stream, TlsDial, pem, refusal},
    error::SignInError,
    home::Home,
    model::Account,
    server::Server,
};

/// How long an answer may take: hashing a password takes its time, and the
/// server does few of them at once.
const ANSWER_TIMEOUT: Duration = WELCOME_TIMEOUT;

/// Makes a user, and this home its first device.
///
/// May be repeated after any error: the device's id is in the home before the
/// first try, so a repeat after a lost answer is the same registration. The
/// certificate to trust is stored in the home (`ca.pem`).
///
/// # Errors
///
/// [`SignInError`]; [`SignInError::Refused`] with `NAME_TAKEN` if the name is
/// somebody else's.
pub async fn register(
    home: &Home,
    server: &Server,
    name: &str,
    password: &str,
    device_name: &str,
) -> Result<Account, SignInError> {
    register_invited(home, server, name, password, device_name, "").await
}

/// The same, where only those who are invited may register.
///
/// # Errors
///
/// [`SignInError`]; [`SignInError::Refused`] with `REGISTRATION_CLOSED` if the
/// invitation is of no use.
pub async fn register_invited(
    home: &Home,
    server: &Server,
    name: &str,
    password: &str,
    device_name: &str,
    invitation: &str,
) -> Result<Account, SignInError> {
    let person = Person {
        name,
        password,
        device_name,
        invitation,
    };
    enter(home, server, &TlsDial::new(server)?, person, true).await
}

/// Makes this home a device of a user who exists.
///
/// As [`register`], may be repeated. A home whose credential was ended by the
/// server ([`Account::signed_in`] is false) may be signed in again by the same
/// user, and keeps its history and outbox.
///
/// # Errors
///
/// [`SignInError`]; [`SignInError::Refused`] with `WRONG_CREDENTIALS` if name or
/// password is wrong.
pub async fn sign_in(
    home: &Home,
    server: &Server,
    name: &str,
    password: &str,
    device_name: &str,
) -> Result<Account, SignInError> {
    let person = Person {
        name,
        password,
        device_name,
        invitation: "",
    };
    enter(home, server, &TlsDial::new(server)?, person, false).await
}

/// What a person types.
#[derive(Clone, Copy)]
pub(crate) struct Person<'a> {
    pub(crate) name: &'a str,
    pub(crate) password: &'a str,
    pub(crate) device_name: &'a str,
    /// Empty, but for a registration where not everybody may.
    pub(crate) invitation: &'a str,
}

pub(crate) async fn enter(
    home: &Home,
    server: &Server,
    dial: &dyn Dial,
    person: Person<'_>,
    is_new: bool,
) -> Result<Account, SignInError> {
    let name = person.name.to_ascii_lowercase();
    if let Some(account) = home.account()?
        && (account.signed_in || is_new || account.name != name)
    {
        return Err(SignInError::Held { name: account.name });
    }
    let fresh = DeviceId::new(uuid::Uuid::now_v7().into_bytes());
    let device = home
        .database()
        .lock()
        .device_to_ask_for(&server.address, &name, fresh)?;
    let stream = dial.dial().await?;
    let asked = timeout(ANSWER_TIMEOUT, ask(stream, request(device, person, is_new)));
    let signed_in = asked.await.unwrap_or_else(|_| {
        Err(SignInError::Lost {
            reason: format!("no answer within {} s", ANSWER_TIMEOUT.as_secs()),
        })
    });
    let signed_in = match signed_in {
        Err(SignInError::Refused(refusal)) if refusal.action == Action::Never => {
            // Nothing was made, so there is nothing to repeat; and a device that
            // the server refuses for itself must not be asked for again.
            if refusal.code == ErrorCode::Conflict {
                home.database().lock().forget_try(device)?;
            }
            return Err(SignInError::Refused(refusal));
        }
        other => other?,
    };
    let account = account(server, person, device, &signed_in)?;
    if let Some(pem) = pem(&server.trust)? {
        home.store_ca(&pem)?;
    }
    home.database()
        .lock()
        .signed_in(&account, &signed_in.device_token)?;
    Ok(account)
}

fn request(device: DeviceId, person: Person<'_>, is_new: bool) -> Body {
    let (device_id, name) = (device.to_wire(), person.name.to_owned());
    let password = person.password.to_owned();
    let device_name = person.device_name.to_owned();
    if is_new {
        Body::Register(v1::Register {
            device_id,
            name,
            password,
            device_name,
            invitation: person.invitation.to_owned(),
        })
    } else {
        Body::SignIn(v1::SignIn {
            device_id,
            name,
            password,
            device_name,
        })
    }
}

fn account(
    server: &Server,
    person: Person<'_>,
    device_id: DeviceId,
    signed_in: &v1::SignedIn,
) -> Result<Account, SignInError> {
    let nonsense = || lost("the answer makes no sense");
    let user = signed_in.user.as_ref().ok_or_else(nonsense)?;
    Ok(Account {
        user_id: UserId::try_from(user.user_id.as_ref()).map_err(|_| nonsense())?,
        name: user.name.clone(),
        device_id,
        device_name: person.device_name.to_owned(),
        server: server.address.clone(),
        signed_in: true,
    })
}

fn lost(reason: impl ToString) -> SignInError {
    SignInError::Lost {
        reason: reason.to_string(),
    }
}

async fn ask(mut stream: Box<dyn Stream>, request: Body) -> Result<v1::SignedIn, SignInError> {
    let started = Instant::now();
    let mut session = ClientSession::new(Bytes::new(), Moment::START);
    let mut out = BytesMut::new();
    session.introduce(request, &mut out);
    stream.write_all_buf(&mut out).await.map_err(lost)?;
    stream.flush().await.map_err(lost)?;
    let mut inbound = BytesMut::new();
    loop {
        let read = stream.read_buf(&mut inbound).await.map_err(lost)?;
        if read == 0 {
            return Err(lost("the server closed it"));
        }
        while let Some(frame) = next_frame(&mut inbound)? {
            let incoming = session
                .handle_frame(frame, Moment::new(started.elapsed()))
                .map_err(lost)?;
            match incoming {
                Incoming::SignedIn(signed_in) => {
                    session.goodbye(&mut out);
                    // The credential is here; whether the goodbye arrives does
                    // not matter.
                    drop(stream.write_all_buf(&mut out).await);
                    drop(stream.shutdown().await);
                    return Ok(signed_in);
                }
                Incoming::Refused(it) => {
                    let said = refusal(it.code, it.action, it.after_ms, it.message);
                    return Err(SignInError::Refused(said));
                }
                Incoming::Goodbye(it) => {
                    let said = refusal(it.code, it.action, it.after_ms, it.message);
                    return Err(SignInError::Refused(said));
                }
                Incoming::Welcome(_)
                | Incoming::Page { .. }
                | Incoming::Answer { .. }
                | Incoming::Unsupported
                | Incoming::Hint(_)
                | Incoming::Nothing => {}
            }
        }
    }
}

fn next_frame(inbound: &mut BytesMut) -> Result<Option<Bytes>, SignInError> {
    let size = match split(inbound, FrameLimits::SERVER.size_max).map_err(lost)? {
        Split::Frame(frame, _) => frame.len(),
        Split::Incomplete(_) => return Ok(None),
    };
    let mut frame = inbound.split_to(LENGTH_SIZE + size);
    Ok(Some(frame.split_off(LENGTH_SIZE).freeze()))
}
