//! A bucket of AWS, or of a server that speaks as it does.

use std::sync::Arc;

use object_store::ObjectStore;
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};

use super::client::{self, Way, of_one_line};
use super::profile;
use crate::error::Result;
use crate::pipeline::BucketSettings;

/// What is sent in the head of a request; files that secrets are mounted from end with a line's end.
const OF_ONE_LINE: [(AmazonS3ConfigKey, &str); 4] = [
    (AmazonS3ConfigKey::AccessKeyId, "AWS_ACCESS_KEY_ID"),
    (AmazonS3ConfigKey::SecretAccessKey, "AWS_SECRET_ACCESS_KEY"),
    (AmazonS3ConfigKey::Token, "AWS_SESSION_TOKEN"),
    (AmazonS3ConfigKey::Region, "AWS_REGION"),
];

pub fn connect(settings: &BucketSettings, mut way: Way) -> Result<Arc<dyn ObjectStore>> {
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
    if let Some(endpoint) = endpoint {
        let endpoint = way.server(settings, &endpoint, "AWS_ENDPOINT_URL, or the profile's endpoint_url")?;
        builder = builder.with_endpoint(match (in_path, endpoint.split_once("://")) {
            (false, Some((scheme, host))) => format!("{scheme}://{}.{host}", settings.bucket),
            _ => endpoint,
        });
    }
    let built = builder
        .with_bucket_name(&settings.bucket)
        .with_virtual_hosted_style_request(!in_path)
        .with_client_options(way.options)
        .with_retry(way.retry)
        .build();
    client::built(
        settings,
        built,
        "check `endpoint` and `region` in [store], and the variables AWS_… of the environment",
    )
}
