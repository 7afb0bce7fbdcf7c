//! What people do with published stars between the nights: look at them, compare them, take one
//! back, forget old ones. Only the deployment is read, so that broken models stand in nobody's way.

pub mod compare;
pub mod correct;
pub mod forget;
pub mod history;
mod member;
pub mod prune;
pub mod rollback;
pub mod runs;
pub mod snapshots;
