//! What is kept of every account: the resources, and pure readers of them. Uses
//! [`crate::wire`] and nothing that acts.

pub(crate) mod candidate;
pub(crate) mod store;
