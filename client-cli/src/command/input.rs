//! Lines of standard input as messages, read on a thread of their own: a read
//! that blocks must not hold up what is printed.

use std::{
    io::{self, BufRead},
    thread,
};

use magpie_client::MessageText;
use tokio::sync::mpsc::{Receiver, channel};

use crate::failure::Failure;

/// Lines read ahead. With the longest texts this is 4 MiB.
const LINES_AHEAD_MAX: usize = 256;

/// Bytes kept of one line; what is longer is no message anyway.
const LINE_SIZE_MAX: usize = 64 * 1024;

/// Lines as they come; ends with the input. Empty lines are skipped. A line
/// that is no message comes as the reason.
pub(crate) fn messages() -> Receiver<Result<MessageText, Failure>> {
    let (sender, receiver) = channel(LINES_AHEAD_MAX);
    thread::spawn(move || {
        let mut stdin = io::stdin().lock();
        loop {
            let message = match next_line(&mut stdin) {
                Ok(None) => return,
                Ok(Some(line)) if line.is_empty() => continue,
                Ok(Some(line)) => message(line),
                Err(error) => Err(Failure::Input(error)),
            };
            let ended = matches!(message, Err(Failure::Input(_)));
            if sender.blocking_send(message).is_err() || ended {
                return;
            }
        }
    });
    receiver
}

fn message(line: Vec<u8>) -> Result<MessageText, Failure> {
    let text = String::from_utf8(line).map_err(|_| Failure::NotUtf8)?;
    Ok(MessageText::try_from(text)?)
}

/// The next line without its end; of a longer one than any message only the
/// beginning, so that no input can fill the memory.
fn next_line(input: &mut impl BufRead) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    let mut any = false;
    loop {
        let bytes = match input.fill_buf() {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        if bytes.is_empty() {
            return Ok(any.then_some(line));
        }
        any = true;
        let end = bytes.iter().position(|byte| *byte == b'\n');
        let size = end.unwrap_or(bytes.len());
        let room = LINE_SIZE_MAX.saturating_sub(line.len());
        line.extend(bytes.iter().take(size.min(room)));
        input.consume(end.map_or(size, |end| end + 1));
        if end.is_some() {
            if line.last() == Some(&b'\r') {
                line.pop();
            }
            return Ok(Some(line));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(mut input: &[u8]) -> Vec<Vec<u8>> {
        std::iter::from_fn(|| next_line(&mut input).unwrap()).collect()
    }

    #[test]
    fn lines_end_with_a_newline_or_with_the_input() {
        assert_eq!(lines(b"a\n\nb\r\nc"), [&b"a"[..], b"", b"b", b"c"]);
        assert_eq!(lines(b""), Vec::<Vec<u8>>::new());
    }

    #[test]
    fn a_line_without_end_is_cut_and_the_next_one_is_whole() {
        let mut input = vec![b'x'; LINE_SIZE_MAX * 3];
        input.extend(b"\nnext\n");
        let read = lines(&input);
        assert_eq!(read[0].len(), LINE_SIZE_MAX);
        assert_eq!(read[1], b"next");
    }

    #[test]
    fn a_line_that_is_no_message_comes_as_the_reason() {
        assert!(matches!(message(vec![0xff]), Err(Failure::NotUtf8)));
        assert!(matches!(
            message(vec![b'x'; 20_000]),
            Err(Failure::Invalid(_))
        ));
    }
}
