"""An unmodified boto3 sees of a tuning job what AWS shows, and asks endpoints for all that they take.

    python tuning_test.py EMULATOR_URL SAGEMAKER_URL DIRECTORY
"""

from clients import *  # noqa: F403

CHANNEL = {"DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://acme-ml/train/"}}}
OUTPUT = {"S3OutputPath": "s3://acme-ml/output"}


def older(name, target="Churn?", config=None, **more):
    """A job of the first version of the API."""
    sagemaker.create_auto_ml_job(
        AutoMLJobName=name, RoleArn=ROLE + "execution", OutputDataConfig=OUTPUT,
        InputDataConfig=[{**CHANNEL, "TargetAttributeName": target}],
        AutoMLJobConfig={"CompletionCriteria": {"MaxCandidates": 2}, **(config or {})}, **more)


def there(url):
    """Whether an object is where an answer says."""
    bucket, key = url.removeprefix("s3://").split("/", 1)
    return s3.head_object(Bucket=bucket, Key=key)


# -- A job without a mode is tuned, and its description says what was assumed -----------

older("crosspilot-tuned")
older("crosspilot-plan", GenerateCandidateDefinitionsOnly=True)
plan, seen = finish("crosspilot-plan")
assert seen[-1] == ("Completed", "CandidateDefinitionsGenerated") and "BestCandidate" not in plan, seen
assert sagemaker.list_candidates_for_auto_ml_job(AutoMLJobName="crosspilot-plan")["Candidates"] == []
finish("crosspilot-tuned")
tuned = sagemaker.describe_auto_ml_job(AutoMLJobName="crosspilot-tuned")
best = tuned["BestCandidate"]
assert tuned["InputDataConfig"] == [{**CHANNEL, "TargetAttributeName": "Churn?", "ChannelType": "training",
                                     "ContentType": "text/csv;header=present"}], tuned["InputDataConfig"]
assert len(best["InferenceContainers"]) == 3
for job in (plan, tuned):
    artifacts = job["AutoMLJobArtifacts"]
    assert there(artifacts["CandidateDefinitionNotebookLocation"]) and there(artifacts["DataExplorationNotebookLocation"])
for version in (lambda: older("crosspilot-y", target="y"), lambda: start("crosspilot-y", target="y")):
    assert refused("ValidationException", version) == "Target attribute name y does not exist in header."
assert "HYPERPARAMETER_TUNING" in refused(
    "ValidationException", start, name="crosspilot-y", GenerateCandidateDefinitionsOnly=True)

# -- Its steps are jobs of their own ---------------------------------------------------------

steps = [(step["CandidateStepType"].split("::")[-1], step["CandidateStepName"]) for step in best["CandidateSteps"]]
assert [kind for kind, _ in steps] == ["ProcessingJob", "TrainingJob", "TransformJob", "TrainingJob"], steps
prefixes = ["crosspilot-tuned-db-1-", "crosspilot-tuned-dpp0-1-", "crosspilot-tuned-dpp0-csv-1-", "crosspilot-tunedTA-0"]
assert all(name.startswith(prefix) for (_, name), prefix in zip(steps, prefixes)), steps
assert steps[-1][1] == best["CandidateName"]
data = sagemaker.describe_processing_job(ProcessingJobName=steps[0][1])
features = sagemaker.describe_training_job(TrainingJobName=steps[1][1])
transformed = sagemaker.describe_transform_job(TransformJobName=steps[2][1])
model = sagemaker.describe_training_job(TrainingJobName=steps[3][1])
assert data["ProcessingJobStatus"] == transformed["TransformJobStatus"] == model["TrainingJobStatus"] == "Completed"
assert {job["AutoMLJobArn"] for job in (data, features, transformed, model)} == {tuned["AutoMLJobArn"]}
urls = [container["ModelDataUrl"] for container in best["InferenceContainers"]]
assert [job["ModelArtifacts"]["S3ModelArtifacts"] for job in (features, model)] == urls[:2] and all(map(there, urls))
[metric] = model["FinalMetricDataList"]
objective = best["FinalAutoMLJobObjectiveMetric"]
assert (metric["MetricName"], metric["Value"]) == (objective["MetricName"], objective["Value"])
assert model["InputDataConfig"][0]["DataSource"]["S3DataSource"]["S3Uri"] == "s3://acme-ml/train/"
listed = {"training": "TrainingJob", "processing": "ProcessingJob", "transform": "TransformJob"}
for word, kind in listed.items():
    pages = sagemaker.get_paginator(f"list_{word}_jobs").paginate(NameContains="tuned", PaginationConfig={"PageSize": 1})
    found = {job[f"{kind}Name"] for job in pages.search(f"{kind}Summaries")}
    assert {name for of, name in steps if of == kind} <= found, (kind, found)
unknown = "Could not find requested job with name: crosspilot-nope"
assert refused("ValidationException", sagemaker.describe_transform_job, TransformJobName="crosspilot-nope") == unknown
assert refused("ValidationException", sagemaker.stop_transform_job, TransformJobName="crosspilot-nope") == unknown
assert refused("ValidationException", sagemaker.describe_processing_job, ProcessingJobName="crosspilot-nope") == unknown
refused("ValidationException", sagemaker.describe_training_job, TrainingJobName="crosspilot-nope")
try:
    wait("transform_job_completed_or_stopped", TransformJobName="crosspilot-nope")
    raise AssertionError("nothing to wait for")
except WaiterError as error:
    assert "Matched expected service error code: ValidationException" in str(error), error

# -- Pages of one listing ----------------------------------------------------------------------

first = sagemaker.list_auto_ml_jobs(MaxResults=1)
assert first["AutoMLJobSummaries"][0]["AutoMLJobName"] == "crosspilot-tuned"
refused("ValidationException", sagemaker.list_models, NextToken=first["NextToken"])
refused("ValidationException", sagemaker.list_auto_ml_jobs, NextToken=first["NextToken"], StatusEquals="Failed")
second = sagemaker.list_auto_ml_jobs(NextToken=first["NextToken"], MaxResults=5)
assert [job["AutoMLJobName"] for job in second["AutoMLJobSummaries"]] == ["crosspilot-plan"]

# -- Answers in JSON, where the containers have them ---------------------------------------------

pipeline = wanting(best["InferenceContainers"], ["predicted_label", "probability"])
serve("crosspilot-json", pipeline)
ask = {"EndpointName": "crosspilot-json", "ContentType": "text/csv", "Body": RECORDS}


def answer(accept):
    answered = runtime.invoke_endpoint(Accept=accept, **ask)
    return answered["ContentType"], answered["Body"].read().decode()


plain = predict("crosspilot-json")
kind, text_ = answer("application/json")
assert kind == "application/json" and json.loads(text_)["predictions"] == [
    {"predicted_label": label, "probability": probability} for label, probability in plain]
kind, lines = answer("application/jsonlines")
assert kind == "application/jsonlines"
assert [json.loads(line) for line in lines.splitlines()] == json.loads(text_)["predictions"]
refused("ModelError", runtime.invoke_endpoint, Accept="text/csv, application/json", **ask)
refused("ModelError", runtime.invoke_endpoint, **{**ask, "ContentType": "application/jsonlines"})
s3.put_object(Bucket="acme-ml", Key="bulk/in/rows.csv", Body=RECORDS)
bulk = {"ModelName": "crosspilot-json", "TransformResources": {"InstanceType": "ml.m5.large", "InstanceCount": 1},
        "TransformInput": {"DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://acme-ml/bulk/in/"}},
                           "ContentType": "text/csv", "SplitType": "Line"}}
sagemaker.create_transform_job(TransformJobName="crosspilot-lines", **bulk, TransformOutput={
    "S3OutputPath": "s3://acme-ml/bulk/out", "Accept": "application/jsonlines", "AssembleWith": "Line"})
wait("transform_job_completed_or_stopped", TransformJobName="crosspilot-lines")
assert s3.get_object(Bucket="acme-ml", Key="bulk/out/rows.csv.out")["Body"].read().decode() == lines

# -- What an endpoint of Autopilot's does not have -----------------------------------------------

message = refused("ValidationError", runtime.invoke_endpoint, TargetModel="m.tar.gz", **ask)
assert message == ("Endpoint crosspilot-json is not a multi-model endpoint and does not support target model header.")
for header, value in [("TargetContainerHostname", "x"), ("InferenceComponentName", "x"), ("SessionId", "NEW_SESSION"),
                      ("EnableExplanations", "`true`")]:
    refused("ValidationError", runtime.invoke_endpoint, **{header: value}, **ask)

# -- Weights and sizes of running variants ---------------------------------------------------------

variant = {"ModelName": "crosspilot-json", "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
sagemaker.create_endpoint_config(EndpointConfigName="crosspilot-two", ProductionVariants=[
    {**variant, "VariantName": "a"}, {**variant, "VariantName": "b", "InitialVariantWeight": 0}])
sagemaker.create_endpoint(EndpointName="crosspilot-two", EndpointConfigName="crosspilot-two")
wait("endpoint_in_service", EndpointName="crosspilot-two")


def answering():
    call = {**ask, "EndpointName": "crosspilot-two", "Body": RECORDS.splitlines()[0]}
    return {runtime.invoke_endpoint(**call)["InvokedProductionVariant"] for _ in range(8)}


def weigh(changes):
    return sagemaker.update_endpoint_weights_and_capacities(
        EndpointName="crosspilot-two", DesiredWeightsAndCapacities=changes)


assert answering() == {"a"}
assert "Could not find variant" in refused(
    "ValidationException", weigh, changes=[{"VariantName": "a", "DesiredWeight": 9}, {"VariantName": "c"}])
changed = weigh([{"VariantName": "a", "DesiredWeight": 0},
                 {"VariantName": "b", "DesiredWeight": 1, "DesiredInstanceCount": 3}])
assert changed["EndpointArn"] == ARN + "endpoint/crosspilot-two"
assert "in-progress" in refused("ValidationException", weigh, changes=[{"VariantName": "a", "DesiredWeight": 1}])
wait("endpoint_in_service", EndpointName="crosspilot-two")
a, b = sagemaker.describe_endpoint(EndpointName="crosspilot-two")["ProductionVariants"]
assert (a["CurrentWeight"], b["CurrentWeight"], b["CurrentInstanceCount"]) == (0, 1, 3), (a, b)
assert answering() == {"b"}

# -- The best candidate deployed by its own job -----------------------------------------------------

sagemaker.create_auto_ml_job_v2(
    AutoMLJobName="crosspilot-click", RoleArn=ROLE + "execution", OutputDataConfig=OUTPUT,
    AutoMLJobInputDataConfig=[CHANNEL], ModelDeployConfig={"AutoGenerateEndpointName": True},
    AutoMLProblemTypeConfig={"TabularJobConfig": {
        "TargetAttributeName": "Churn?", "CompletionCriteria": {"MaxCandidates": 1}, "Mode": "ENSEMBLING"}})
click, seen = finish("crosspilot-click")
assert click["AutoMLJobStatus"] == "Completed" and ("InProgress", "DeployingModel") in seen, (click, seen)
assert click["AutoMLJobInputDataConfig"][0]["ChannelType"] == "training"
endpoint = click["ModelDeployResult"]["EndpointName"]
assert endpoint.startswith("crosspilot-click") and len(predict(endpoint, accept="text/csv, application/json")) == len(TEST)
