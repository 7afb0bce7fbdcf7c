//! A word while a model takes long to plan: whoever waits shall know for what.

use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;

use crate::name::ModelName;

/// How long nobody wonders.
const PATIENCE: Duration = Duration::from_secs(8);

/// While it lives, a model is being planned. The engine plans without a pause, so the word comes from a thread.
pub struct Planning {
    _ends: Sender<()>,
}

impl Planning {
    pub fn begins(model: &ModelName) -> Planning {
        let (ends, ended) = channel::<()>();
        let model = model.to_string();
        std::thread::spawn(move || {
            if ended.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
                tracing::warn!(
                    model,
                    "the model takes long to plan: its SQL nests deeply or is very long; CTEs and models of its own plan faster"
                );
            }
        });
        Planning { _ends: ends }
    }
}
