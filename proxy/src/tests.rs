use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::timeout,
};

use super::*;

/// Anything that takes longer has not happened.
const DEADLINE: Duration = Duration::from_secs(10);

/// A server that gives back what it gets, and a proxy in front of it.
async fn world(seed: u64) -> Proxy {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut read, mut write) = stream.split();
                drop(tokio::io::copy(&mut read, &mut write).await);
            });
        }
    });
    Proxy::start(target, seed).await.unwrap()
}

async fn connect(proxy: &Proxy) -> TcpStream {
    TcpStream::connect(proxy.address()).await.unwrap()
}

async fn echo(stream: &mut TcpStream, bytes: &[u8]) -> io::Result<Vec<u8>> {
    stream.write_all(bytes).await?;
    let mut echoed = vec![0; bytes.len()];
    let read = timeout(DEADLINE, stream.read_exact(&mut echoed)).await;
    read.map_err(|_| io::ErrorKind::TimedOut)??;
    Ok(echoed)
}

/// Waits until `happened`, with a deadline.
async fn until(proxy: &Proxy, happened: impl Fn(Counts) -> bool) {
    let waiting = async {
        while !happened(proxy.counts()) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(DEADLINE, waiting).await.unwrap();
}

#[tokio::test]
async fn bytes_pass_unchanged_both_ways() {
    let proxy = world(1).await;
    let mut stream = connect(&proxy).await;
    let bytes: Vec<u8> = (0..200_000_u32).map(|number| number as u8).collect();
    let (mut read, mut write) = stream.split();
    let mut echoed = vec![0; bytes.len()];
    let (written, read) = tokio::join!(write.write_all(&bytes), read.read_exact(&mut echoed));
    written.unwrap();
    read.unwrap();
    assert!(echoed == bytes);
    assert_eq!(proxy.counts().forwarded, 400_000);
}

#[tokio::test]
async fn a_cut_ends_every_connection_and_new_ones_work() {
    let proxy = world(2).await;
    let mut before = connect(&proxy).await;
    echo(&mut before, b"one").await.unwrap();
    proxy.cut_all();
    let mut byte = [0];
    let ended = timeout(DEADLINE, before.read(&mut byte)).await.unwrap();
    assert!(matches!(ended, Ok(0) | Err(_)), "{ended:?}");
    let mut after = connect(&proxy).await;
    assert_eq!(echo(&mut after, b"two").await.unwrap(), b"two");
    assert_eq!(proxy.counts().cut, 1);
}

#[tokio::test]
async fn a_connection_is_cut_after_its_number_of_bytes_to_the_byte() {
    let proxy = world(3).await;
    proxy.cut_each_after(1_000..=1_000);
    let mut stream = connect(&proxy).await;
    stream.write_all(&[7; 4_000]).await.unwrap();
    until(&proxy, |counts| counts.cut == 1).await;
    assert_eq!(proxy.counts().forwarded, 1_000);
    proxy.cut_none();
    let mut stream = connect(&proxy).await;
    assert!(echo(&mut stream, &[7; 4_000]).await.is_ok());
}

#[tokio::test]
async fn a_stall_holds_bytes_back_and_loses_none() {
    let proxy = world(4).await;
    let mut stream = connect(&proxy).await;
    echo(&mut stream, b"one").await.unwrap();
    proxy.stall(Direction::Down);
    stream.write_all(b"two").await.unwrap();
    until(&proxy, |counts| counts.forwarded == 9).await;
    let mut echoed = [0; 3];
    let early = timeout(Duration::from_millis(50), stream.read(&mut echoed)).await;
    assert!(early.is_err());
    proxy.pass();
    timeout(DEADLINE, stream.read_exact(&mut echoed))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(&echoed, b"two");
}

#[tokio::test]
async fn a_half_open_connection_looks_alive_and_new_ones_work() {
    let proxy = world(5).await;
    let mut before = connect(&proxy).await;
    echo(&mut before, b"one").await.unwrap();
    proxy.half_open_all();
    before.write_all(b"gone").await.unwrap();
    until(&proxy, |counts| counts.swallowed == 4).await;
    let silent = timeout(Duration::from_millis(50), before.read(&mut [0])).await;
    assert!(silent.is_err());
    let mut after = connect(&proxy).await;
    assert_eq!(echo(&mut after, b"two").await.unwrap(), b"two");
}

#[tokio::test]
async fn one_direction_can_be_swallowed_alone() {
    let proxy = world(6).await;
    let mut stream = connect(&proxy).await;
    echo(&mut stream, b"one").await.unwrap();
    proxy.swallow(Direction::Down);
    stream.write_all(b"two").await.unwrap();
    until(&proxy, |counts| counts.swallowed == 3).await;
    // It did arrive at the server.
    assert_eq!(proxy.counts().forwarded, 9);
}

#[tokio::test]
async fn a_delay_keeps_the_order() {
    let proxy = world(7).await;
    let mut stream = connect(&proxy).await;
    echo(&mut stream, b"one").await.unwrap();
    let delay = Duration::from_millis(50);
    proxy.delay(Direction::Up, delay);
    let sent = std::time::Instant::now();
    assert_eq!(echo(&mut stream, b"two").await.unwrap(), b"two");
    assert!(sent.elapsed() >= delay);
    let many: Vec<u8> = (0..100_000_u32).map(|number| (number / 7) as u8).collect();
    assert!(echo(&mut stream, &many).await.unwrap() == many);
}

#[tokio::test]
async fn refused_connections_end_at_once() {
    let proxy = world(8).await;
    proxy.refuse();
    let mut stream = connect(&proxy).await;
    let ended = timeout(DEADLINE, stream.read(&mut [0])).await.unwrap();
    assert!(matches!(ended, Ok(0) | Err(_)), "{ended:?}");
    proxy.pass();
    let mut stream = connect(&proxy).await;
    assert_eq!(echo(&mut stream, b"two").await.unwrap(), b"two");
    assert_eq!(proxy.counts().refused, 1);
}

#[test]
fn the_same_seed_gives_the_same_numbers_within_their_range() {
    let (mut one, mut two) = (Random::new(9), Random::new(9));
    for _ in 0..1_000 {
        let number = one.between(10, 20);
        assert!((10..=20).contains(&number));
        assert_eq!(two.between(10, 20), number);
    }
    assert_eq!(one.between(5, 5), 5);
    one.between(0, u64::MAX);
}
