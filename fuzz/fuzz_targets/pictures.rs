//! A file that says that it is a picture: it is made ready to be sent, or refused in a
//! sentence. Nothing of it passes but pixels.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|file: &[u8]| {
    magpie_client::fuzzing::picture(file);
});
