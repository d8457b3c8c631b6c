//! What is said on the wire: AWS's service model, its refusals, its pages and names.
//! Uses nothing else of this crate but what [`crate::authority`] refuses.

pub(crate) mod error;
pub(crate) mod paging;
pub(crate) mod shapes;
