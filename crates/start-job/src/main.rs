//! Checks the data and starts the AutoML job.

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), crosspilot_core::lambda::lambda_runtime::Error> {
    crosspilot_core::lambda::serve(start_job::handle).await
}
