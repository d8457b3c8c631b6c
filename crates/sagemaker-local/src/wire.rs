//! The language of the wire: AWS's service model, its refusals, its pages and names. Uses
//! nothing else of this crate but the refusals of [`crate::authority`].

pub(crate) mod autoscaling;
pub(crate) mod call;
pub(crate) mod data_source;
pub(crate) mod error;
pub(crate) mod ids;
pub(crate) mod paging;
pub(crate) mod place;
pub(crate) mod shapes;
