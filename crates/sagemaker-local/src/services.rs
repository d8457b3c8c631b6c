//! The services that SageMaker itself calls: S3, KMS and CloudWatch, all of them at the
//! emulator, with the permissions of the execution role. Uses [`crate::wire`].

pub(crate) mod cloudwatch;
pub(crate) mod emulator;
mod kms;
pub(crate) mod s3;
