//! The service account as which the server asks FCM to push.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use jsonwebtoken::EncodingKey;
use serde::Deserialize;

/// Why a service-account file is of no use.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    /// It cannot be read.
    #[error("the service-account file {path} cannot be read: {reason}")]
    Unreadable {
        /// Which file.
        path: String,
        /// What happened.
        reason: std::io::Error,
    },
    /// Others may read the key.
    #[error(
        "the service-account file {path} may be read by others (mode {mode:03o}): chmod 600 {path}"
    )]
    Open {
        /// Which file.
        path: String,
        /// Its mode.
        mode: u32,
    },
    /// It is not what the Google Cloud console gives.
    #[error(
        "{path} is not a service-account key (JSON, with type \"service_account\"): {reason}; make \
         one in the Firebase console under project settings, service accounts"
    )]
    Malformed {
        /// Which file.
        path: String,
        /// What is wrong; never the key itself.
        reason: String,
    },
}

/// The file's fields that matter.
#[derive(Deserialize)]
struct Fields {
    #[serde(rename = "type")]
    kind: String,
    project_id: String,
    private_key_id: String,
    private_key: String,
    client_email: String,
    token_uri: String,
}

/// A service account: who the server is to Google.
#[derive(Clone)]
pub struct ServiceAccount {
    /// The Firebase project whose apps it pushes to.
    pub project: String,
    /// Its name, an address.
    pub email: String,
    /// Where access tokens are asked for.
    pub token_uri: String,
    /// Names the key.
    pub(super) key_id: String,
    /// Signs assertions; only ever in memory.
    pub(super) key: EncodingKey,
}

impl ServiceAccount {
    /// Reads a service-account file, which only its owner may read.
    ///
    /// # Errors
    ///
    /// [`AccountError`], with what to do.
    pub fn read(path: &Path) -> Result<Self, AccountError> {
        let name = path.display().to_string();
        let unreadable = |reason| AccountError::Unreadable {
            path: name.clone(),
            reason,
        };
        let mode = fs::metadata(path).map_err(unreadable)?.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(AccountError::Open { path: name, mode });
        }
        let text = fs::read(path).map_err(unreadable)?;
        Self::parse(&text).map_err(|reason| AccountError::Malformed { path: name, reason })
    }

    /// The error never has a part of the key in it.
    fn parse(text: &[u8]) -> Result<Self, String> {
        // Serde's errors of syntax quote nothing, but those of a wrong type do.
        let fields: Fields = serde_json::from_slice(text).map_err(|error| {
            let (line, column) = (error.line(), error.column());
            let missing = error.to_string();
            if missing.starts_with("missing field") {
                missing
            } else {
                format!("line {line}, column {column}")
            }
        })?;
        if fields.kind != "service_account" {
            return Err("its type is another one".to_owned());
        }
        let key = EncodingKey::from_rsa_pem(fields.private_key.as_bytes())
            .map_err(|_| "private_key is not an RSA key in PEM format".to_owned())?;
        Ok(Self {
            project: fields.project_id,
            email: fields.client_email,
            token_uri: fields.token_uri,
            key_id: fields.private_key_id,
            key,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::OpenOptionsExt as _;

    use super::*;

    fn read(text: &str, mode: u32) -> Result<ServiceAccount, String> {
        use std::io::Write as _;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("account.json");
        let mut options = fs::OpenOptions::new();
        let mut file = options
            .write(true)
            .create(true)
            .mode(mode)
            .open(&path)
            .unwrap();
        file.write_all(text.as_bytes()).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        ServiceAccount::read(&path).map_err(|error| error.to_string())
    }

    #[test]
    fn a_key_that_others_may_read_is_refused() {
        let refused = read("{}", 0o644).err().unwrap();
        assert!(refused.contains("chmod 600"), "{refused}");
    }

    #[test]
    fn what_is_wrong_is_said_without_the_key() {
        let missing = read("{\"type\": \"service_account\"}", 0o600)
            .err()
            .unwrap();
        assert!(missing.contains("missing field `project_id`"), "{missing}");
        let text = "{\"type\":\"service_account\",\"project_id\":\"p\",\"private_key_id\":\"k\",\
                    \"private_key\":\"hush\",\"client_email\":\"e\",\"token_uri\":\"u\"}";
        let broken = read(text, 0o600).err().unwrap();
        assert!(broken.contains("private_key is not"), "{broken}");
        assert!(!broken.contains("hush"), "{broken}");
    }
}
