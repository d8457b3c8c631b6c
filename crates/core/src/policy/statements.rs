//! The statements of the session policies: one function for each purpose, in the order of
//! [`Purpose`](super::Purpose) and named after it.

use serde_json::{Value, json};

use super::{Scope, allow};
use crate::ids::ModelName;
use crate::layout;
use crate::run::{RunRef, endpoint_name};

/// Application Auto Scaling sets the number of instances as whoever asks it.
const CAPACITY: &str = "sagemaker:UpdateEndpointWeightsAndCapacities";

/// Lists, of which AWS lets nobody allow only a part. They show names.
pub(super) const LISTS: [&str; 5] = [
    "sagemaker:ListEndpoints",
    "sagemaker:ListEndpointConfigs",
    "sagemaker:ListModels",
    "sagemaker:ListAutoMLJobs",
    "sagemaker:ListTransformJobs",
];

/// Allows what the proof of trust needs: to ask who the session has become.
pub(super) fn prove_trust() -> Vec<Value> {
    // A policy must allow something. Everybody may do this anyway.
    vec![allow(&["sts:GetCallerIdentity"], json!("*"))]
}

/// Allows what telling the customer of a problem needs: to write the page about it.
pub(super) fn tell(scope: &Scope<'_>) -> Vec<Value> {
    let problem = layout::problem_key(&scope.tenant.prefix);
    let page = scope.objects(&problem);
    vec![allow(&["s3:PutObject"], json!(page)), scope.key_through_s3()]
}

/// Allows what the start of a run's job needs: to read the model's data, to write the verdict
/// and the divided rows, and to create the job with its role.
pub(super) fn start_job(scope: &Scope<'_>, run: &RunRef) -> Vec<Value> {
    let prefix = &scope.tenant.prefix;
    let data = layout::data_prefix(prefix, &run.model);
    let results = layout::results_prefix(prefix, run);
    let rows = layout::rows_prefix(prefix, run);
    let job = scope.sagemaker("automl-job", &run.job_name());
    let mut list_data = scope.list(&[]);
    list_data["Condition"] = json!({"StringLike": {"s3:prefix": format!("{data}*")}});
    let mut statements = vec![
        // Of all that is given for the model, as one: STS takes 2048 characters.
        list_data,
        allow(&["s3:GetObject"], json!(scope.objects(&data))),
        // The verdict on the data and the types of its columns.
        allow(&["s3:PutObject"], json!(scope.objects(&results))),
        // Its rows without those that are set aside: how it divides them is
        // read, too.
        allow(&["s3:GetObject", "s3:PutObject"], json!(scope.objects(&rows))),
        scope.key_through_s3(),
        allow(
            &["sagemaker:CreateAutoMLJobV2", "sagemaker:DescribeAutoMLJobV2", "sagemaker:AddTags"],
            json!(job),
        ),
        scope.pass_role(),
    ];
    statements.extend(scope.volume_key());
    statements
}

/// Allows what a look at a run needs: to describe and stop its jobs, to list the candidates,
/// and to describe its endpoint.
pub(super) fn check_status(scope: &Scope<'_>, run: &RunRef) -> Vec<Value> {
    vec![
        allow(
            &["sagemaker:DescribeAutoMLJobV2", "sagemaker:StopAutoMLJob"],
            json!(scope.sagemaker("automl-job", &run.job_name())),
        ),
        allow(
            &["sagemaker:DescribeTransformJob", "sagemaker:StopTransformJob"],
            json!(scope.scoring_jobs(run)),
        ),
        allow(
            &["sagemaker:DescribeEndpoint"],
            json!(scope.sagemaker("endpoint", &run.endpoint_name())),
        ),
        // AWS knows no resource for this action.
        allow(&["sagemaker:ListCandidatesForAutoMLJob"], json!("*")),
    ]
}

/// Allows what stopping a run's jobs needs: to describe them, to read their tags and to stop
/// them.
pub(super) fn stop_jobs(scope: &Scope<'_>, run: &RunRef) -> Vec<Value> {
    vec![
        allow(
            &["sagemaker:DescribeAutoMLJobV2", "sagemaker:StopAutoMLJob", "sagemaker:ListTags"],
            json!(scope.sagemaker("automl-job", &run.job_name())),
        ),
        allow(
            &["sagemaker:DescribeTransformJob", "sagemaker:StopTransformJob", "sagemaker:ListTags"],
            json!(scope.scoring_jobs(run)),
        ),
    ]
}

/// Allows what the registration of a run's model needs: to describe the job and to create the
/// model with its role.
pub(super) fn register_model(scope: &Scope<'_>, run: &RunRef) -> Vec<Value> {
    vec![
        allow(
            &["sagemaker:DescribeAutoMLJobV2"],
            json!(scope.sagemaker("automl-job", &run.job_name())),
        ),
        allow(
            &["sagemaker:CreateModel", "sagemaker:DescribeModel", "sagemaker:AddTags"],
            json!(scope.sagemaker("model", &run.deployment_name())),
        ),
        scope.pass_role(),
    ]
}

/// Allows what a deployment needs: to create the run's endpoint config, to move the endpoint
/// to it with its scaling off, and to write the run's results.
pub(super) fn deploy(scope: &Scope<'_>, run: &RunRef) -> Vec<Value> {
    let results = layout::results_prefix(&scope.tenant.prefix, run);
    let mut statements = vec![
        allow(
            &[
                "sagemaker:CreateEndpointConfig",
                "sagemaker:CreateEndpoint",
                "sagemaker:DescribeEndpoint",
                "sagemaker:UpdateEndpoint",
                CAPACITY,
                "sagemaker:DeleteEndpoint",
                "sagemaker:AddTags",
            ],
            json!([
                scope.sagemaker("endpoint-config", &run.deployment_name()),
                scope.sagemaker("endpoint", &run.endpoint_name()),
            ]),
        ),
        // Of what a moving endpoint no longer has.
        allow(&["application-autoscaling:DescribeScalableTargets"], json!("*")),
        scope.scaling(&["application-autoscaling:DeregisterScalableTarget"]),
        scope.configs(),
        scope.alarms(),
        allow(&["s3:PutObject"], json!(scope.objects(&results))),
        scope.key_through_s3(),
    ];
    statements.extend(scope.volume_key());
    statements
}

/// Allows what settling an endpoint needs: to put it back, to register its scaling, and to
/// delete the models and endpoint configs that serve no more.
pub(super) fn settle(scope: &Scope<'_>, run: &RunRef) -> Vec<Value> {
    let mut statements = vec![
        allow(
            &[
                "sagemaker:CreateEndpoint",
                "sagemaker:DescribeEndpoint",
                "sagemaker:UpdateEndpoint",
                CAPACITY,
                "sagemaker:DeleteEndpoint",
                "sagemaker:DeleteEndpointConfig",
                "sagemaker:DeleteModel",
                "sagemaker:AddTags",
            ],
            json!([
                scope.sagemaker("endpoint", &run.endpoint_name()),
                scope.of_all_runs("endpoint-config", &run.model),
                scope.of_all_runs("model", &run.model),
            ]),
        ),
        allow(&["application-autoscaling:DescribeScalableTargets"], json!("*")),
        scope.scaling(&[
            "application-autoscaling:RegisterScalableTarget",
            "application-autoscaling:DeregisterScalableTarget",
            "application-autoscaling:PutScalingPolicy",
        ]),
        scope.configs(),
        scope.alarms(),
        scope.scaling_role(),
    ];
    statements.extend(scope.volume_key());
    statements
}

/// Allows what scoring held-out rows needs: to read them, to copy them for the run's transform
/// jobs, to create these, and to ask the champion.
pub(super) fn score(scope: &Scope<'_>, run: &RunRef) -> Vec<Value> {
    let prefix = &scope.tenant.prefix;
    let test = layout::test_prefix(prefix, &run.model);
    let rows = layout::rows_prefix(prefix, run);
    let mut statements = vec![
        scope.list(&[&test]),
        allow(&["s3:GetObject"], json!(scope.objects(&test))),
        allow(&["s3:GetObject", "s3:PutObject"], json!(scope.objects(&rows))),
        scope.key_through_s3(),
        allow(
            &[
                "sagemaker:CreateTransformJob",
                "sagemaker:DescribeTransformJob",
                "sagemaker:AddTags",
            ],
            json!(scope.scoring_jobs(run)),
        ),
        scope.invoke(&run.model),
    ];
    statements.extend(scope.volume_key());
    statements
}

/// Allows what a run's conclusion needs: to read what was scored, to describe the job and its
/// candidates, to make a first prediction, and to write the results and the latest report.
pub(super) fn conclude(scope: &Scope<'_>, run: &RunRef) -> Vec<Value> {
    let prefix = &scope.tenant.prefix;
    let rows = layout::rows_prefix(prefix, run);
    let results = layout::results_prefix(prefix, run);
    let latest = layout::latest_report_key(prefix, &run.model);
    vec![
        // What was scored, and what Autopilot tells of its candidates.
        allow(&["s3:GetObject"], json!([scope.objects(&rows), scope.objects(&results)])),
        allow(&["s3:PutObject"], json!([scope.objects(&results), scope.objects(&latest)])),
        scope.key_through_s3(),
        allow(
            &["sagemaker:DescribeAutoMLJobV2"],
            json!(scope.sagemaker("automl-job", &run.job_name())),
        ),
        // AWS knows no resource for this action.
        allow(&["sagemaker:ListCandidatesForAutoMLJob"], json!("*")),
        scope.invoke(&run.model),
    ]
}

/// Allows what the champion's evaluation needs: to read the held-out rows, to ask the endpoint
/// about them, and to write the evaluation and the latest report.
pub(super) fn evaluate(scope: &Scope<'_>, run: &RunRef) -> Vec<Value> {
    let prefix = &scope.tenant.prefix;
    let test = layout::test_prefix(prefix, &run.model);
    let evaluations = layout::evaluations_prefix(prefix, run);
    let latest = layout::latest_report_key(prefix, &run.model);
    vec![
        scope.list(&[&test]),
        allow(&["s3:GetObject"], json!(scope.objects(&test))),
        allow(&["s3:PutObject"], json!([scope.objects(&evaluations), scope.objects(&latest)])),
        scope.key_through_s3(),
        scope.invoke(&run.model),
    ]
}

/// Allows what clearing a run's rows needs: to find and delete what the run copied.
pub(super) fn clear_rows(scope: &Scope<'_>, run: &RunRef) -> Vec<Value> {
    scope.clear(&[layout::rows_prefix(&scope.tenant.prefix, run)]).into()
}

/// Allows what an answer of the API needs: to ask the model's endpoint and to read the words
/// that its models know.
pub(super) fn answer(scope: &Scope<'_>, model: &ModelName) -> Vec<Value> {
    let words = layout::words_keys(&scope.tenant.prefix, model);
    vec![
        scope.invoke(model),
        // Which words of a record training never saw.
        allow(&["s3:GetObject"], json!(scope.objects(&words))),
        scope.key_through_s3(),
    ]
}

/// Allows what the removal of a model, or of all of the tenant's, needs: to find what carries
/// its tags, to delete models and endpoint configs, and to stop jobs.
pub(super) fn remove(scope: &Scope<'_>, model: Option<&ModelName>) -> Vec<Value> {
    vec![
        // AWS knows no resource for lists.
        allow(&LISTS, json!("*")),
        allow(
            &["sagemaker:ListTags", "sagemaker:DeleteEndpointConfig", "sagemaker:DeleteModel"],
            json!(scope.named_after(model)),
        ),
        allow(&["sagemaker:ListTags"], json!(scope.jobs(model))),
        scope.stop_jobs(model),
    ]
}

/// Allows what clearing artifacts needs: to find and delete what runs of a model, or of all,
/// left in the bucket.
pub(super) fn clear_artifacts(scope: &Scope<'_>, model: Option<&ModelName>) -> Vec<Value> {
    scope.clear(&layout::artifacts(&scope.tenant.prefix, model)).into()
}

/// Allows what taking an endpoint down needs: to deregister its scaling and to delete it.
pub(super) fn take_down(scope: &Scope<'_>, model: &ModelName) -> Vec<Value> {
    vec![
        allow(
            &["sagemaker:DescribeEndpoint", CAPACITY, "sagemaker:DeleteEndpoint"],
            json!(scope.sagemaker("endpoint", &endpoint_name(&scope.tenant.tenant, model))),
        ),
        allow(&["application-autoscaling:DescribeScalableTargets"], json!("*")),
        scope.scaling(&["application-autoscaling:DeregisterScalableTarget"]),
        scope.configs(),
        scope.alarms(),
    ]
}

/// Allows what the inventory of a tenant needs: to list its resources, their tags, endpoints
/// and metrics, and to find the models that have training data.
pub(super) fn take_stock(scope: &Scope<'_>) -> Vec<Value> {
    let mut list_data = scope.list(&[]);
    list_data["Condition"] =
        json!({"StringLike": {"s3:prefix": format!("{}/*/train/", scope.tenant.prefix)}});
    let mut tagged = scope.jobs(None).to_vec();
    tagged.extend(scope.named_after(None));
    vec![
        // AWS knows no resource for lists and for metrics.
        allow(&LISTS, json!("*")),
        allow(&["cloudwatch:GetMetricStatistics"], json!("*")),
        allow(&["sagemaker:ListTags"], json!(tagged)),
        allow(
            &["sagemaker:DescribeEndpoint", "sagemaker:DescribeEndpointConfig"],
            json!(scope.named_after(None)),
        ),
        list_data,
    ]
}
