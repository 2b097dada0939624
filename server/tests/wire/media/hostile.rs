//! Part F of what is tried against servers: names, sizes, ranges, keys of others.

use std::time::Duration;

use magpie_server::config::{Limits, Size};
use rustls_pki_types::ServerName;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use super::{Answer, Http, Uploader, get, picture, urls};
use crate::{
    peer::{PATIENCE, World},
    trust::connector,
};

const WHOLE: usize = 2_000_000;

async fn limited(change: impl FnOnce(&mut Limits)) -> World {
    let mut limits = Limits::default();
    change(&mut limits);
    World::with(limits).await
}

/// D10.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_somebody_elses_is_as_if_it_was_not_there() {
    let world = World::start().await;
    let alice = Uploader::new(&world, "alice").await;
    let eve = Uploader::new(&world, "eve").await;
    let place = alice.begin(&world, 10).await;
    let nowhere = format!("/media/uploads/{}", uuid::Uuid::now_v7());
    for method in ["HEAD", "PATCH", "DELETE"] {
        let headers = eve.headers(&[
            ("content-type", "application/offset+octet-stream"),
            ("upload-offset", "0"),
        ]);
        let mut answers = Vec::new();
        for place in [&place, &nowhere] {
            let mut http = Http::connect(&world).await;
            answers.push(http.ask(method, place, &headers, b"").await);
        }
        assert_eq!(answers[0].status, 404, "{method}");
        assert_eq!(answers[0].body, answers[1].body);
    }
    let id = alice.upload(&world, &picture(100)).await;
    assert_eq!(
        urls(&world, &eve.device, std::slice::from_ref(&id)).await,
        []
    );
    let unknown = uuid::Uuid::now_v7().as_bytes().to_vec().into();
    assert_eq!(urls(&world, &eve.device, &[unknown]).await, []);
    assert_eq!(urls(&world, &alice.device, &[id]).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_url_is_good_as_it_was_made_alone() {
    let world = World::start().await;
    let alice = Uploader::new(&world, "alice").await;
    let one = alice.upload(&world, &picture(100)).await;
    let other = alice.upload(&world, &picture(200)).await;
    let urls = urls(&world, &alice.device, &[one, other]).await;
    let (one, other) = (&urls[0].url, &urls[1].url);
    let (path, query) = one.split_once('?').unwrap();
    let (other_path, _) = other.split_once('?').unwrap();
    let later = query.replacen("expires=1", "expires=2", 1);
    assert_ne!(later, query);
    let bad = [
        path.to_owned(),
        format!("{path}?"),
        format!("{path}?{later}"),
        format!("{path}?{query}0"),
        format!("{path}?expires=0&key=0"),
        format!("{other_path}?{query}"),
    ];
    for url in bad {
        assert_eq!(get(&world, &url, &[]).await.status, 403, "{url}");
    }
    assert_eq!(get(&world, one, &[]).await.status, 200);
    // It says nothing to who has no URL whether there is something.
    let nowhere = format!("/media/files/{}?{query}", uuid::Uuid::now_v7());
    assert_eq!(get(&world, &nowhere, &[]).await.status, 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_name_of_a_client_reaches_the_directory() {
    let world = World::start().await;
    let alice = Uploader::new(&world, "alice").await;
    let long = format!("/media/uploads/{}", "a".repeat(8_000));
    let places = [
        "/media/uploads/../../magpie.db",
        "/media/uploads/%2e%2e%2fmagpie.db",
        "/media/uploads//etc/passwd",
        "/media/uploads/%00",
        "/media/uploads/0190a0a0-0000-7000-8000-00000000000\u{ff10}",
        "/media/files/../uploads",
        "/media/files/",
        "/media/filesx",
        "/media",
        "/",
        "*",
        long.as_str(),
    ];
    for place in places {
        let mut http = Http::connect(&world).await;
        let mut head = format!("HEAD {place} HTTP/1.1\r\nhost: localhost\r\n");
        for (key, value) in alice.headers(&[]) {
            head += &format!("{key}: {value}\r\n");
        }
        head += "\r\n";
        let answer = http.raw(&head, b"", false).await;
        let status = answer.map(|answer| answer.status);
        assert!(
            matches!(status, Some(400 | 404) | None),
            "{place}: {status:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_no_good_token_uploads_nothing() {
    let world = World::start().await;
    let alice = Uploader::new(&world, "alice").await;
    let good = alice.authorization.clone();
    let changed = format!("{}0", good.strip_suffix(|_| true).unwrap());
    let mut http = Http::connect(&world).await;
    for bad in [
        "",
        "Bearer",
        "Bearer ",
        "Basic YTpi",
        "bearer x",
        changed.as_str(),
    ] {
        let headers = [
            ("tus-resumable", "1.0.0"),
            ("authorization", bad),
            ("upload-length", "10"),
        ];
        let answer = http.ask("POST", "/media/uploads", &headers, b"").await;
        assert!(answer.status == 401 || good.ends_with('0'), "{bad:?}");
    }
    let headers = [("authorization", good.as_str()), ("upload-length", "10")];
    let answer = http.ask("POST", "/media/uploads", &headers, b"").await;
    assert_eq!(answer.status, 412);
    assert_eq!(answer.header("tus-version"), Some("1.0.0"));

    // A device that was signed out has no token that is good.
    let (mut peer, _) = world.connect(&alice.device, bytes::Bytes::new()).await;
    let sign_out = magpie_protocol::wire::v1::SignOut {};
    peer.request(magpie_protocol::wire::v1::client_frame::Body::SignOut(
        sign_out,
    ))
    .await;
    peer.goodbye().await;
    let answer = alice.create(&world, &[("upload-length", "10")]).await;
    assert_eq!(answer.status, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_has_a_length_that_is_allowed_and_kept() {
    let world = limited(|it| {
        it.media_size_max = Size(1 << 20);
        it.media_size_per_user_max = Size((1 << 20) + 10);
    })
    .await;
    let alice = Uploader::new(&world, "alice").await;
    let created = async |length: &str| {
        let answer = alice.create(&world, &[("upload-length", length)]).await;
        answer.status
    };
    for (length, status) in [
        ("", 400),
        ("0", 400),
        ("-1", 400),
        ("x", 400),
        ("1048577", 413),
        ("18446744073709551616", 400),
        ("1048576", 201),
        ("11", 413),
        ("10", 201),
        ("1", 413),
    ] {
        assert_eq!(created(length).await, status, "{length:?}");
    }
    let deferred = alice.create(&world, &[("upload-defer-length", "1")]).await;
    assert_eq!(deferred.status, 400);
    let eve = Uploader::new(&world, "eve").await;
    let place = eve.begin(&world, 10).await;
    assert_eq!(
        eve.patch(&world, &place, 0, &[0; 11], &[]).await.status,
        413
    );
    assert_eq!(eve.patch(&world, &place, 1, &[0; 9], &[]).await.status, 409);
    // More than it said, in chunks without a length.
    let answer = chunks(&world, &eve, &place, 3, 10).await;
    assert_eq!(answer.status, 413);
    assert_eq!(
        eve.head(&world, &place).await.header("upload-offset"),
        Some("0")
    );
    let answer = chunks(&world, &eve, &place, 2, 5).await;
    assert_eq!(answer.status, 204, "{answer:?}");
    let mut http = Http::connect(&world).await;
    let headers = eve.headers(&[("upload-offset", "0"), ("content-type", "image/png")]);
    assert_eq!(http.ask("PATCH", &place, &headers, b"").await.status, 415);
}

/// Sends `count` chunks of `size` bytes each, without a length.
async fn chunks(world: &World, by: &Uploader, place: &str, count: usize, size: usize) -> Answer {
    let mut head = format!("PATCH {place} HTTP/1.1\r\nhost: localhost\r\n");
    let more = [
        ("content-type", "application/offset+octet-stream"),
        ("upload-offset", "0"),
        ("transfer-encoding", "chunked"),
    ];
    for (key, value) in by.headers(&more) {
        head += &format!("{key}: {value}\r\n");
    }
    head += "\r\n";
    let chunk = format!("{size:x}\r\n{}\r\n", "x".repeat(size));
    let body = format!("{}0\r\n\r\n", chunk.repeat(count));
    let mut http = Http::connect(world).await;
    http.raw(&head, body.as_bytes(), true).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn of_parallel_patches_of_one_place_one_counts() {
    let world = World::start().await;
    let alice = Uploader::new(&world, "alice").await;
    let bytes = picture(WHOLE);
    let place = alice.begin(&world, WHOLE).await;
    let patch = || alice.patch(&world, &place, 0, &bytes, &[]);
    let (one, two, three) = tokio::join!(patch(), patch(), patch());
    let statuses = [one.status, two.status, three.status];
    assert!(
        statuses.iter().all(|it| [204, 409].contains(it)),
        "{statuses:?}"
    );
    // Whoever was first with a part may have been second with the next.
    let mut offset = alice.head(&world, &place).await.offset();
    while offset < WHOLE as u64 {
        let at = usize::try_from(offset).unwrap();
        let answer = alice.patch(&world, &place, at, &bytes[at..], &[]).await;
        assert_eq!(answer.status, 204);
        offset = answer.offset();
    }
    let urls = urls(&world, &alice.device, &[super::id_of(&place)]).await;
    assert!(get(&world, &urls[0].url, &[]).await.body == bytes);
}

/// D9.
#[tokio::test(flavor = "multi_thread")]
async fn a_device_has_so_many_uploads_at_a_time() {
    let world = limited(|it| it.media_uploads_per_device_max = 2).await;
    let alice = Uploader::new(&world, "alice").await;
    let mut open = Vec::new();
    for _ in 0..2 {
        let place = alice.begin(&world, 10).await;
        let mut http = Http::connect(&world).await;
        let mut head = format!("PATCH {place} HTTP/1.1\r\nhost: localhost\r\n");
        let more = [
            ("content-type", "application/offset+octet-stream"),
            ("upload-offset", "0"),
            ("content-length", "10"),
        ];
        for (key, value) in alice.headers(&more) {
            head += &format!("{key}: {value}\r\n");
        }
        http.write((head + "\r\n12345").as_bytes()).await;
        open.push((http, place));
    }
    let place = alice.begin(&world, 3).await;
    let refused = async || alice.patch(&world, &place, 0, b"abc", &[]).await;
    let answer = timeout(PATIENCE, async {
        loop {
            let answer = refused().await;
            if answer.status != 204 {
                return answer;
            }
            // The others have not come as far yet.
            tokio::time::sleep(Duration::from_millis(5)).await;
            assert!(alice.begin(&world, 3).await.starts_with('/'));
        }
    })
    .await
    .unwrap();
    assert!([409, 429].contains(&answer.status), "{answer:?}");
    let (mut http, _) = open.pop().unwrap();
    let finished = http.raw("67890", b"", true).await.unwrap();
    assert_eq!(finished.status, 204);
}

/// D9. By ALPN, whichever HTTP it is: byte by byte, or nothing at all.
#[tokio::test(flavor = "multi_thread")]
async fn who_never_asks_anything_is_closed() {
    let world = World::start().await;
    let connect = async |speaks: &[u8]| {
        let connector = connector(&world.ca(), &[speaks], &[&rustls::version::TLS13]);
        let stream = TcpStream::connect(world.address).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        connector.connect(name, stream).await.unwrap()
    };
    let drips = async |speaks: &[u8], what: &[u8]| {
        let (mut read, mut write) = tokio::io::split(connect(speaks).await);
        let dripping = async {
            for byte in what.iter().cycle() {
                if write.write_all(&[*byte]).await.is_err() || write.flush().await.is_err() {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
            std::future::pending::<()>().await;
        };
        let closed = async {
            let mut said = [0; 1_024];
            // Who speaks HTTP/2 says first what it allows.
            while !matches!(read.read(&mut said).await, Ok(0) | Err(_)) {}
        };
        tokio::select! {
            closed = timeout(2 * PATIENCE, closed) => closed.is_ok(),
            () = dripping => false,
        }
    };
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let closed = tokio::join!(
        drips(
            b"http/1.1",
            b"GET /media/files/1 HTTP/1.1\r\nhost: x\r\nx: yz"
        ),
        drips(b"http/1.1", b""),
        drips(b"h2", preface),
        drips(b"h2", b""),
    );
    assert_eq!(closed, (true, true, true, true));
}

#[tokio::test(flavor = "multi_thread")]
async fn bombs_of_ranges_and_of_heads_are_refused() {
    let world = World::start().await;
    let alice = Uploader::new(&world, "alice").await;
    let id = alice.upload(&world, &picture(100)).await;
    let url = urls(&world, &alice.device, &[id]).await.remove(0).url;
    let many: Vec<String> = (0..1_000).map(|at| format!("{at}-{at}")).collect();
    let many = format!("bytes={}", many.join(","));
    for range in [many.as_str(), "bytes=5-1", "bytes=100-", "bytes=-0"] {
        let answer = get(&world, &url, &[("range", range)]).await;
        assert_eq!(answer.status, 416, "{range}");
        assert_eq!(answer.header("content-range"), Some("bytes */100"));
    }
    let mut http = Http::connect(&world).await;
    let long = "x".repeat(100_000);
    let head = format!("GET {url} HTTP/1.1\r\nhost: localhost\r\nx-long: {long}\r\n\r\n");
    let status = http.raw(&head, b"", true).await.map(|it| it.status);
    assert!(matches!(status, Some(431) | None), "{status:?}");
    let many = "x: y\r\n".repeat(1_000);
    let head = format!("GET {url} HTTP/1.1\r\nhost: localhost\r\n{many}\r\n");
    let mut http = Http::connect(&world).await;
    let status = http.raw(&head, b"", true).await.map(|it| it.status);
    assert!(matches!(status, Some(431) | None), "{status:?}");
    for method in ["PUT", "POST", "DELETE", "TRACE", "NONSENSE"] {
        let mut http = Http::connect(&world).await;
        assert_eq!(
            http.ask(method, &url, &[], b"").await.status,
            405,
            "{method}"
        );
    }
}

/// Whatever it says that it is, and even if it is both: nothing runs in a browser.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_browser_would_run_is_bytes_to_save() {
    let world = World::start().await;
    let alice = Uploader::new(&world, "alice").await;
    let svg = b"<svg xmlns=\"http://www.w3.org/2000/svg\"><script>alert(1)</script></svg>";
    let html = b"<!doctype html><script>alert(1)</script>";
    let polyglot = [b"GIF89a".as_slice(), b"/*<script>*/=1;alert(1)"].concat();
    let cases: [(&[u8], &str); 4] = [
        (svg, "application/octet-stream"),
        (html, "application/octet-stream"),
        (&polyglot, "image/gif"),
        (b"\x89P", "application/octet-stream"),
    ];
    for (bytes, content_type) in cases {
        let id = alice.upload(&world, bytes).await;
        let url = urls(&world, &alice.device, &[id]).await.remove(0).url;
        let answer = get(&world, &url, &[]).await;
        assert_eq!(answer.body, bytes);
        assert_eq!(answer.header("content-type"), Some(content_type));
        assert_eq!(answer.header("content-disposition"), Some("attachment"));
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        let policy = answer.header("content-security-policy");
        assert_eq!(policy, Some("default-src 'none'; sandbox"));
    }
}
