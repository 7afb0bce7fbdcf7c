//! What went wrong with a bucket, in words that say whose turn it is.

use std::error::Error as Cause;

use crate::error::{Error, ErrorKind};
use crate::pipeline::{BucketSettings, Service};

/// All that an error and its causes say.
fn whole(error: &(dyn Cause + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str("; ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}

/// Whether an answer began and was cut.
pub fn is_cut(error: &object_store::Error) -> bool {
    let said = whole(error);
    matches!(error, object_store::Error::Generic { .. }) && said.contains("body")
}

/// Whether an object is not there, in a bucket that is.
pub fn is_absent(error: &object_store::Error) -> bool {
    matches!(error, object_store::Error::NotFound { .. }) && !is_of_the_bucket(error)
}

/// How services say that there is no such bucket.
const NO_BUCKET: [&str; 2] = ["NoSuchBucket", "ContainerNotFound"];

/// Where a service's credentials are found.
fn credentials(service: Service) -> &'static str {
    match service {
        Service::S3 => "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, AWS_PROFILE",
        Service::Azure => {
            "AZURE_STORAGE_ACCOUNT_NAME, AZURE_STORAGE_ACCOUNT_KEY or AZURE_STORAGE_SAS_KEY, AZURE_CLIENT_ID"
        }
        Service::Google => "GOOGLE_APPLICATION_CREDENTIALS",
    }
}

/// What a run must be allowed to do.
fn rights(settings: &BucketSettings) -> String {
    match settings.service {
        Service::S3 => format!(
            "these credentials may not: a run needs ListBucket on {}, and GetObject, PutObject and DeleteObject below \
             {settings}; who only reads it needs no more than the first two",
            settings.bucket
        ),
        Service::Azure => format!(
            "these credentials may not: a run needs the role Storage Blob Data Contributor on the container {}; who only \
             reads it Storage Blob Data Reader",
            settings.bucket
        ),
        Service::Google => format!(
            "these credentials may not: a run needs the role Storage Object User on the bucket {}; who only reads it \
             Storage Object Viewer",
            settings.bucket
        ),
    }
}

/// Whether something was not found because there is no such bucket.
pub fn is_of_the_bucket(error: &object_store::Error) -> bool {
    let said = whole(error);
    NO_BUCKET.iter().any(|code| said.contains(&format!("<Code>{code}<")))
}

/// Whether the server gave no answer at all, to as many requests as were tried.
pub fn is_out_of_reach(error: &object_store::Error) -> bool {
    let said = whole(error);
    matches!(error, object_store::Error::Generic { .. })
        && ["error sending request", "connection", "timed out", "dns error"]
            .iter()
            .any(|it| said.contains(it))
}

/// The error of a request, with the step that helps.
pub fn told(settings: &BucketSettings, doing: &str, error: object_store::Error) -> Error {
    let said = whole(&error);
    // What the server names, and not what a name or a message of somebody's happens to contain.
    // Of several objects that were to be removed it is told in another form.
    let one_of_many =
        || said.split_once("(code: ").and_then(|(_, rest)| rest.split_once(')')).map(|(code, _)| code);
    let code = element(&said, "Code").or_else(one_of_many).unwrap_or_default();
    let names = |word: &str| code == word;
    let server = settings.endpoint.as_deref().unwrap_or("the server");
    let (message, hint) = if NO_BUCKET.iter().any(|code| names(code)) {
        (
            format!("there is no bucket {}", settings.bucket),
            "make the bucket, or name another: `url` in [store]".to_owned(),
        )
    } else if names("SignatureDoesNotMatch")
        || names("InvalidAccessKeyId")
        || names("ExpiredToken")
        || names("InvalidToken")
        || names("AuthenticationFailed")
        || names("InvalidAuthenticationInfo")
        || said.contains("failed to authenticate the request")
    {
        (
            doing.to_owned(),
            format!(
                "the server does not know these credentials, or they have expired: see {}",
                credentials(settings.service)
            ),
        )
    } else if names("RequestTimeTooSkewed") {
        (doing.to_owned(), "this machine's clock differs from the server's by too much: set it".to_owned())
    } else if names("PermanentRedirect")
        || names("AuthorizationHeaderMalformed")
        || said.contains("301 Moved")
        || said.contains("redirect without LOCATION")
    {
        (doing.to_owned(), "the bucket is in another region: `region` in [store], or AWS_REGION".to_owned())
    } else if ["//169.254.169.254", "//169.254.170.2", "//metadata.google.internal"]
        .iter()
        .any(|it| said.contains(it))
    {
        (
            "no credentials for the bucket were found".to_owned(),
            format!("set {}; or give this machine a role", credentials(settings.service)),
        )
    } else if matches!(
        error,
        object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. }
    ) || names("AccessDenied")
    {
        (doing.to_owned(), rights(settings))
    } else if is_out_of_reach(&error) {
        (
            format!("{doing}: {server} gives no answer"),
            "check `endpoint` and the network; the last snapshot is whole and still published".to_owned(),
        )
    } else {
        (doing.to_owned(), "the last snapshot is whole and still published; try again".to_owned())
    };
    let told = Error::new(ErrorKind::Store, message).hint(hint);
    // What the server has said is a page of XML, in which two words matter.
    match (element(&said, "Code"), element(&said, "Message")) {
        (Some(code), Some(words)) => told.caused_by(format!("the server says {code}: {words}")),
        _ => told.caused_by(error),
    }
}

fn element<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(&format!("<{name}>"))?;
    rest.split_once(&format!("</{name}>")).map(|(inner, _)| inner)
}
