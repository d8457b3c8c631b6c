//! Finds the tenant of a run, proves its trust, claims the run.

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), crosspilot_core::lambda::lambda_runtime::Error> {
    crosspilot_core::lambda::serve(assume::handle).await
}
