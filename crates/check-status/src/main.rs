//! Tells where a job or an endpoint is.

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), crosspilot_core::lambda::lambda_runtime::Error> {
    crosspilot_core::lambda::serve(check_status::handle).await
}
