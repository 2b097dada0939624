//! A bucket of S3, or of what speaks like it, and how it is reached: by the variables of
//! the environment that other programs know too.

use std::{collections::BTreeMap, path::PathBuf};

use object_store::{ClientConfigKey, aws::AmazonS3ConfigKey as Key};

use super::{
    settings::{General, Limits},
    value::{Secret, Size, Value},
};

/// The bytes of a bucket's name (S3's own rule).
const NAME_SIZE: std::ops::RangeInclusive<usize> = 3..=63;

/// Bytes of a prefix. Names of objects follow, and all of it is 1,024 at most.
const PREFIX_SIZE_MAX: usize = 512;

/// What a bucket takes in one request (S3's own rule).
const OBJECT_SIZE_MAX: Size = Size(5 << 30);

/// The variables that say where the bucket is and who asks, the strongest of two that
/// say the same first.
const VARIABLES: [(&str, Key); 19] = [
    ("AWS_ACCESS_KEY_ID", Key::AccessKeyId),
    ("AWS_SECRET_ACCESS_KEY", Key::SecretAccessKey),
    ("AWS_SESSION_TOKEN", Key::Token),
    ("AWS_REGION", Key::Region),
    ("AWS_DEFAULT_REGION", Key::DefaultRegion),
    ("AWS_ENDPOINT_URL_S3", Key::S3Endpoint),
    ("AWS_ENDPOINT_URL", Key::Endpoint),
    ("AWS_ENDPOINT_URL_STS", Key::StsEndpoint),
    (ALLOW_HTTP, Key::Client(ClientConfigKey::AllowHttp)),
    (
        "AWS_VIRTUAL_HOSTED_STYLE_REQUEST",
        Key::VirtualHostedStyleRequest,
    ),
    ("AWS_WEB_IDENTITY_TOKEN_FILE", Key::WebIdentityTokenFile),
    ("AWS_ROLE_ARN", Key::RoleArn),
    ("AWS_ROLE_SESSION_NAME", Key::RoleSessionName),
    (
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
        Key::ContainerCredentialsRelativeUri,
    ),
    (
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
        Key::ContainerCredentialsFullUri,
    ),
    (
        "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
        Key::ContainerAuthorizationTokenFile,
    ),
    ("AWS_DISABLE_BULK_DELETE", Key::DisableBulkDelete),
    ("AWS_IMDSV1_FALLBACK", Key::ImdsV1Fallback),
    ("AWS_METADATA_ENDPOINT", Key::MetadataEndpoint),
];

const ALLOW_HTTP: &str = "AWS_ALLOW_HTTP";

/// Where photos and files are kept.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum MediaPlace {
    /// A directory of this machine, or one that servers share.
    Directory(PathBuf),
    /// A bucket.
    Bucket {
        /// Which.
        bucket: Bucket,
        /// How it is reached.
        access: Access,
        /// Whoever fetches something is sent there.
        is_presigned: bool,
    },
}

impl MediaPlace {
    /// What the settings say, and what is wrong with it.
    pub(super) fn read(
        general: &General,
        environment: &BTreeMap<String, String>,
        limits: &Limits,
    ) -> (Self, Vec<String>) {
        let mut problems = Vec::new();
        let Some(bucket) = &general.media_bucket else {
            if general.media_presigned {
                problems.push("media_presigned is of no use without media_bucket".to_owned());
            }
            let dir = general.media_dir.clone();
            let dir = dir.unwrap_or_else(|| general.data_dir.join("media"));
            return (Self::Directory(dir), problems);
        };
        if general.media_dir.is_some() {
            problems.push("media_dir and media_bucket are both given: give one of them".to_owned());
        }
        if limits.media_size_max > OBJECT_SIZE_MAX {
            problems.push(format!(
                "media_size_max is {}, and a bucket takes {} at a time",
                limits.media_size_max.show(),
                OBJECT_SIZE_MAX.show()
            ));
        }
        let access = Access::read(environment);
        problems.extend(access.problems());
        let place = Self::Bucket {
            bucket: bucket.clone(),
            access,
            is_presigned: general.media_presigned,
        };
        (place, problems)
    }
}

/// A bucket, and what the names in it begin with.
#[derive(Clone, Debug, Eq, PartialEq, PartialOrd)]
pub struct Bucket {
    /// The bucket.
    pub name: String,
    /// Empty, or it ends with a slash.
    pub prefix: String,
}

/// How a bucket is reached: where it is, and with which credentials.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Access(pub Vec<(Key, Secret)>);

impl Access {
    /// What the environment says. The credentials of the machine's or the container's role
    /// are asked for later, if it names no others.
    pub(super) fn read(environment: &BTreeMap<String, String>) -> Self {
        let said = VARIABLES.iter().filter_map(|(name, key)| {
            let text = environment.get(*name).filter(|it| !it.is_empty())?;
            Some((*key, Secret(text.clone())))
        });
        Self(said.collect())
    }

    /// Whether a variable of the environment is one that is read here.
    pub(super) fn knows(name: &str) -> bool {
        VARIABLES.iter().any(|(known, _)| *known == name)
    }

    fn get(&self, key: Key) -> Option<&str> {
        let found = self.0.iter().find(|(it, _)| *it == key);
        found.map(|(_, text)| text.reveal())
    }

    /// What is wrong with it.
    pub(super) fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let (id, secret) = (Key::AccessKeyId, Key::SecretAccessKey);
        if self.get(id).is_some() != self.get(secret).is_some() {
            let one = |key| match self.get(key) {
                Some(_) => "given",
                None => "missing",
            };
            problems.push(format!(
                "AWS_ACCESS_KEY_ID is {} and AWS_SECRET_ACCESS_KEY is {}: give both or neither",
                one(id),
                one(secret)
            ));
        }
        let allows_http = self.get(Key::Client(ClientConfigKey::AllowHttp));
        if allows_http.is_some_and(|it| !["true", "false"].contains(&it)) {
            problems.push(format!("{ALLOW_HTTP} is neither true nor false"));
        }
        for (name, key) in VARIABLES {
            if ![Key::S3Endpoint, Key::Endpoint].contains(&key) {
                continue;
            }
            let Some(url) = self.get(key) else {
                continue;
            };
            if url.starts_with("http://") && allows_http != Some("true") {
                problems.push(format!(
                    "{name} begins with http://, so whoever listens on the way gets all photos and \
                     files: give https://, or {ALLOW_HTTP}=true"
                ));
            } else if !url.starts_with("http://") && !url.starts_with("https://") {
                problems.push(format!("{name} begins with neither https:// nor http://"));
            }
        }
        problems
    }
}

fn is_name(name: &str) -> bool {
    let allowed = |it: u8| it.is_ascii_lowercase() || it.is_ascii_digit() || b"-.".contains(&it);
    NAME_SIZE.contains(&name.len()) && name.bytes().all(allowed)
}

/// What other programs show and take without quoting.
fn is_prefix(prefix: &str) -> bool {
    let allowed = |it: u8| it.is_ascii_alphanumeric() || b"-._".contains(&it);
    let is_part = |part: &str| !part.trim_matches('.').is_empty() && part.bytes().all(allowed);
    prefix.len() <= PREFIX_SIZE_MAX && prefix.split('/').all(is_part)
}

impl Value for Option<Bucket> {
    const EXPECTED: &'static str = "s3://BUCKET or s3://BUCKET/PREFIX, or nothing";

    fn parse(text: &str) -> Option<Self> {
        if text.is_empty() {
            return Some(None);
        }
        let place = text.strip_prefix("s3://")?;
        let (name, prefix) = place.split_once('/').unwrap_or((place, ""));
        let prefix = match prefix.strip_suffix('/').unwrap_or(prefix) {
            "" => String::new(),
            prefix if is_prefix(prefix) => format!("{prefix}/"),
            _ => return None,
        };
        is_name(name).then(|| {
            Some(Bucket {
                name: name.to_owned(),
                prefix,
            })
        })
    }

    fn show(&self) -> String {
        self.as_ref().map(Bucket::to_string).unwrap_or_default()
    }
}

impl std::fmt::Display for Bucket {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let place = format!("s3://{}/{}", self.name, self.prefix);
        formatter.write_str(place.trim_end_matches('/'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bucket(text: &str) -> Option<Option<Bucket>> {
        Option::<Bucket>::parse(text)
    }

    fn problems(said: &[(&str, &str)]) -> String {
        let said = said
            .iter()
            .map(|(name, text)| ((*name).into(), (*text).into()));
        Access::read(&said.collect()).problems().join("\n")
    }

    #[test]
    fn a_bucket_has_a_name_and_perhaps_a_prefix() {
        for (text, name, prefix) in [
            ("s3://photos", "photos", ""),
            ("s3://photos/", "photos", ""),
            ("s3://my.photos-2/chat/media/", "my.photos-2", "chat/media/"),
        ] {
            let found = bucket(text).unwrap().unwrap();
            assert_eq!((found.name.as_str(), found.prefix.as_str()), (name, prefix));
            assert_eq!(Some(found).show(), text.trim_end_matches('/'));
        }
        for wrong in [
            "photos",
            "s3:/photos",
            "https://photos",
            "s3://",
            "s3://ab",
            "s3://Photos",
            "s3://key:secret@photos",
            "s3://photos//x",
            "s3://photos/../x",
            "s3://photos/a b",
            "s3://photos/x?y",
        ] {
            assert_eq!(bucket(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn what_is_wrong_with_the_way_to_a_bucket_is_said_without_its_secrets() {
        assert_eq!(problems(&[]), "");
        let half = problems(&[("AWS_SECRET_ACCESS_KEY", "hush")]);
        assert!(half.contains("AWS_ACCESS_KEY_ID is missing"), "{half}");
        assert!(!half.contains("hush"));
        let endpoint = ("AWS_ENDPOINT_URL", "http://hush:hush@minio:9000");
        let plain = problems(&[endpoint]);
        assert!(plain.contains("AWS_ALLOW_HTTP=true") && !plain.contains("hush"));
        assert_eq!(problems(&[endpoint, ("AWS_ALLOW_HTTP", "true")]), "");
        let wrong = problems(&[("AWS_ENDPOINT_URL_S3", "minio:9000")]);
        assert!(wrong.contains("AWS_ENDPOINT_URL_S3 begins with"), "{wrong}");
        // An empty one says nothing, as everywhere.
        assert_eq!(problems(&[("AWS_ACCESS_KEY_ID", "")]), "");
        let shown = format!(
            "{:?}",
            Access::read(&[endpoint].map(|(name, it)| (name.into(), it.into())).into())
        );
        assert!(!shown.contains("hush"), "{shown}");
    }
}
