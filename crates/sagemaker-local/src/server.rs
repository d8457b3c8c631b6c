//! The server: connections in, authorised calls to [`crate::operations`], answers out.
//! Uses everything else, and only the crate's root uses it.

pub(crate) mod connections;
pub(crate) mod http;
