//! A whole server on loopback, spoken to in raw frames: what it does with good
//! ones, and with those of strangers and broken clients.

mod hostile;
mod peer;
mod sessions;
