//! Strangers who are slow, or ask for more than there is, over a stream in memory and with a
//! clock that nobody waits for.

use std::sync::atomic::AtomicUsize;

use http_body_util::BodyExt as _;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex},
    task::{JoinHandle, yield_now},
    time::sleep,
};

use super::*;

const SECOND: Duration = Duration::from_secs(1);

/// What a peer of HTTP/2 says first, and its settings, of which there are none.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// A head of HTTP/2 that asks for `/`.
const ASKS: &[u8] = b"\x82\x87\x84\x41\x01x";

const HEADERS: u8 = 1;
const RESET: u8 = 3;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// Somebody whom nobody knows yet, and the server's end of their connection.
struct Stranger {
    stream: DuplexStream,
    serving: JoinHandle<()>,
    /// Requests that are being answered, and the most that ever were at a time.
    open: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
}

impl Stranger {
    /// Whoever asks waits for `patience`, once all of the request has come.
    fn speaking(speaks: Speaks, patience: Duration) -> Self {
        let (stream, server) = duplex(64 * 1024);
        let (open, most) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
        let counts = (Arc::clone(&open), Arc::clone(&most));
        let serving = tokio::spawn(async move {
            let drain = CancellationToken::new();
            let answer = move |_, request: Request<Incoming>| {
                let (open, most) = counts.clone();
                async move {
                    let count = Count::begin(open, &most);
                    drop(request.into_body().collect().await);
                    sleep(patience).await;
                    drop(count);
                    empty(StatusCode::NO_CONTENT)
                }
            };
            carry(server, speaks, &drain, answer).await;
        });
        Self {
            stream,
            serving,
            open,
            most,
        }
    }

    /// Says this again and again, a piece every `pause`, for a while. How long it was before
    /// the server closed, in whole seconds.
    async fn drips(&mut self, what: &[u8], piece: usize, pause: Duration) -> Option<u64> {
        let mut passed = Duration::ZERO;
        for piece in what.chunks(piece).cycle() {
            if passed > 600 * SECOND {
                return None;
            }
            // What is refused is refused because it is closed.
            drop(self.stream.write_all(piece).await);
            sleep(pause).await;
            passed += pause;
            if self.serving.is_finished() {
                break;
            }
            self.reads().await;
        }
        Some(passed.as_secs())
    }

    /// All that has come by now.
    async fn reads(&mut self) -> Vec<u8> {
        let mut all = vec![0; 256 * 1024];
        let mut size = 0;
        for _ in 0..50 {
            yield_now().await;
            let more = within(Duration::ZERO, self.stream.read(&mut all[size..])).await;
            size += more.and_then(Result::ok).unwrap_or(0);
        }
        all.truncate(size);
        all
    }

    async fn says(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let frame = frame(kind, flags, stream, payload);
        drop(self.stream.write_all(&frame).await);
    }
}

/// One of those that are being answered.
struct Count(Arc<AtomicUsize>);

impl Count {
    fn begin(open: Arc<AtomicUsize>, most: &AtomicUsize) -> Self {
        let now = open.fetch_add(1, Ordering::Relaxed) + 1;
        most.fetch_max(now, Ordering::Relaxed);
        Self(open)
    }
}

impl Drop for Count {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let [_, size @ ..] = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = size.to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// How many frames of a kind there are.
fn count(mut bytes: &[u8], kind: u8) -> usize {
    let mut found = 0;
    while let [a, b, c, of, rest @ ..] = bytes {
        found += usize::from(*of == kind);
        let size = u32::from_be_bytes([0, *a, *b, *c]) as usize;
        bytes = rest.get(5 + size..).unwrap_or_default();
    }
    found
}

fn one() -> Duration {
    Duration::from_millis(10)
}

/// D9.
#[tokio::test(start_paused = true)]
async fn who_never_asks_is_closed_whatever_they_send_instead() {
    let ping = frame(PING, 0, 0, &[7; 8]);
    // A request's head without an end; nothing; half a greeting; and pings that are more
    // than a slow client sends.
    for (speaks, first, what, piece, pause) in [
        (
            Speaks::Http1,
            &b""[..],
            &b"GET / HTTP/1.1\r\nhost: x\r\nx: yz"[..],
            1,
            SECOND,
        ),
        (Speaks::Http1, b"GET / HTTP/1.1\r\n", b"a: b\r\n", 6, SECOND),
        (Speaks::Http1, b"", b"", 1, SECOND),
        (Speaks::Http2, b"", PREFACE, 1, SECOND),
        (Speaks::Http2, PREFACE, b"", 1, SECOND),
        (Speaks::Http2, PREFACE, &ping, ping.len(), one()),
    ] {
        let mut stranger = Stranger::speaking(speaks, Duration::ZERO);
        drop(stranger.stream.write_all(first).await);
        let closed = match what.is_empty() {
            true => within(600 * SECOND, &mut stranger.serving)
                .await
                .map(|_| 10),
            false => stranger.drips(what, piece, pause).await,
        };
        assert!(
            closed.is_some_and(|at| at <= 12),
            "{speaks:?} {what:?} {closed:?}"
        );
    }
}

/// D9. Who asked once, and then does nothing but keep the connection.
#[tokio::test(start_paused = true)]
async fn who_asked_once_and_only_pings_since_is_closed() {
    let mut stranger = Stranger::speaking(Speaks::Http2, Duration::ZERO);
    drop(stranger.stream.write_all(PREFACE).await);
    stranger
        .says(HEADERS, END_HEADERS | END_STREAM, 1, ASKS)
        .await;
    assert_eq!(count(&stranger.reads().await, HEADERS), 1);
    let ping = frame(PING, 0, 0, &[7; 8]);
    let closed = stranger.drips(&ping, ping.len(), one()).await;
    assert!(closed.is_some_and(|at| at <= 75), "{closed:?}");
}

/// D9. A body is as slow as 1 KiB a second, and no slower; one that comes goes on for ever.
#[tokio::test(start_paused = true)]
async fn a_body_that_never_ends_is_cut_if_it_is_slow() {
    for (piece, is_cut) in [(100, true), (1_200, false)] {
        let head = b"PATCH / HTTP/1.1\r\nhost: x\r\ncontent-length: 100000000\r\n\r\n";
        let mut stranger = Stranger::speaking(Speaks::Http1, Duration::ZERO);
        drop(stranger.stream.write_all(head).await);
        let closed = stranger.drips(&[b'x'; 1_200], piece, SECOND).await;
        assert_eq!(
            closed.is_some_and(|at| at <= 75),
            is_cut,
            "HTTP/1.1 {closed:?}"
        );

        let mut stranger = Stranger::speaking(Speaks::Http2, Duration::ZERO);
        drop(stranger.stream.write_all(PREFACE).await);
        stranger.says(HEADERS, END_HEADERS, 1, ASKS).await;
        let data = frame(0, 0, 1, &vec![b'x'; piece]);
        let closed = stranger.drips(&data, data.len(), SECOND).await;
        // The window is not given back to who does not take what it is for.
        assert_eq!(
            closed.is_some_and(|at| at <= 75),
            is_cut,
            "HTTP/2 {closed:?}"
        );
    }
}

/// D9. Who does not take the answer is closed; who waits for the server is not.
#[tokio::test(start_paused = true)]
async fn who_waits_for_the_server_is_not_slow() {
    let mut stranger = Stranger::speaking(Speaks::Http1, 5 * SECOND);
    let head = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n";
    stranger.stream.write_all(head).await.unwrap();
    sleep(6 * SECOND).await;
    assert!(stranger.reads().await.starts_with(b"HTTP/1.1 204"));
}

/// D9. More streams than there may be are refused, and of those that are there are never more.
#[tokio::test(start_paused = true)]
async fn of_many_streams_few_are_open_at_a_time() {
    let mut stranger = Stranger::speaking(Speaks::Http2, 20 * SECOND);
    drop(stranger.stream.write_all(PREFACE).await);
    let mut refused = 0;
    for number in 0..1_000 {
        let id = 2 * number + 1;
        stranger
            .says(HEADERS, END_HEADERS | END_STREAM, id, ASKS)
            .await;
        let said = stranger.reads().await;
        refused += count(&said, RESET) + count(&said, GOAWAY);
        if stranger.serving.is_finished() {
            break;
        }
    }
    assert!(refused > 0);
    let most = stranger.most.load(Ordering::Relaxed);
    assert!((1..=STREAMS_MAX as usize).contains(&most), "{most}");
}

/// D9. Begun and ended at once, a great many times: it is told to go away.
#[tokio::test(start_paused = true)]
async fn who_opens_and_resets_streams_without_end_is_told_to_go() {
    let mut stranger = Stranger::speaking(Speaks::Http2, 20 * SECOND);
    drop(stranger.stream.write_all(PREFACE).await);
    let mut said = Vec::new();
    for burst in 0..100 {
        let mut bytes = Vec::new();
        for number in 0..100 {
            let id = 2 * (100 * burst + number) + 1;
            bytes.extend(frame(HEADERS, END_HEADERS | END_STREAM, id, ASKS));
            bytes.extend(frame(RESET, 0, id, &8_u32.to_be_bytes()));
        }
        drop(stranger.stream.write_all(&bytes).await);
        said.extend(stranger.reads().await);
        assert!(stranger.open.load(Ordering::Relaxed) <= STREAMS_MAX as usize);
        if count(&said, GOAWAY) > 0 {
            return;
        }
    }
    panic!("it may go on");
}

/// D9. A head that is too large, in one piece or in many, is refused without being kept.
#[tokio::test(start_paused = true)]
async fn a_head_that_is_too_large_is_refused() {
    let mut stranger = Stranger::speaking(Speaks::Http1, Duration::ZERO);
    let closed = stranger.drips(&[b'x'; 4_096], 4_096, one()).await;
    assert!(closed.is_some_and(|at| at <= 1), "{closed:?}");

    // 100 bytes of a name that none is compressed to.
    let mut field = vec![0, 1, b'a', 0x64];
    field.resize(104, b'b');
    let fields = field.repeat(150);
    let mut stranger = Stranger::speaking(Speaks::Http2, Duration::ZERO);
    drop(stranger.stream.write_all(PREFACE).await);
    let mut said = Vec::new();
    stranger.says(HEADERS, END_STREAM, 1, ASKS).await;
    for _ in 0..1_000 {
        stranger.says(CONTINUATION, 0, 1, &fields).await;
        said.extend(stranger.reads().await);
        if count(&said, GOAWAY) > 0 || stranger.serving.is_finished() {
            break;
        }
    }
    assert!(count(&said, GOAWAY) > 0 || stranger.serving.is_finished());
    assert_eq!(stranger.most.load(Ordering::Relaxed), 0);
}
