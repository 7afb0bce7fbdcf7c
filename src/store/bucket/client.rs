//! The way to a bucket: its server, how long it is waited for, and whose credentials are shown there.

use std::sync::Arc;
use std::time::Duration;

use object_store::{BackoffConfig, ClientOptions, ObjectStore, RetryConfig};

use super::{azure, google, s3};
use crate::error::{Error, ErrorKind, Result, ResultExt};
use crate::pipeline::{BucketSettings, Service, is_address};

/// How long a request is tried again that a server does not answer, or asks to be sent later.
const PATIENCE: Duration = Duration::from_secs(60);

/// What is sent in the head of a request; files that secrets are mounted from end with a line's end.
pub fn of_one_line(value: &str, variable: &str) -> Result<String> {
    let value = value.trim();
    if value.chars().all(|letter| letter.is_ascii_graphic() || letter == ' ') {
        return Ok(value.to_owned());
    }
    let message = format!("{variable} has a letter that no request may have");
    Err(Error::new(ErrorKind::Store, message).hint("set it to one line of plain letters"))
}

/// How long one request may take, from its first byte to the last of its answer.
#[derive(Debug, Clone, Copy)]
pub enum Size {
    /// Of a document.
    Small,
    /// Of a file, over a line that may be slow.
    Large,
}

impl Size {
    fn timeout(self) -> Duration {
        match self {
            Size::Small => Duration::from_secs(30),
            Size::Large => Duration::from_secs(15 * 60),
        }
    }
}

/// What every service's client is told.
pub struct Way {
    pub retry: RetryConfig,
    pub options: ClientOptions,
}

impl Way {
    fn of(size: Size) -> Way {
        let backoff = BackoffConfig { max_backoff: Duration::from_secs(5), ..BackoffConfig::default() };
        let options = ClientOptions::new();
        Way {
            retry: RetryConfig { backoff, max_retries: 10, retry_timeout: PATIENCE },
            options: options.with_connect_timeout(Duration::from_secs(5)).with_timeout(size.timeout()),
        }
    }

    /// The address of a server that is not the service's own.
    pub fn server(&mut self, settings: &BucketSettings, endpoint: &str, elsewhere: &str) -> Result<String> {
        let variable = elsewhere.split(',').next().unwrap_or(elsewhere);
        let endpoint = of_one_line(endpoint, variable)?;
        if !is_address(&endpoint) {
            let message =
                format!("{endpoint} is no address of a server, and {settings} is to be found there");
            return Err(Error::new(ErrorKind::Store, message).hint(format!(
                "write https://host, or http://host:port: `endpoint` in [store], {elsewhere}"
            )));
        }
        // A server without TLS is one that somebody has written so.
        self.options = self.options.clone().with_allow_http(endpoint.starts_with("http://"));
        Ok(endpoint)
    }
}

pub fn connect(settings: &BucketSettings, size: Size) -> Result<Arc<dyn ObjectStore>> {
    let way = Way::of(size);
    match settings.service {
        Service::S3 => s3::connect(settings, way),
        Service::Azure => azure::connect(settings, way),
        Service::Google => google::connect(settings, way),
    }
}

/// A client, or what it lacks.
pub fn built<C: ObjectStore>(
    settings: &BucketSettings,
    built: object_store::Result<C>,
    remedy: &str,
) -> Result<Arc<dyn ObjectStore>> {
    let built = built.or_error(ErrorKind::Store, || format!("{settings} cannot be reached so"));
    built.map(|client| Arc::new(client) as Arc<dyn ObjectStore>).map_err(|error: Error| error.hint(remedy))
}
