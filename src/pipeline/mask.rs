//! Which columns are masked, and where the key of codes is.

use super::file::{SourceFile, Text};
use super::resolve::Resolver;
use crate::diagnostic::Diagnostic;
use crate::pgcopy::mask::{Mask, MaskKey};
use crate::pgcopy::policy::Masks;

/// Bytes below which a key can be found by trying.
const SHORTEST: usize = 16;
const WHERE: &str =
    "say where it is: mask_key = \"env:SHOP_MASK_KEY\" or \"file:/run/secrets/shop_mask_key\"";

impl Resolver<'_> {
    pub(super) fn masks(&self, source: &SourceFile, schemas: &[String]) -> Masks {
        let key = source.mask_key.as_ref().and_then(|text| self.mask_key(text));
        let mut masks = Masks { schemas: schemas.to_vec(), ..Masks::default() };
        for (name, text) in &source.masks {
            if !(2..=3).contains(&name.value.split('.').count()) {
                let help = "write \"users.email\", or \"crm.users.email\"";
                self.notes.error(name.span.clone(), "a masked column is named with its table", help);
            }
            let mask = match text.value.as_str() {
                "null" => Mask::Null,
                "none" => {
                    masks.bare.push(name.value.clone());
                    continue;
                }
                "hmac" => match (&key, &source.mask_key) {
                    (Some(key), _) => Mask::Hmac(key.clone()),
                    (None, None) => {
                        self.notes.error(
                            text.span.clone(),
                            "codes need a key",
                            format!("add to [source]: {WHERE}"),
                        );
                        continue;
                    }
                    // What is wrong with it has been told.
                    (None, Some(_)) => continue,
                },
                // What stands there may be a key in the wrong place, so it is not said again.
                other => match other.strip_prefix("text:") {
                    Some(constant) if constant.contains('\0') => {
                        self.notes.error(
                            text.span.clone(),
                            "no text of Postgres's holds a NUL",
                            "write another text",
                        );
                        continue;
                    }
                    Some(constant) => Mask::Text(constant.into()),
                    None => {
                        let valid = "valid: \"hmac\", \"null\", \"text:…\" with what stands in the place of every value, \"none\" for a column that only has the name of a masked one";
                        self.notes.error(text.span.clone(), "a column cannot be masked by this", valid);
                        continue;
                    }
                },
            };
            masks.columns.insert(name.value.clone(), mask);
        }
        masks
    }

    /// The key, from where the pipeline says that it is. No message shows what was found there.
    fn mask_key(&self, text: &Text) -> Option<MaskKey> {
        // What stands there may be the key itself, so no line of the file is shown.
        let failed = |message: String, help: &str| {
            self.notes.add(Diagnostic::error(format!("mask_key in [source]: {message}")).help(help));
            None
        };
        if self.notes.document.text.get(text.span.clone()).is_some_and(|written| written.contains("${")) {
            return failed("its place is written as it is, without variables".to_owned(), WHERE);
        }
        let secret = match text.value.split_once(':') {
            Some(("env", name)) => match std::env::var(name) {
                Ok(secret) => secret.into_bytes(),
                Err(_) => {
                    return failed(
                        format!("the variable {name}, which has the key of the masks, is not set"),
                        "set it for this command",
                    );
                }
            },
            Some(("file", path)) => match std::fs::read(self.project.join(path)) {
                Ok(secret) => secret,
                Err(error) => {
                    return failed(
                        format!("cannot read the key of the masks: {path}: {error}"),
                        "put it there, readable by this user",
                    );
                }
            },
            _ => return failed("the key of the masks does not stand in the pipeline".to_owned(), WHERE),
        };
        let secret = secret.trim_ascii();
        if secret.len() < SHORTEST {
            let message =
                format!("the key of the masks has {} bytes, and can be found by trying", secret.len());
            return failed(message, "make one of at least 16 bytes: openssl rand -hex 32");
        }
        MaskKey::new(secret)
    }
}
