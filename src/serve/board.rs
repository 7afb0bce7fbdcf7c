//! How the pipelines of a scheduler stand, shared with those who ask over HTTP.

use std::path::PathBuf;
use std::sync::{Arc, RwLock};

use serde::Serialize;

use super::post::Standing;

/// What those see who ask over HTTP.
#[derive(Debug, Clone, Default)]
pub struct Standings {
    pub pipelines: Vec<Standing>,
    pub left_out: Vec<LeftOut>,
}

/// A pipeline that could not be read, and has no nights until it is mended.
#[derive(Debug, Clone, Serialize)]
pub struct LeftOut {
    pub file: PathBuf,
    pub because: String,
}

/// How every pipeline stands, shared with those who ask over HTTP.
pub type Board = Arc<RwLock<Standings>>;
