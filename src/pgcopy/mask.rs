//! What stands in a person's place: values that are masked where they are decoded, so that nothing after that has them.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::column::{Builder, Column};
use super::mapping::Mapping;
use super::text;
use super::value::ValueError;

/// Bytes of a code that are kept: enough that no two values of a store share them.
const KEPT: usize = 16;
/// What the key's own mark is the code of.
const MARK: &[u8] = b"the mark of a mask's key";

/// What becomes of a column's values. NULL stays NULL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mask {
    /// Every value is NULL.
    Null,
    /// Every value is this text.
    Text(Arc<str>),
    /// A code that only the key's holder can tell the value of by trying: the same for the same value everywhere.
    Hmac(MaskKey),
}

impl Mask {
    /// As the manifest names it.
    pub fn record(&self) -> String {
        match self {
            Mask::Null => "null".to_owned(),
            Mask::Text(text) => format!("text:{text}"),
            Mask::Hmac(key) => format!("hmac, key {}", key.mark()),
        }
    }
}

/// A secret by which values become codes. It is shown to nobody.
#[derive(Clone)]
pub struct MaskKey(Hmac<Sha256>);

impl MaskKey {
    pub fn new(secret: &[u8]) -> Option<MaskKey> {
        Hmac::new_from_slice(secret).ok().map(MaskKey)
    }

    /// The first half of the HMAC-SHA-256, in hexadecimal digits.
    fn code(&self, value: &[u8]) -> String {
        let mut mac = self.0.clone();
        mac.update(value);
        let whole = mac.finalize().into_bytes();
        whole.iter().take(KEPT).map(|byte| format!("{byte:02x}")).collect()
    }

    /// By which two keys are told apart.
    fn mark(&self) -> String {
        self.code(MARK).chars().take(8).collect()
    }
}

impl PartialEq for MaskKey {
    fn eq(&self, other: &MaskKey) -> bool {
        self.mark() == other.mark()
    }
}

impl Eq for MaskKey {}

impl fmt::Debug for MaskKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MaskKey({})", self.mark())
    }
}

/// How a value that becomes a text or a code travels until then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    Text,
    Padded,
    Uuid,
    Int16,
    Int32,
    Int64,
    /// Cast to text by Postgres.
    Cast,
}

impl Form {
    pub fn of(natural: Mapping) -> Form {
        match natural {
            Mapping::Text => Form::Text,
            Mapping::PaddedText => Form::Padded,
            Mapping::Uuid => Form::Uuid,
            Mapping::Int16 => Form::Int16,
            Mapping::Int32 => Form::Int32,
            Mapping::Int64 => Form::Int64,
            _ => Form::Cast,
        }
    }

    /// A value of binary COPY as Postgres prints it, so that the same value is the same in columns of several types.
    fn printed(self, bytes: &[u8]) -> Result<Cow<'_, [u8]>, ValueError> {
        fn fixed<const N: usize>(bytes: &[u8]) -> Result<[u8; N], ValueError> {
            bytes.try_into().map_err(|_| hidden("is not in the binary form of its type"))
        }
        let owned = match self {
            Form::Text | Form::Cast => return Ok(Cow::Borrowed(bytes)),
            Form::Padded => return Ok(Cow::Borrowed(text::unpadded(bytes))),
            Form::Uuid => text::format_uuid(&fixed(bytes)?).into_bytes(),
            Form::Int16 => i16::from_be_bytes(fixed(bytes)?).to_string().into_bytes(),
            Form::Int32 => i32::from_be_bytes(fixed(bytes)?).to_string().into_bytes(),
            Form::Int64 => i64::from_be_bytes(fixed(bytes)?).to_string().into_bytes(),
        };
        Ok(Cow::Owned(owned))
    }

    /// The same of a value in a text.
    fn read(self, value: &str) -> Result<Cow<'_, [u8]>, ValueError> {
        let whole = |low: i64, high: i64| match value.trim().parse::<i64>() {
            Ok(number) if (low..=high).contains(&number) => Ok(Cow::Owned(number.to_string().into_bytes())),
            _ => Err(hidden("is not a valid integer of its column")),
        };
        match self {
            Form::Text | Form::Cast => Ok(Cow::Borrowed(value.as_bytes())),
            Form::Padded => Ok(Cow::Borrowed(text::unpadded(value.as_bytes()))),
            Form::Uuid => match text::uuid(value) {
                Some(uuid) => Ok(Cow::Owned(uuid.into_bytes())),
                None => Err(hidden("is not a valid uuid")),
            },
            Form::Int16 => whole(i64::from(i16::MIN), i64::from(i16::MAX)),
            Form::Int32 => whole(i64::from(i32::MIN), i64::from(i32::MAX)),
            Form::Int64 => whole(i64::MIN, i64::MAX),
        }
    }
}

/// What is wrong with a value that nobody may see.
fn hidden(reason: &str) -> ValueError {
    ValueError { reason: reason.to_owned(), value: "that is masked".to_owned(), remedy: None }
}

/// A value as it comes.
#[derive(Clone, Copy)]
pub enum Raw<'a> {
    Binary(&'a [u8]),
    Text(&'a str),
}

impl Mask {
    /// What stands in a value's place; none for NULL.
    fn masked(&self, form: Form, raw: Raw<'_>) -> Result<Option<Cow<'_, str>>, ValueError> {
        Ok(match self {
            Mask::Null => None,
            Mask::Text(text) => Some(Cow::Borrowed(text)),
            Mask::Hmac(key) => {
                let value = match raw {
                    Raw::Binary(bytes) => form.printed(bytes)?,
                    Raw::Text(text) => form.read(text)?,
                };
                Some(Cow::Owned(key.code(&value)))
            }
        })
    }
}

impl Column {
    /// The same, with something else in the place of every value.
    pub fn masked(mut self, mask: Option<&Mask>) -> Column {
        self.mask = mask.cloned();
        self
    }

    /// Puts what stands in a value's place.
    pub(super) fn push_masked(&mut self, mask: &Mask, raw: Raw<'_>) -> Result<(), ValueError> {
        let form = match self.mapping {
            Mapping::Masked(form) => form,
            natural => Form::of(natural),
        };
        match (mask.masked(form, raw)?, &mut self.builder) {
            (Some(stands), Builder::Text(builder)) => {
                self.bytes += stands.len();
                builder.append_value(stands.as_bytes());
            }
            _ => self.push_null(),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(secret: &str) -> MaskKey {
        MaskKey::new(secret.as_bytes()).unwrap()
    }

    #[test]
    fn a_code_is_the_first_half_of_the_hmac_that_everybody_computes() {
        // RFC 4231, test case 2.
        assert_eq!(key("Jefe").code(b"what do ya want for nothing?"), "5bdcc146bf60754e6a042426089575c7");
    }

    #[test]
    fn the_same_value_has_the_same_code_whatever_its_columns_type_and_way() {
        let mask = Mask::Hmac(key("a secret of some length"));
        let of = |form: Form, raw: Raw<'_>| mask.masked(form, raw).unwrap().unwrap().into_owned();
        let codes = [
            of(Form::Text, Raw::Text("7")),
            of(Form::Padded, Raw::Binary(b"7   ")),
            of(Form::Int16, Raw::Binary(&7_i16.to_be_bytes())),
            of(Form::Int32, Raw::Text(" 07")),
            of(Form::Int64, Raw::Binary(&7_i64.to_be_bytes())),
            of(Form::Cast, Raw::Binary(b"7")),
        ];
        assert!(codes.iter().all(|code| *code == codes[0]), "{codes:?}");
        let (upper, lower) = ("6B2F51C8-0000-4000-8000-0123456789AB", "6b2f51c8-0000-4000-8000-0123456789ab");
        assert_eq!(of(Form::Uuid, Raw::Text(upper)), of(Form::Text, Raw::Text(lower)));
        assert_ne!(of(Form::Text, Raw::Text("7")), of(Form::Text, Raw::Text("8")));
    }

    #[test]
    fn nothing_tells_of_a_key_or_of_a_value() {
        let (one, other) = (key("the first secret there is"), key("the other secret there is"));
        assert_ne!(one, other);
        assert!(!format!("{one:?}").contains("secret"));
        let refused = Mask::Hmac(one).masked(Form::Int32, Raw::Text("12x")).unwrap_err();
        assert_eq!(refused.to_string(), "the value that is masked is not a valid integer of its column");
    }
}
