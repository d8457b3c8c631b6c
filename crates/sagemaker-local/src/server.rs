//! The server: connections in, authorised calls to [`crate::operations`], answers out. Uses
//! everything else, and only the crate's root uses it.

mod answers;
mod authorize;
pub(crate) mod connections;
pub(crate) mod http;
mod struck;
