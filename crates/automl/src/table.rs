//! Tables of text, what their columns are, and what is to be predicted from them.

pub(crate) mod analysis;
pub(crate) mod cells;
pub(crate) mod problem_type;
pub(crate) mod schema;
pub(crate) mod target;
