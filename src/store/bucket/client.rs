//! The way to a bucket: its server, its region, and whose credentials are shown there.

use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::{BackoffConfig, ClientOptions, ObjectStore, RetryConfig};

use super::profile;
use crate::error::{Error, ErrorKind, Result, ResultExt};
use crate::pipeline::{BucketSettings, is_address};

/// How long a request is tried again that a server does not answer, or asks to be sent later.
const PATIENCE: Duration = Duration::from_secs(60);

/// What is sent in the head of a request; files that secrets are mounted from end with a line's end.
const OF_ONE_LINE: [(AmazonS3ConfigKey, &str); 4] = [
    (AmazonS3ConfigKey::AccessKeyId, "AWS_ACCESS_KEY_ID"),
    (AmazonS3ConfigKey::SecretAccessKey, "AWS_SECRET_ACCESS_KEY"),
    (AmazonS3ConfigKey::Token, "AWS_SESSION_TOKEN"),
    (AmazonS3ConfigKey::Region, "AWS_REGION"),
];

fn of_one_line(value: &str, variable: &str) -> Result<String> {
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

pub fn connect(settings: &BucketSettings, size: Size) -> Result<Arc<dyn ObjectStore>> {
    let retry = RetryConfig {
        backoff: BackoffConfig { max_backoff: Duration::from_secs(5), ..BackoffConfig::default() },
        max_retries: 10,
        retry_timeout: PATIENCE,
    };
    let mut builder = AmazonS3Builder::from_env();
    for (key, variable) in OF_ONE_LINE {
        if let Some(value) = builder.get_config_value(&key) {
            builder = builder.with_config(key, of_one_line(&value, variable)?);
        }
    }
    let profile = profile::found()?;
    let said =
        |builder: &AmazonS3Builder, key| builder.get_config_value(&key).filter(|value| !value.is_empty());
    let has_own = said(&builder, AmazonS3ConfigKey::AccessKeyId).is_some()
        || said(&builder, AmazonS3ConfigKey::WebIdentityTokenFile).is_some();
    if let Some(profile) = &profile {
        if !has_own {
            match (&profile.access_key, &profile.secret_key) {
                (Some(access), Some(secret)) => {
                    builder = builder.with_access_key_id(access).with_secret_access_key(secret);
                    if let Some(token) = &profile.token {
                        builder = builder.with_token(token);
                    }
                }
                _ => profile.require_understood()?,
            }
        }
        if let Some(region) =
            profile.region.as_ref().filter(|_| said(&builder, AmazonS3ConfigKey::Region).is_none())
        {
            builder = builder.with_region(region);
        }
    }
    if let Some(region) = &settings.region {
        builder = builder.with_region(region);
    }
    let endpoint = settings
        .endpoint
        .clone()
        .or_else(|| said(&builder, AmazonS3ConfigKey::S3Endpoint))
        .or_else(|| said(&builder, AmazonS3ConfigKey::Endpoint))
        .or_else(|| profile.and_then(|profile| profile.endpoint));
    // AWS names buckets in the host's name; other servers seldom do.
    let in_path = settings.path_style.unwrap_or(endpoint.is_some() || settings.bucket.contains('.'));
    let mut options =
        ClientOptions::new().with_connect_timeout(Duration::from_secs(5)).with_timeout(size.timeout());
    if let Some(endpoint) = endpoint {
        let endpoint = of_one_line(&endpoint, "AWS_ENDPOINT_URL")?;
        if !is_address(&endpoint) {
            let message =
                format!("{endpoint} is no address of a server, and {settings} is to be found there");
            return Err(Error::new(ErrorKind::Store, message)
                .hint("write https://host, or http://host:port: `endpoint` in [store], AWS_ENDPOINT_URL, or the profile's endpoint_url"));
        }
        // A server without TLS is one that somebody has written so.
        options = options.with_allow_http(endpoint.starts_with("http://"));
        builder = builder.with_endpoint(match (in_path, endpoint.split_once("://")) {
            (false, Some((scheme, host))) => format!("{scheme}://{}.{host}", settings.bucket),
            _ => endpoint,
        });
    }
    let built = builder
        .with_bucket_name(&settings.bucket)
        .with_virtual_hosted_style_request(!in_path)
        .with_client_options(options)
        .with_retry(retry)
        .build();
    let built = built.or_error(ErrorKind::Store, || format!("{settings} cannot be reached so"));
    built.map(|client| Arc::new(client) as Arc<dyn ObjectStore>).map_err(|error: Error| {
        error.hint("check `endpoint` and `region` in [store], and the variables AWS_… of the environment")
    })
}
