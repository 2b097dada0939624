//! The table of settings: each is defined here, once.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use magpie_protocol::limits::GROUP_MEMBERS_MAX;

use super::{
    DATABASE_SHARDS_MAX,
    apps::Apps,
    bucket::Bucket,
    invitation::Invitations,
    network::Networks,
    source::Sources,
    table::{Setting, settings},
    value::{Auto, LogFilter, Rate, Registration, Secret, Size},
};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(24 * 3_600);

/// With the delay for company, less than what the store gives a device.
const PUSH_WAIT_MAX: Duration = Duration::from_secs(20);

settings! {
    /// What says where the server is and what it runs on.
    pub(super) struct General {
        "The server" {
            /// Where clients connect (TLS). Port 0 takes a free one. A socket that systemd passes
            /// takes its place.
            listen: SocketAddr = ([127, 0, 0, 1], 7443).into();
            /// Where operators look (HTTP: /metrics, /livez, /readyz).
            admin_listen: Option<SocketAddr> = Some(([127, 0, 0, 1], 7480).into());
            /// Where the log, the keys, the development certificate and the socket of operators are
            /// kept.
            data_dir: PathBuf = "./magpie-data".into();
            /// Where photos and files are kept; without it in DATA_DIR/media. Servers that share a
            /// database share it too.
            media_dir: Option<PathBuf> = None;
            /// Keep photos and files in this bucket of S3, or of what speaks like it, and not in a
            /// directory. Where it is and who asks is said by the environment: AWS_REGION,
            /// AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID and others, or the role of the machine.
            media_bucket: Option<Bucket> = None;
            /// Send whoever fetches or uploads a photo or file to the bucket, by URLs that are good
            /// for some minutes, so that the bytes do not pass this server. Clients must reach it.
            media_presigned: bool = false;
            /// Where clients find photos and files, if not at the address that they are connected
            /// to: https://HOST, of a cache in front of this server.
            media_url: Option<String> = None;
            /// Keep everything but the certificate in PostgreSQL: postgres://USER@HOST/DATABASE.
            database_url: Option<Secret> = None;
            /// Into how many shards the log of a new database is divided: as many batches commit
            /// side by side. Fixed when the database is made; `auto` is what it has, or one.
            database_shards: Auto = Auto(None), Auto(Some(1)) => Auto(Some(DATABASE_SHARDS_MAX));
            /// What is logged, by level and part of the program: info, or warn,magpie_server=debug.
            log: LogFilter = LogFilter("info".to_owned());
        }
        "Certificate" {
            /// The certificate with its chain (PEM). Without it a development certificate is made.
            /// SIGHUP reads certificate and key again.
            tls_cert: Option<PathBuf> = None;
            /// The certificate's key (PEM).
            tls_key: Option<PathBuf> = None;
            /// Make a development certificate also for an address that others can reach.
            development_certificate: bool = false;
        }
    }
}

settings! {
    /// How sleeping devices are woken.
    pub struct Push {
        "Pushes" {
            /// Wake sleeping devices through Firebase Cloud Messaging, as this service account: the
            /// JSON file with its key, which only its owner may read (mode 600). Without it nobody
            /// is woken.
            push_account: Option<PathBuf> = None;
            /// Where FCM is, if not at Google: https, but for this machine's own addresses.
            push_url: Option<String> = None;
            /// Where access tokens are asked for, if not where the account's file says.
            push_token_url: Option<String> = None;
            /// A certificate authority to trust there, besides the system's (PEM).
            push_ca: Option<PathBuf> = None;
            /// Pushes a second, at most. Google allows a project 10,000.
            push_rate: u32 = 3_000, 1 => 100_000;
            /// How long an app that somebody looks at has to confirm a message before its device
            /// is woken.
            push_foreground: Duration = Duration::from_secs(15), Duration::ZERO => PUSH_WAIT_MAX;
            /// The same for an app that is connected in the background.
            push_background: Duration = Duration::from_secs(8), Duration::ZERO => PUSH_WAIT_MAX;
            /// Apps whose pushes say who wrote and what. Google reads them, and Apple or the
            /// browser's maker; the others get pushes that say nothing.
            push_previews: Apps = Apps::default();
        }
    }
}

settings! {
    /// How much of everything there may be.
    ///
    /// A rate counts with a bucket for each address, user or device: what it holds may
    /// be spent at once, and comes back with time. "Address" means an IPv4 address, or
    /// the /64 network of an IPv6 one.
    pub struct Limits {
        "Connections" {
            /// Connections in all. `auto` is the process's limit of open files (`ulimit -n`), which
            /// is raised as far as the system lets it, less what else the server opens. Further
            /// ones are told when to come back.
            connections_max: Auto = Auto(None), Auto(Some(1)) => Auto(Some(10_000_000));
            /// Connections of one address.
            connections_per_address_max: u32 = 1_000, 1 => 10_000_000;
            /// New connections of one address.
            connection_rate_per_address: Option<Rate> = Some(Rate::new(200, 20, SECOND));
            /// Addresses without a limit of their own: this machine's, and those of a proxy in
            /// front of the server, behind which all clients look alike.
            trusted_networks: Networks = loopback();
            /// Connections above the limits that are told so over TLS at the same time. What comes
            /// while as many are being told is closed without a word.
            refusals_max: u32 = 64, 0 => 10_000;
            /// TLS handshakes that compute at the same time. `auto` is half the cores, so that
            /// those who are connected keep the other half.
            handshakes_max: Auto = Auto(None), Auto(Some(1)) => Auto(Some(1_000));
            /// How long a TLS handshake may take, in all.
            handshake_timeout: Duration = Duration::from_secs(10), SECOND => MINUTE;
            /// How long it may take from the connection to the device's credential, in all.
            hello_timeout: Duration = Duration::from_secs(15), SECOND => MINUTE;
            /// How long a device may leave what it was sent without any acknowledgement, also if it
            /// pings meanwhile.
            ack_timeout: Duration = Duration::from_secs(120), SECOND => HOUR;
        }
        "Registration and sign-in" {
            /// Who may register: everybody, who holds an invitation, or nobody.
            registration: Registration = Registration::Open;
            /// The invitations, each good for any number of registrations.
            invitations: Invitations = Invitations::default();
            /// Registrations of everybody together.
            registration_rate: Option<Rate> = Some(Rate::new(20_000, 2_000, HOUR));
            /// Registrations of one address.
            registration_rate_per_address: Option<Rate> = Some(Rate::new(20, 10, HOUR));
            /// Tries of everybody to sign in with a wrong password, from devices that the account does
            /// not know: who tries a few passwords on each of very many accounts.
            sign_in_rate: Option<Rate> = Some(Rate::new(20_000, 5_000, HOUR));
            /// Tries with a wrong password to sign in to one account, whether it exists or not. While
            /// the bucket is empty the right password is of no use either. A device that the account
            /// knows has a bucket of its own, so that strangers cannot lock it out.
            sign_in_rate_per_account: Option<Rate> = Some(Rate::new(10, 1, HOUR));
            /// Tries of one address to sign in with a wrong password.
            sign_in_rate_per_address: Option<Rate> = Some(Rate::new(30, 5, MINUTE));
            /// Devices of one user that are signed in.
            devices_per_user_max: u32 = 50, 1 => 1_000;
            /// Passwords that are hashed at the same time: each takes a core and 19 MiB.
            password_hashes_max: u32 = 2, 1 => 256;
            /// Passwords that wait for their turn.
            password_hashes_waiting_max: u32 = 256, 1 => 100_000;
            /// How long they wait.
            password_hash_wait: Duration = Duration::from_secs(8), SECOND => Duration::from_secs(30);
        }
        "Requests" {
            /// Requests that change the log (messages, members) of one device.
            send_rate_per_device: Option<Rate> = Some(Rate::new(3_000, 30, SECOND));
            /// The same, of all devices of a user.
            send_rate_per_user: Option<Rate> = Some(Rate::new(6_000, 60, SECOND));
            /// Bytes of their texts and names, of one device.
            send_size_rate_per_device: Option<Rate> = Some(Rate::new(32 << 20, 128 << 10, SECOND));
            /// The same, of all devices of a user.
            send_size_rate_per_user: Option<Rate> = Some(Rate::new(64 << 20, 256 << 10, SECOND));
            /// Members to whom the messages of one user go, message by message. Counted once they
            /// are committed, so the next message waits.
            delivery_rate_per_user: Option<Rate> = Some(Rate::new(500_000, 5_000, SECOND));
            /// Names that a user names in requests and has not named lately: whether they exist is
            /// told. A link that they look for is one more, and so is a secret of an invite that
            /// they try; the beginning of a name is twenty.
            lookup_rate_per_user: Option<Rate> = Some(Rate::new(2_000, 100, HOUR));
            /// What a user tells the operators of users and messages.
            report_rate_per_user: Option<Rate> = Some(Rate::new(20, 20, DAY));
            /// All other requests (history, conversations, members, devices, profiles, presence, read
            /// marks) of one device, and what it tells of typing.
            request_rate_per_device: Option<Rate> = Some(Rate::new(2_000, 50, SECOND));
            /// Hellos of one device without a cursor that is of use: each reads all of the user's
            /// conversations.
            snapshot_rate_per_device: Option<Rate> = Some(Rate::new(60, 1, MINUTE));
            /// Members of a group. Who is a member when it is lowered stays. How fast one user
            /// can add people whom they have not named before is lookup_rate_per_user.
            group_members_max: u32 = 10_000, 2 => GROUP_MEMBERS_MAX;
            /// Requests of everybody that are not answered yet.
            requests_max: u32 = 50_000, 256 => 10_000_000;
            /// Requests and deliveries that read the store at the same time.
            reads_max: u32 = 64, 1 => 10_000;
        }
        "Messages" {
            /// For how long after it was sent a message may be edited by its sender; 0s: not at
            /// all; off: for ever. Two days are what people know from elsewhere; each edit tells
            /// the others that and when the message was changed.
            edit_time_limit: Option<Duration> = Some(Duration::from_secs(48 * 3_600));
        }
        "Photos and files" {
            /// Bytes of one photo or file.
            media_size_max: Size = Size(256 << 20), Size(1 << 20) => Size(64 << 30);
            /// Bytes of all that one user has uploaded and that is still there, each upload counted
            /// as a whole from its beginning.
            media_size_per_user_max: Size = Size(20 << 30), Size(1 << 20) => Size(1 << 50);
            /// Uploads of one device at the same time.
            media_uploads_per_device_max: u32 = 4, 1 => 64;
            /// Uploads of everybody at the same time. Each takes about half a MiB of memory, one in
            /// a bucket up to 1 MiB, with media_presigned up to 4 MiB.
            media_uploads_max: u32 = 200, 1 => 10_000;
            /// Uploads of one user that are not whole.
            media_unfinished_per_user_max: u32 = 64, 1 => 10_000;
            /// How long an upload may stop before it is whole, and how long what no message refers
            /// to stays.
            media_expiry: Duration = DAY, MINUTE => DAY * 30;
            /// How long the URL of a photo or file is good, at least; at most twice as long. All
            /// who may have it get the same, so that a cache can serve them.
            media_url_validity: Duration = HOUR, MINUTE => DAY * 7;
        }
        "Memory" {
            /// Addresses, users or devices that each rate remembers. Who is new while all of these
            /// are in use is refused.
            rate_keys_max: u32 = 200_000, 100 => 10_000_000;
            /// Events that wait for one connection. What does not fit is read from the log again.
            mailbox_events_max: u32 = 512, 1 => 100_000;
            /// Their bytes.
            mailbox_size_max: Size = Size(1 << 20), Size(64 << 10) => Size(64 << 20);
        }
        "The end" {
            /// A drain tells each client to come back after a time of its own, up to this one.
            drain_slots: Duration = Duration::from_secs(5), Duration::ZERO => MINUTE;
            /// How long clients have to close after the goodbye. What is queued is committed
            /// meanwhile and after it, in up to 2 s more.
            drain_timeout: Duration = Duration::from_secs(7), SECOND => MINUTE;
        }
    }
}

fn loopback() -> Networks {
    Networks(vec![
        (std::net::Ipv4Addr::new(127, 0, 0, 0).into(), 8),
        (std::net::Ipv6Addr::LOCALHOST.into(), 128),
    ])
}

/// All settings, described, in the order of the documents.
pub(super) fn table() -> Vec<Setting> {
    let mut table = General::table();
    table.extend(Push::table());
    table.extend(Limits::table());
    table
}
