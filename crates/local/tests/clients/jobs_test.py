"""An unmodified boto3 trains on every kind of input that is offered, and is refused the others.

    python jobs_test.py EMULATOR_URL SAGEMAKER_URL DIRECTORY
"""

import gzip

from clients import *  # noqa: F403

SOURCE = "s3://acme-ml/"


def train(name, channel=None, target="Churn?", data=None, **more):
    """Start a job on one channel."""
    source = {"S3DataType": "S3Prefix", "S3Uri": SOURCE + "train/", **(data or {})}
    return sagemaker.create_auto_ml_job_v2(
        AutoMLJobName=name, RoleArn=ROLE + "execution", OutputDataConfig={"S3OutputPath": SOURCE + "output"},
        AutoMLJobInputDataConfig=[{"ChannelType": "training", "DataSource": {"S3DataSource": source}, **(channel or {})}],
        AutoMLProblemTypeConfig={"TabularJobConfig": {
            "TargetAttributeName": target, "CompletionCriteria": {"MaxCandidates": 1}, "Mode": "ENSEMBLING", **more}})


def trained(name, **more):
    train(name, **more)
    job = finish(name)[0]
    assert job["AutoMLJobStatus"] == "Completed", job
    return job


def score(job):
    return job["BestCandidate"]["FinalAutoMLJobObjectiveMetric"]["Value"]


# -- Inputs -------------------------------------------------------------------------

plain = trained("crosspilot-plain")
s3.put_object(Bucket="acme-ml", Key="zipped/a.csv.gz", Body=gzip.compress(text([HEADER, *TRAIN[:400]])))
s3.put_object(Bucket="acme-ml", Key="zipped/b.csv.gz", Body=gzip.compress(text([HEADER, *TRAIN[400:]])))
zipped = trained("crosspilot-zipped", channel={"CompressionType": "Gzip"}, data={"S3Uri": SOURCE + "zipped/"})
assert score(zipped) == score(plain)
train("crosspilot-not-zipped", channel={"CompressionType": "Gzip"})
assert finish("crosspilot-not-zipped")[0]["AutoMLJobStatus"] == "Failed"

upload("listed/a.csv", TRAIN[:400])
upload("listed/b.csv", TRAIN[400:])
upload("listed/c.csv", [[*record[:-1], "other"] for record in TRAIN])
MANIFEST = {"S3DataType": "ManifestFile", "S3Uri": SOURCE + "lists/train.manifest"}


def manifest(document):
    s3.put_object(Bucket="acme-ml", Key="lists/train.manifest", Body=json.dumps(document))


manifest([{"prefix": SOURCE + "listed/"}, "a.csv", "b.csv"])
assert score(trained("crosspilot-listed", data=MANIFEST)) == score(plain)
for i, (document, reason) in enumerate([
        ([{"prefix": SOURCE + "listed/"}, "absent.csv"], "does not exist"), ({"prefix": "x"}, "manifest"), ([], "manifest")]):
    manifest(document)
    train(f"crosspilot-unlisted-{i}", data=MANIFEST)
    assert reason in finish(f"crosspilot-unlisted-{i}")[0]["FailureReason"]
assert "AugmentedManifestFile" in refused(
    "ValidationException", train, name="crosspilot-augmented", data={**MANIFEST, "S3DataType": "AugmentedManifestFile"})

# -- Weights -------------------------------------------------------------------------

# Every second row says the opposite, and does not count.
other = {"True.": "False.", "False.": "True."}
weighted = [[*record[:-1], "1", record[-1]] if i % 2 else [*record[:-1], "0.001", other[record[-1]]]
            for i, record in enumerate(TRAIN)]
s3.put_object(Bucket="acme-ml", Key="weighted/train.csv", Body=text([[*HEADER[:-1], "weight", HEADER[-1]], *weighted]))
at = {"S3Uri": SOURCE + "weighted/"}
job = trained("crosspilot-weighted", data=at, Mode="ENSEMBLING", SampleWeightAttributeName="weight")
serve("crosspilot-weighted", job["BestCandidate"]["InferenceContainers"])
# A record has all columns but the target, and its weight says nothing.
light, heavy = (predict("crosspilot-weighted", text([[*record[:-1], weight] for record in TEST])) for weight in ("0", "9"))
right = sum(answer == [record[-1]] for record, answer in zip(TEST, light))
assert right > 80 and light == heavy, right
assert "ENSEMBLING" in refused("ValidationException", train, name="crosspilot-weights", data=at,
                               SampleWeightAttributeName="weight", Mode="HYPERPARAMETER_TUNING")

# -- The older API's problems ------------------------------------------------------------

upload("regression/train.csv", [[*record[:3], "x", record[3]] for record in TRAIN])
upload("classes/train.csv", [[*record[:-1], ("low", "middle", "high")[int(record[0]) // 4]] for record in TRAIN])


def older(name, problem=None, metric=None, uri="train/"):
    sagemaker.create_auto_ml_job(
        AutoMLJobName=name, RoleArn=ROLE + "execution",
        InputDataConfig=[{"DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": SOURCE + uri}},
                          "TargetAttributeName": "Churn?"}],
        OutputDataConfig={"S3OutputPath": SOURCE + "output"},
        AutoMLJobConfig={"CompletionCriteria": {"MaxCandidates": 1}},
        **({"ProblemType": problem} if problem else {}),
        **({"AutoMLJobObjective": {"MetricName": metric}} if metric else {}))


for problem, metric, uri in [("BinaryClassification", "Accuracy", "train/"), ("Regression", "RMSE", "regression/"),
                             ("MulticlassClassification", "F1macro", "classes/"), (None, None, "classes/")]:
    name = f"crosspilot-{(problem or 'auto')[:5]}-{uri[:-1]}"
    older(name, problem, metric, uri)
    finish(name)
    found = sagemaker.describe_auto_ml_job(AutoMLJobName=name)
    resolved = found["ResolvedAttributes"]
    assert found["AutoMLJobStatus"] == "Completed", found
    assert resolved["ProblemType"] == (problem or "MulticlassClassification"), found
    assert resolved["AutoMLJobObjective"]["MetricName"] == (metric or "Accuracy"), found
for problem, metric in [("Regression", None), (None, "AUC"), ("Regression", "AUC"), ("BinaryClassification", "F1macro")]:
    refused("ValidationException", older, name="crosspilot-older-no", problem=problem, metric=metric)

# -- Other problems than tables ---------------------------------------------------------


def problem(**config):
    return refused(
        "ValidationException", sagemaker.create_auto_ml_job_v2, AutoMLJobName="crosspilot-other",
        RoleArn=ROLE + "execution", OutputDataConfig={"S3OutputPath": SOURCE + "output"},
        AutoMLJobInputDataConfig=[{"ChannelType": "training", "DataSource": {
            "S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": SOURCE + "train/"}}}],
        AutoMLProblemTypeConfig=config)


for kind, config in [
        ("TextClassificationJobConfig", {"ContentColumn": "text", "TargetLabelColumn": "label"}),
        ("ImageClassificationJobConfig", {}), ("TextGenerationJobConfig", {}),
        ("TimeSeriesForecastingJobConfig", {
            "ForecastFrequency": "1D", "ForecastHorizon": 5, "TimeSeriesConfig": {
                "TargetAttributeName": "y", "TimestampAttributeName": "t", "ItemIdentifierAttributeName": "i"}})]:
    message = problem(**{kind: config})
    assert message == f"{kind} is not offered by the local SageMaker, which trains on tables only: use TabularJobConfig.", message

# -- Names, tags, lists --------------------------------------------------------------------

serve("Crosspilot-Gone", wanting(plain["BestCandidate"]["InferenceContainers"], KEYS))
for listing, member, key in [
        (sagemaker.list_endpoints, "Endpoints", "EndpointName"), (sagemaker.list_models, "Models", "ModelName"),
        (sagemaker.list_endpoint_configs, "EndpointConfigs", "EndpointConfigName")]:
    assert [found[key] for found in listing(NameContains="-Gone")[member]] == ["Crosspilot-Gone"]
    assert listing(NameContains="nothing")[member] == []
sagemaker.delete_endpoint(EndpointName="crosspilot-gone")
wait("endpoint_deleted", EndpointName="crosspilot-gone")
refused("ValidationException", sagemaker.delete_endpoint, EndpointName="crosspilot-gone")
sagemaker.create_endpoint(EndpointName="crosspilot-gone", EndpointConfigName="CROSSPILOT-GONE")
assert statuses("crosspilot-gone")[0][-1] == "InService"
sagemaker.create_endpoint_config(EndpointConfigName="crosspilot-nothing", ProductionVariants=[
    {"VariantName": "v", "ModelName": "crosspilot-gone", "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}])
s3.delete_objects(Bucket="acme-ml", Delete={"Objects": [
    {"Key": container["ModelDataUrl"].removeprefix(SOURCE)} for container in plain["BestCandidate"]["InferenceContainers"]]})
sagemaker.create_endpoint(EndpointName="crosspilot-nothing", EndpointConfigName="crosspilot-nothing")
assert statuses("crosspilot-nothing")[0][-1] == "Failed"
sagemaker.delete_endpoint(EndpointName="crosspilot-nothing")
wait("endpoint_deleted", EndpointName="crosspilot-nothing")

# -- Transform jobs: without a header, tagged, stopped ---------------------------------------

configure("crosspilot-bulk", wanting(zipped["BestCandidate"]["InferenceContainers"], ["predicted_label", "probability"]))


def transform(name, prefix, **more):
    sagemaker.create_transform_job(
        TransformJobName=name, ModelName="crosspilot-bulk", Tags=[{"Key": "ManagedBy", "Value": "crosspilot"}],
        TransformInput={"DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": SOURCE + prefix}},
                        "ContentType": "text/csv", "SplitType": "Line"},
        TransformOutput={"S3OutputPath": SOURCE + "bulk/" + name, "Accept": "text/csv", "AssembleWith": "Line"},
        TransformResources={"InstanceType": "ml.m5.large", "InstanceCount": 1}, **more)


def bulk(name):
    return sagemaker.describe_transform_job(TransformJobName=name)


s3.put_object(Bucket="acme-ml", Key="bulk/in/rows.csv", Body=RECORDS)
transform("crosspilot-rows", "bulk/in/")
transform("crosspilot-keys", "bulk/in/", Environment={"SAGEMAKER_INFERENCE_OUTPUT": "predicted_label"})
for name, columns in [("crosspilot-rows", 2), ("crosspilot-keys", 1)]:
    done = until("the transform job ends", lambda: (job := bulk(name))["TransformJobStatus"] != "InProgress" and job)
    assert done["TransformJobStatus"] == "Completed" and done["TransformEndTime"] >= done["TransformStartTime"], done
    output = s3.get_object(Bucket="acme-ml", Key=f"bulk/{name}/rows.csv.out")["Body"].read().decode()
    rows = list(csv.reader(io.StringIO(output)))
    assert len(rows) == len(TEST) and all(len(row) == columns for row in rows), rows[:2]
tags = sagemaker.list_tags(ResourceArn=ARN + "transform-job/crosspilot-rows")["Tags"]
assert tags == [{"Key": "ManagedBy", "Value": "crosspilot"}]
for i in range(400):
    s3.put_object(Bucket="acme-ml", Key=f"bulk/many/{i}.csv", Body=RECORDS)
transform("crosspilot-many", "bulk/many/")
sagemaker.stop_transform_job(TransformJobName="crosspilot-many")
assert bulk("crosspilot-many")["TransformJobStatus"] in ("Stopping", "Stopped")
stopped = until("the transform job stops", lambda: (job := bulk("crosspilot-many"))["TransformJobStatus"] == "Stopped" and job)
assert "TransformEndTime" in stopped
refused("ValidationException", sagemaker.stop_transform_job, TransformJobName="crosspilot-many")
assert refused("ResourceInUse", transform, name="CROSSPILOT-rows", prefix="bulk/in/")
