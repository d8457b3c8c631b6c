//! Ridge, logistic and softmax regression.

mod lbfgs;
pub(crate) mod model;
