//! A container of Azure Blob Storage.

use std::sync::Arc;

use object_store::ObjectStore;
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};

use super::client::{self, Way, of_one_line};
use crate::error::{Error, ErrorKind, Result};
use crate::pipeline::BucketSettings;

/// What is sent in the head of a request, or in its address.
const OF_ONE_LINE: [(AzureConfigKey, &str); 3] = [
    (AzureConfigKey::AccountName, "AZURE_STORAGE_ACCOUNT_NAME"),
    (AzureConfigKey::AccessKey, "AZURE_STORAGE_ACCOUNT_KEY"),
    (AzureConfigKey::SasKey, "AZURE_STORAGE_SAS_KEY"),
];

pub fn connect(settings: &BucketSettings, mut way: Way) -> Result<Arc<dyn ObjectStore>> {
    let mut builder = MicrosoftAzureBuilder::from_env();
    for (key, variable) in OF_ONE_LINE {
        if let Some(value) = builder.get_config_value(&key) {
            builder = builder.with_config(key, of_one_line(&value, variable)?);
        }
    }
    if let Some(account) = &settings.account {
        builder = builder.with_account(account);
    }
    if builder.get_config_value(&AzureConfigKey::AccountName).is_none_or(|name| name.is_empty()) {
        let message = format!("no storage account is named that has {settings}");
        return Err(Error::new(ErrorKind::Store, message)
            .hint("write `account` in [store], or set AZURE_STORAGE_ACCOUNT_NAME"));
    }
    let said = builder.get_config_value(&AzureConfigKey::Endpoint).filter(|value| !value.is_empty());
    if let Some(endpoint) = settings.endpoint.clone().or(said) {
        let endpoint = way.server(settings, &endpoint, "AZURE_STORAGE_ENDPOINT")?;
        builder = builder.with_endpoint(endpoint);
    }
    let built = builder
        .with_container_name(&settings.bucket)
        .with_client_options(way.options)
        .with_retry(way.retry)
        .build();
    client::built(
        settings,
        built,
        "check `account` and `endpoint` in [store], and the variables AZURE_STORAGE_… of the environment",
    )
}
