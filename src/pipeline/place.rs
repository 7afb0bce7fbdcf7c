//! Where a store is: a folder, or a bucket of an object store.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::file::{StoreFile, Text};
use super::resolve::Resolver;

/// A lease that ends sooner could not be renewed in time; one that ends later keeps others out after a crash.
const LEASE: Duration = Duration::from_secs(60);
const SHORTEST_LEASE: Duration = Duration::from_secs(2);

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    Folder(PathBuf),
    Bucket(BucketSettings),
}

/// Whose way of speaking a bucket's server has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// AWS, and the many servers that speak as it does.
    S3,
    /// Azure Blob Storage, where a bucket is a container.
    Azure,
    /// Google Cloud Storage.
    Google,
}

impl Service {
    const ALL: [Service; 3] = [Service::S3, Service::Azure, Service::Google];

    pub fn scheme(self) -> &'static str {
        match self {
            Service::S3 => "s3://",
            Service::Azure => "az://",
            Service::Google => "gs://",
        }
    }

    /// The service that an address names.
    pub fn of(url: &str) -> Option<Service> {
        Service::ALL.into_iter().find(|service| url.starts_with(service.scheme()))
    }
}

/// A bucket's part that is a store, and how to reach it. Credentials are found as its service's own tools find them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BucketSettings {
    pub service: Service,
    pub bucket: String,
    /// Without slashes at its ends; empty is the whole bucket.
    pub prefix: String,
    /// Another server than the service's own.
    pub endpoint: Option<String>,
    /// Of Azure.
    pub account: Option<String>,
    pub region: Option<String>,
    /// Whether the bucket is named in the path, and not in the host's name.
    pub path_style: Option<bool>,
    /// Where copies of its files are kept on this machine.
    pub cache: Option<PathBuf>,
    /// How long a writer that gives no sign of life keeps others out.
    pub lease: Duration,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Folder(folder) => folder.display().fmt(f),
            Place::Bucket(bucket) => bucket.fmt(f),
        }
    }
}

impl fmt::Display for BucketSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.prefix.as_str() {
            "" => write!(f, "{}{}", self.service.scheme(), self.bucket),
            prefix => write!(f, "{}{}/{prefix}", self.service.scheme(), self.bucket),
        }
    }
}

impl BucketSettings {
    /// What tells this place from another of the same name, at another server or of another account.
    pub fn whole_name(&self) -> String {
        let server = self.endpoint.as_deref().unwrap_or_default();
        match &self.account {
            Some(account) => format!("{self} {server} {account}"),
            None => format!("{self} {server}"),
        }
    }
}

/// Whether a text is the address of a server.
pub fn is_address(text: &str) -> bool {
    let host = text.strip_prefix("https://").or(text.strip_prefix("http://"));
    host.is_some_and(|host| !host.is_empty() && !host.contains(['@', '?', '#', ' ', '\\']))
}

impl Resolver<'_> {
    /// The place of a store; what is wrong with it is told.
    pub(super) fn place(&self, file: &StoreFile, stem: &str) -> Option<Place> {
        match file.url.as_ref().and_then(|url| Some((Service::of(&url.value)?, url))) {
            Some((service, url)) => self.bucket(service, url, file).map(Place::Bucket),
            None => {
                for (key, text) in [
                    ("endpoint", &file.endpoint),
                    ("account", &file.account),
                    ("region", &file.region),
                    ("addressing", &file.addressing),
                    ("cache", &file.cache),
                    ("lease", &file.lease),
                ] {
                    self.not_here(key, text, "a store in a bucket, and this one is a folder");
                }
                let url = file.url.as_ref().map_or(format!("out/{stem}"), |url| url.value.clone());
                Some(Place::Folder(self.project.join(url)))
            }
        }
    }

    fn not_here(&self, key: &str, text: &Option<Text>, whose: &str) {
        if let Some(text) = text.as_ref().filter(|text| !text.value.is_empty()) {
            self.notes.error(text.span.clone(), format!("`{key}` is of {whose}"), "leave it out");
        }
    }

    fn bucket(&self, service: Service, url: &Text, file: &StoreFile) -> Option<BucketSettings> {
        if service != Service::Azure {
            self.not_here("account", &file.account, "Azure, and this store is elsewhere");
        }
        if service != Service::S3 {
            self.not_here("region", &file.region, "S3, and this store is elsewhere");
            self.not_here("addressing", &file.addressing, "S3, and this store is elsewhere");
        }
        let scheme = service.scheme();
        let wrong = |message: &str, help: &str| {
            self.notes.error(url.span.clone(), message, help);
            None
        };
        let rest = url.value.strip_prefix(scheme).unwrap_or_default();
        if rest.contains('@') {
            return wrong(
                "an address of a bucket has no user and no password",
                &format!(
                    "write {scheme}bucket/prefix; credentials are found in the environment, or where the machine has a role"
                ),
            );
        }
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let letters = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-._".contains(c);
        if bucket.len() < 3 || !bucket.chars().all(letters) {
            return wrong("this names no bucket", &format!("write {scheme}bucket/prefix"));
        }
        let prefix = prefix.trim_matches('/');
        let plain =
            |part: &str| !part.is_empty() && part != "." && part != ".." && !part.contains(['?', '#', '\\']);
        let is_plain = prefix.split('/').all(plain) && !prefix.chars().any(char::is_control);
        if !(prefix.is_empty() || is_plain) {
            return wrong(
                "this prefix is none that every tool reads alike",
                &format!("write {scheme}bucket/stars/shop"),
            );
        }
        let said = |text: &Option<Text>| {
            text.as_ref()
                .filter(|text| !text.value.trim().is_empty())
                .map(|text| text.value.trim().to_owned())
        };
        if let Some(endpoint) =
            file.endpoint.as_ref().filter(|_| said(&file.endpoint).is_some_and(|it| !is_address(&it)))
        {
            self.notes.error(
                endpoint.span.clone(),
                "this is no address of a server",
                "write https://host, or http://host:port on your own network",
            );
            return None;
        }
        let lease = match &file.lease {
            None => LEASE,
            Some(text) => self.duration(text)?,
        };
        if let Some(text) = file.lease.as_ref().filter(|_| lease < SHORTEST_LEASE) {
            self.notes.error(
                text.span.clone(),
                "so short a lease cannot be renewed in time",
                "write 60s; at least 2s",
            );
            return None;
        }
        Some(BucketSettings {
            service,
            bucket: bucket.to_owned(),
            prefix: prefix.to_owned(),
            endpoint: said(&file.endpoint),
            account: said(&file.account),
            region: said(&file.region),
            path_style: self.style(&file.addressing)?,
            cache: said(&file.cache).map(|folder| self.project.join(folder)),
            lease,
        })
    }

    fn style(&self, text: &Option<Text>) -> Option<Option<bool>> {
        let choices = [("auto", None), ("path", Some(true)), ("virtual", Some(false))];
        self.choice("addressing", text, &choices)
    }
}
