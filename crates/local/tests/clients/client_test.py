"""An unmodified boto3 against the local SageMaker: the seed's flow and AWS's refusals.

    python client_test.py EMULATOR_URL SAGEMAKER_URL DIRECTORY
"""

import csv
import io
import json
import time

from clients import *  # noqa: F403

# The test told the stand-in to throttle one call, with AWS's null message.
assert refused("ThrottlingException", owner.list_models) in (None, "")
assert owner.list_models()["Models"] == []

# -- Ensembling: the seed's flow ----------------------------------------------

assert start("crosspilot-Churn")["AutoMLJobArn"] == ARN + "automl-job/crosspilot-churn"
churn, seen = finish("crosspilot-CHURN")
assert [status for status, _ in seen] == ["InProgress"] * (len(seen) - 1) + ["Completed"], (seen, churn)
stages = [secondary for _, secondary in seen]
order = ["Starting", "PreTraining", "FeatureEngineering", "TrainingModels", "GeneratingExplainabilityReport",
         "GeneratingModelInsightsReport", "Completed"]
assert stages == [stage for stage in order if stage in stages] and len(stages) >= 4, stages
assert churn["AutoMLJobName"] == "crosspilot-Churn"
assert churn["ResolvedAttributes"]["AutoMLJobObjective"]["MetricName"] == "F1"
best = churn["BestCandidate"]
assert best["FinalAutoMLJobObjectiveMetric"]["Value"] > 0.8
assert [metric["StandardMetricName"] for metric in best["CandidateProperties"]["CandidateMetrics"]][-1] == "LogLoss"
assert len(best["InferenceContainers"]) == 1
explained = best["CandidateProperties"]["CandidateArtifactLocations"]["Explainability"].removeprefix("s3://acme-ml/")
explained = json.loads(s3.get_object(Bucket="acme-ml", Key=f"{explained}/analysis.json")["Body"].read())
[shares] = [by_label["global_shap_values"] for by_label in explained["explanations"]["kernel_shap"].values()]
assert abs(sum(shares.values()) - 1) < 1e-6 and shares["plan"] > 0.02 and set(shares) <= set(HEADER[:-1]), shares
candidates = sagemaker.get_paginator("list_candidates_for_auto_ml_job").paginate(
    AutoMLJobName="crosspilot-churn", SortBy="FinalObjectiveMetricValue", PaginationConfig={"PageSize": 2})
candidates = list(candidates.search("Candidates"))
scores = [candidate["FinalAutoMLJobObjectiveMetric"]["Value"] for candidate in candidates]
assert len(scores) == 3 and scores == sorted(scores), scores  # ascending unless told
assert scores[-1] == best["FinalAutoMLJobObjectiveMetric"]["Value"]

serve("crosspilot-churn", wanting(best["InferenceContainers"], KEYS))
answers = predict("crosspilot-Churn")
assert len(answers) == len(TEST)
right = 0
for record, (label, probability, probabilities, labels) in zip(TEST, answers):
    probabilities, labels = json.loads(probabilities), eval(labels)  # Python-list text, by design
    assert labels == ["False.", "True."] and abs(sum(probabilities) - 1) < 1e-9
    assert float(probability) == probabilities[labels.index(label)]
    right += label == record[-1]
assert right > 80, right

# -- Tuning: three containers, two for regression ------------------------------

regression = [[*record[:3], "x", record[3]] for record in TRAIN]
upload("regression/train.csv", regression)
start("crosspilot-tune", Mode=None, candidates=2)  # no mode means tuning
start("crosspilot-number", "s3://acme-ml/regression/train.csv", Mode="HYPERPARAMETER_TUNING", candidates=1)
tuned, seen = finish("crosspilot-tune")
assert seen[-1] == ("Completed", "MaxCandidatesReached"), (seen, tuned)
assert tuned["BestCandidate"]["FinalAutoMLJobObjectiveMetric"]["MetricName"].startswith("validation:")
pipeline = wanting(tuned["BestCandidate"]["InferenceContainers"], KEYS)
assert len(pipeline) == 3
first = RECORDS.splitlines(keepends=True)[0]
serve("crosspilot-three", pipeline)
[(label, positive, probabilities, labels)] = predict("crosspilot-three", first)
assert label in eval(labels) and float(positive) == json.loads(probabilities)[1]
serve("crosspilot-two", pipeline[:2])
[(index, *rest)] = predict("crosspilot-two", first)
assert eval(labels)[int(index)] == label and len(rest) == 2
serve("crosspilot-silent", tuned["BestCandidate"]["InferenceContainers"])
assert predict("crosspilot-silent", first) == [[label]]
serve("crosspilot-alone", pipeline[1:2])
refused("ModelError", predict, name="crosspilot-alone")
assert refused("ValidationException", configure, name="crosspilot-sl3", containers=pipeline,
               ServerlessConfig={"MemorySizeInMB": 2048, "MaxConcurrency": 1}).endswith("multiple containers.")
number, seen = finish("crosspilot-number")
assert len(number["BestCandidate"]["InferenceContainers"]) == 2, (number, seen)
assert number["ResolvedAttributes"]["AutoMLJobObjective"]["MetricName"] == "MSE"
serve("crosspilot-number", number["BestCandidate"]["InferenceContainers"])
[[value]] = predict("crosspilot-number", first)
float(value)

# -- The older API ---------------------------------------------------------------

source = {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://acme-ml/train/"}}
sagemaker.create_auto_ml_job(
    AutoMLJobName="crosspilot-old", RoleArn=ROLE + "execution", ProblemType="BinaryClassification",
    InputDataConfig=[{"DataSource": source, "TargetAttributeName": "Churn?"}],
    OutputDataConfig={"S3OutputPath": "s3://acme-ml/output"}, AutoMLJobObjective={"MetricName": "AUC"},
    AutoMLJobConfig={"CompletionCriteria": {"MaxCandidates": 1}})
old, _ = finish("crosspilot-old")
assert old["AutoMLProblemTypeConfig"]["TabularJobConfig"]["TargetAttributeName"] == "Churn?"
old = sagemaker.describe_auto_ml_job(AutoMLJobName="crosspilot-old")
assert old["InputDataConfig"][0]["TargetAttributeName"] == "Churn?" and old["ProblemType"] == "BinaryClassification"
refused("ValidationException", sagemaker.describe_auto_ml_job, AutoMLJobName="crosspilot-churn")

# -- Jobs that fail, stop or run out of time ---------------------------------------

upload("small/train.csv", TRAIN[:100])
upload("same/train.csv", [[*record[:-1], "True."] for record in TRAIN])
s3.put_object(Bucket="acme-ml", Key="binary/train.csv", Body=text([HEADER]) + b"\xff,\xfe,\x80,\x81,\xff\n" * 600)
for i, (uri, more, reason) in enumerate([
        ("small", {}, "500"), ("same", {}, "the same value"), ("binary", {}, "UTF-8"), ("nothing", {}, "No S3 objects found"),
        ("train", {"role": "blind", "by": owner}, "Access denied")]):
    start(f"crosspilot-fails-{i}", f"s3://acme-ml/{uri}", **more)
    failed, seen = finish(f"crosspilot-fails-{i}")
    assert failed["AutoMLJobStatus"] == "Failed" and reason in failed["FailureReason"], failed
    assert "BestCandidate" not in failed
names = owner.get_paginator("list_auto_ml_jobs").paginate(
    NameContains="fails", StatusEquals="Failed", SortBy="Name", SortOrder="Ascending", PaginationConfig={"PageSize": 4})
assert [job["AutoMLJobName"][-1] for job in names.search("AutoMLJobSummaries")] == list("01234")
assert refused("ValidationException", start, name="crosspilot-no-target", target="churn") == \
    "Target attribute name churn does not exist in header."
newest = owner.list_auto_ml_jobs(NameContains="fails")["AutoMLJobSummaries"]
assert [job["AutoMLJobName"][-1] for job in newest] == list("43210")  # by name, descending

start("crosspilot-stop", candidates=300)


def listed(status):
    return sagemaker.list_candidates_for_auto_ml_job(
        AutoMLJobName="crosspilot-stop", StatusEquals=status, MaxResults=100)["Candidates"]


until("a candidate is trained while another is not", lambda: listed("Completed") and listed("InProgress"))
for begun in listed("InProgress"):
    assert begun["ObjectiveStatus"] == "Pending" and not begun.keys() & {
        "FinalAutoMLJobObjectiveMetric", "InferenceContainers", "EndTime"}, begun
sagemaker.stop_auto_ml_job(AutoMLJobName="crosspilot-stop")
stopped, seen = finish("crosspilot-stop")
assert seen[-1] == ("Stopped", "Stopped") and "BestCandidate" in stopped, seen
assert not listed("InProgress") and not listed("Stopping")
# Those that were nearly done have ended well, the others have no model.
assert all("EndTime" in candidate and "InferenceContainers" not in candidate for candidate in listed("Stopped"))
refused("ValidationException", sagemaker.stop_auto_ml_job, AutoMLJobName="crosspilot-stop")
start("crosspilot-late", candidates=750,
      CompletionCriteria={"MaxCandidates": 750, "MaxAutoMLJobRuntimeInSeconds": 2})
late, seen = finish("crosspilot-late")
assert seen[-1] == ("Completed", "MaxAutoMLJobRuntimeReached") and "BestCandidate" in late, seen

# -- Endpoints: updates without a gap, rollback, deletion --------------------------

s3.put_object(Bucket="acme-ml", Key="junk/model.tar.gz", Body=b"junk")
junk = [{**best["InferenceContainers"][0], "ModelDataUrl": "s3://acme-ml/junk/model.tar.gz"}]
configure("crosspilot-junk", junk)
configure("crosspilot-next", wanting(best["InferenceContainers"], ["predicted_label", "probability"]))


def update(config):
    """The statuses on the way; the endpoint answers all the time."""
    sagemaker.update_endpoint(EndpointName="crosspilot-churn", EndpointConfigName=config)
    in_progress = refused("ValidationException", sagemaker.delete_endpoint, EndpointName="crosspilot-churn")
    assert in_progress == f'Cannot update in-progress endpoint "{ARN}endpoint/crosspilot-churn".'
    seen = []
    while seen[-1:] != ["InService"]:
        seen.append(sagemaker.describe_endpoint(EndpointName="crosspilot-churn")["EndpointStatus"])
        columns = len(predict("crosspilot-churn", first)[0])
    return list(dict.fromkeys(seen)), columns


assert update("crosspilot-junk") == (["Updating", "RollingBack", "InService"], 4)
rolled_back = sagemaker.describe_endpoint(EndpointName="crosspilot-churn")
assert rolled_back["EndpointConfigName"] == "crosspilot-churn" and "ping health check" in rolled_back["FailureReason"]
assert update("crosspilot-next") == (["Updating", "InService"], 2)
assert sagemaker.describe_endpoint(EndpointName="crosspilot-churn")["EndpointConfigName"] == "crosspilot-next"

sagemaker.create_endpoint(EndpointName="crosspilot-bad", EndpointConfigName="crosspilot-junk")
while (bad := sagemaker.describe_endpoint(EndpointName="crosspilot-bad"))["EndpointStatus"] == "Creating":
    time.sleep(0.05)
assert bad["EndpointStatus"] == "Failed" and bad["FailureReason"]
sagemaker.delete_endpoint(EndpointName="crosspilot-bad")
assert sagemaker.describe_endpoint(EndpointName="crosspilot-bad")["EndpointStatus"] == "Deleting"
refused("ValidationException", sagemaker.create_endpoint,
        EndpointName="crosspilot-bad", EndpointConfigName="crosspilot-next")
wait("endpoint_deleted", EndpointName="crosspilot-bad")
serve("crosspilot-serverless", best["InferenceContainers"], ServerlessConfig={"MemorySizeInMB": 2048, "MaxConcurrency": 5})
assert len(predict("crosspilot-serverless", first)) == 1

# -- Answers of the container ---------------------------------------------------------


def model_error(**arguments):
    try:
        predict("crosspilot-churn", **arguments)
    except runtime.exceptions.ModelError as error:
        assert error.response["ResponseMetadata"]["HTTPStatusCode"] == 424
        return error.response["OriginalStatusCode"]
    raise AssertionError("ModelError expected")


assert model_error(body=b"1,2,3") == 400
assert model_error(body=b"") == 400
assert model_error(content_type="application/json") == 415
assert model_error(accept="application/json") == 406
assert len(predict("crosspilot-churn", text([HEADER[:-1]]) + first)) == 2  # a header row is data
assert refused("ValidationError", predict, name="crosspilot-absent") == \
    f"Endpoint crosspilot-absent of account {CUSTOMER} not found."
refused("ValidationError", predict, name="crosspilot-churn", TargetVariant="other")
assert "failed to satisfy constraint" in refused("ValidationError", predict, name="not a name")
refused("413", predict, name="crosspilot-churn", body=b"x" * (26 << 20))

# -- Batch transform ------------------------------------------------------------------

bulk = b"".join(b"id-%d,%s" % (i, line) for i, line in enumerate(RECORDS.splitlines(keepends=True)))
s3.put_object(Bucket="acme-ml", Key="bulk/in/a.csv", Body=bulk)
transform = {
    "ModelName": "crosspilot-next",
    "TransformInput": {"DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://acme-ml/bulk/in"}},
                       "ContentType": "text/csv", "SplitType": "Line"},
    "TransformOutput": {"S3OutputPath": "s3://acme-ml/bulk/out", "Accept": "text/csv", "AssembleWith": "Line"},
    "TransformResources": {"InstanceType": "ml.m5.large", "InstanceCount": 1},
}
sagemaker.create_transform_job(TransformJobName="crosspilot-bulk", **transform, DataProcessing={
    "InputFilter": "$[1:]", "JoinSource": "Input", "OutputFilter": "$[0,-2,-1]"})
wait("transform_job_completed_or_stopped", TransformJobName="crosspilot-bulk")
output = s3.get_object(Bucket="acme-ml", Key="bulk/out/a.csv.out")["Body"].read().decode()
output = list(csv.reader(io.StringIO(output)))
assert [line[0] for line in output] == [f"id-{i}" for i in range(len(TEST))]
assert [line[1] for line in output] == [line[0] for line in answers]
sagemaker.create_transform_job(TransformJobName="crosspilot-wide", **transform)
while (wide := sagemaker.describe_transform_job(TransformJobName="crosspilot-wide"))["TransformJobStatus"] == "InProgress":
    time.sleep(0.05)
assert wide["TransformJobStatus"] == "Failed" and "5 columns" in wide["FailureReason"], wide

# -- Names, rules, refusals ------------------------------------------------------------

assert refused("ResourceInUse", start, name="CROSSPILOT-churn")
assert refused("ResourceNotFound", sagemaker.describe_auto_ml_job_v2, AutoMLJobName="crosspilot-absent") == \
    "Amazon SageMaker can't find an AutoML job called crosspilot-absent."
for kind, describe, member in [("endpoint", sagemaker.describe_endpoint, "EndpointName"),
                               ("endpoint configuration", sagemaker.describe_endpoint_config, "EndpointConfigName"),
                               ("model", sagemaker.describe_model, "ModelName")]:
    path = "endpoint-config" if kind == "endpoint configuration" else kind
    assert refused("ValidationException", describe, **{member: "crosspilot-Absent"}) == \
        f'Could not find {kind} "{ARN}{path}/crosspilot-absent".'
message = refused("ValidationException", sagemaker.create_endpoint, EndpointName="under_score")
assert message.startswith("2 validation errors detected: "), message
message = refused("ValidationException", start, name="crosspilot-rule", ProblemType="BinaryClassification")
assert "both" in message, message
refused("UnknownOperationException", sagemaker.list_notebook_instances)


def typed(content_type):
    """A client that calls its requests something else."""
    other = client("sagemaker", credentials, SAGEMAKER)
    other.meta.events.register("before-call.sagemaker", lambda params, **_: params["headers"].update(content_type))
    return other


typed({"Content-Type": "application/x-amz-json-1.1; charset=utf-8"}).list_tags(ResourceArn=ARN + "automl-job/crosspilot-churn")
for kind in "application/json", "application/x-amz-json-1.0", "application/cbor", "text/plain", "":
    assert refused("404", typed({"Content-Type": kind}).list_endpoints) == "<UnknownOperationException/>\n", kind
for target in "ListEndpoints", "Foo.ListEndpoints", "SageMaker.DescribeScalableTargets":
    refused("UnknownOperationException", typed({"X-Amz-Target": target}).list_endpoints)
tags = sagemaker.list_tags(ResourceArn=ARN + "automl-job/crosspilot-churn")["Tags"]
assert tags == [{"Key": "ManagedBy", "Value": "crosspilot"}]
for i in range(4):
    start(f"crosspilot-quota-{i}", candidates=300)
assert "service limit" in refused("ResourceLimitExceeded", start, name="crosspilot-quota-4")
for i in range(4):
    sagemaker.stop_auto_ml_job(AutoMLJobName=f"crosspilot-quota-{i}")

# -- Who may do what ---------------------------------------------------------------------

denied = "is not authorized to perform: "
assert denied + "sagemaker:CreateAutoMLJobV2 on resource: " + ARN + "automl-job/other because no identity-based policy" \
    in refused("AccessDeniedException", start, name="other")
assert denied + f"iam:PassRole on resource: {ROLE}blind" in \
    refused("AccessDeniedException", start, name="crosspilot-role", role="blind")
assert "Could not assume role" in refused("ValidationException", start, name="crosspilot-role", role="lambdas")
config_denied = refused("AccessDeniedException", sagemaker.create_endpoint,
                        EndpointName="crosspilot-x", EndpointConfigName="other")
assert "endpoint-config/other" in config_denied
narrow = session(allow(statement("sagemaker:InvokeEndpoint", ARN + "endpoint/crosspilot-churn")))
assert "no session policy allows" in refused(
    "AccessDeniedException", client("sagemaker", narrow, SAGEMAKER).describe_endpoint, EndpointName="crosspilot-churn")
client("sagemaker-runtime", narrow, SAGEMAKER).invoke_endpoint(
    EndpointName="crosspilot-churn", ContentType="text/csv", Body=first)
elsewhere = client("sagemaker", root(VENDOR), SAGEMAKER)
assert VENDOR in refused("ValidationException", elsewhere.describe_endpoint, EndpointName="crosspilot-churn")
tagged = {"StringEquals": {"aws:ResourceTag/ManagedBy": "crosspilot"}}
by_tag = client("sagemaker", session(allow(
    statement("sagemaker:Describe*", "*", Condition=tagged))), SAGEMAKER)
by_tag.describe_auto_ml_job_v2(AutoMLJobName="crosspilot-churn")
refused("AccessDeniedException", by_tag.describe_auto_ml_job, AutoMLJobName="crosspilot-old")
forged = client("sagemaker", (credentials[0], "forged", credentials[2]), SAGEMAKER)
refused("InvalidSignatureException", forged.list_endpoints)
tokenless = client("sagemaker", (credentials[0], credentials[1], None), SAGEMAKER)
refused("UnrecognizedClientException", tokenless.list_endpoints)
stranger = client("sagemaker", ("AKIAIOSFODNN7EXAMPLE", "secret", None), SAGEMAKER)
refused("UnrecognizedClientException", stranger.list_endpoints)

# -- Tear-down ------------------------------------------------------------------------------

for page in owner.get_paginator("list_endpoints").paginate():
    for endpoint in page["Endpoints"]:
        sagemaker.delete_endpoint(EndpointName=endpoint["EndpointName"])
for endpoint in owner.list_endpoints(MaxResults=100)["Endpoints"]:
    wait("endpoint_deleted", EndpointName=endpoint["EndpointName"])
for config in owner.list_endpoint_configs(MaxResults=100)["EndpointConfigs"]:
    sagemaker.delete_endpoint_config(EndpointConfigName=config["EndpointConfigName"])
for model in owner.list_models(MaxResults=100)["Models"]:
    sagemaker.delete_model(ModelName=model["ModelName"])
assert not owner.list_endpoints()["Endpoints"] and not owner.list_models()["Models"]
