//! A bucket of Google Cloud Storage.

use std::sync::Arc;

use object_store::ObjectStore;
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};

use super::client::{self, Way};
use crate::error::Result;
use crate::pipeline::BucketSettings;

pub fn connect(settings: &BucketSettings, mut way: Way) -> Result<Arc<dyn ObjectStore>> {
    let mut builder = GoogleCloudStorageBuilder::from_env();
    let said = builder.get_config_value(&GoogleConfigKey::BaseUrl).filter(|value| !value.is_empty());
    if let Some(endpoint) = settings.endpoint.clone().or(said) {
        let endpoint = way.server(settings, &endpoint, "GOOGLE_BASE_URL")?;
        builder = builder.with_config(GoogleConfigKey::BaseUrl, endpoint);
    }
    let built = builder
        .with_bucket_name(&settings.bucket)
        .with_client_options(way.options)
        .with_retry(way.retry)
        .build();
    client::built(
        settings,
        built,
        "check `endpoint` in [store], and the file that GOOGLE_APPLICATION_CREDENTIALS names",
    )
}
