//! Scores records for the API, and held-out rows for a run.

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), crosspilot_core::lambda::lambda_runtime::Error> {
    crosspilot_core::lambda::serve(predict::handle).await
}
