//! Deploys the best candidate if it beats the champion, and looks after what serves.

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), crosspilot_core::lambda::lambda_runtime::Error> {
    crosspilot_core::lambda::serve(deploy_best::handle).await
}
