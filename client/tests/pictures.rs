//! How much memory and time a picture takes, whoever made it.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    io::Cursor,
    path::Path,
    time::{Duration, Instant},
};

use image::{DynamicImage, ImageFormat, RgbImage};
use magpie_client::{Attachment, AttachmentKind, Home};

#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

/// As [`Home::attach`] promises.
const MEMORY_MAX: usize = 256_000_000;
const TIME_MAX: Duration = Duration::from_secs(2);

fn encoded(picture: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    picture.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

/// Another size than it has, and maybe another way to be decoded.
fn lying(jpeg: &[u8], width: u16, height: u16, marker: u8) -> Vec<u8> {
    let mut jpeg = jpeg.to_vec();
    let at = jpeg.windows(2).position(|it| it == [0xff, 0xc0]).unwrap();
    let said = [height.to_be_bytes(), width.to_be_bytes()].concat();
    jpeg.splice(at + 5..at + 9, said);
    jpeg.splice(at + 1..at + 2, [marker]);
    jpeg
}

fn bombs() -> Vec<(&'static str, Vec<u8>)> {
    let black = |width, height| DynamicImage::ImageRgb8(RgbImage::new(width, height));
    let jpeg = encoded(&black(64, 64), ImageFormat::Jpeg);
    let mut long = jpeg.clone();
    long.resize(32 * 1024 * 1024, 0xff);
    let large = black(10_000, 5_000);
    vec![
        ("a large photo", encoded(&large, ImageFormat::Jpeg)),
        ("much longer than it is", long),
        ("larger than it is", lying(&jpeg, 10_000, 6_000, 0xc0)),
        ("the same, all at once", lying(&jpeg, 4_000, 4_000, 0xc2)),
        // A few hundred kilobytes that become 150 million bytes.
        ("all black", encoded(&large, ImageFormat::Png)),
        (
            "a large frame",
            encoded(&black(4_500, 4_000), ImageFormat::Gif),
        ),
        (
            "large planes",
            encoded(&black(5_000, 4_000), ImageFormat::WebP),
        ),
    ]
}

async fn attach(home: &Home, path: &Path) -> bool {
    let attached = home.attach(Attachment {
        path: path.to_owned(),
        kind: AttachmentKind::Photo,
    });
    attached.await.is_ok()
}

/// Decoding a picture takes at most 256 MB and 2 s, whatever it says of itself.
#[tokio::test]
async fn a_picture_takes_bounded_memory_and_time() {
    let directory = tempfile::tempdir().unwrap();
    let home = Home::open(&directory.path().join("home")).unwrap();
    for (name, bytes) in bombs() {
        let path = directory.path().join("bomb");
        std::fs::write(&path, bytes).unwrap();
        let profiler = dhat::Profiler::builder().testing().build();
        let began_at = Instant::now();
        let is_taken = attach(&home, &path).await;
        let took = began_at.elapsed();
        let most = dhat::HeapStats::get().max_bytes;
        drop(profiler);
        println!("{name}: {is_taken}, {most} bytes, {took:?}");
        assert!(most < MEMORY_MAX, "{name}: {most} bytes");
        // Others may run beside this test.
        assert!(took < 2 * TIME_MAX, "{name}: {took:?}");
    }
}
