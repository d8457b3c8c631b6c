"""boto3 and the sagemaker SDK, unmodified, do the seed's whole flow on the local cloud,
and what the SDK's own integration tests ask of AutoML jobs holds here, too.

    AWS_CONFIG_FILE=... AWS_SHARED_CREDENTIALS_FILE=... AWS_PROFILE=customer_admin python python_clients.py DIRECTORY

Train, describe, list candidates, deploy with response keys, predict, transform,
delete: with AutoML and AutoMLV2, and with boto3 alone. What the SDK needs to be
told on a laptop is the bucket and the role's full ARN.
"""

import csv
import io
import json
import os
import random
import sys
import time

import boto3
import sagemaker
from botocore.exceptions import ClientError
from sagemaker.automl.automl import AutoML, AutoMLInput
from sagemaker.automl.automlv2 import AutoMLDataChannel, AutoMLTabularConfig, AutoMLV2
from sagemaker.automl.candidate_estimator import CandidateEstimator
from sagemaker.deserializers import CSVDeserializer, JSONDeserializer
from sagemaker.predictor import Predictor
from sagemaker.serializers import CSVSerializer
from sagemaker.transformer import Transformer

[DIRECTORY] = sys.argv[1:]
CUSTOMER = boto3.client("sts").get_caller_identity()["Account"]

boto3.client("s3").create_bucket(Bucket="sdk-ml")
iam = boto3.client("iam")
iam.create_role(RoleName="sdk", AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": {
    "Effect": "Allow", "Principal": {"Service": "sagemaker.amazonaws.com"}, "Action": "sts:AssumeRole"}}))
iam.put_role_policy(RoleName="sdk", PolicyName="data", PolicyDocument=json.dumps({
    "Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "s3:*", "Resource": "arn:aws:s3:::sdk-ml*"}}))
ROLE = f"arn:aws:iam::{CUSTOMER}:role/sdk"
session = sagemaker.Session(default_bucket="sdk-ml")

chance = random.Random(7)
records = [[chance.randint(0, 9), round(chance.uniform(0, 9), 3), chance.choice("abc")] for _ in range(700)]
data = os.path.join(DIRECTORY, "train.csv")
with open(data, "w") as file:
    file.write("calls,minutes,plan,Churn?\n")
    for calls, minutes, plan in records:
        file.write(f"{calls},{minutes},{plan},{calls + minutes + chance.gauss(0, 1) > 9}.\n")
uri = session.upload_data(data, key_prefix="train")


def finish(job):
    # fit(wait=True) polls every ten or thirty seconds: too slow for a test.
    while (found := job.describe_auto_ml_job())["AutoMLJobStatus"] == "InProgress":
        time.sleep(0.1)
    assert found["AutoMLJobStatus"] == "Completed", found
    return found


def client_of(endpoint):
    return Predictor(endpoint, session, CSVSerializer(), CSVDeserializer())


# By the first version of the API, which is tuning unless a mode is set: three containers, and the probability of
# the positive class.
first = AutoML(role=ROLE, target_attribute_name="Churn?", output_path="s3://sdk-ml/out", sagemaker_session=session,
               max_candidates=3)
first.fit(inputs=uri, wait=False, job_name="sdk-first")
found = finish(first)
source = {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": uri}}
assert found["InputDataConfig"] == [{"DataSource": source, "TargetAttributeName": "Churn?", "ChannelType": "training",
                                     "ContentType": "text/csv;header=present"}], found
assert found["AutoMLJobConfig"] == {"CompletionCriteria": {"MaxCandidates": 3}, "SecurityConfig": {
    "EnableInterContainerTrafficEncryption": False}}, found


def same(one, other):
    """Whether two descriptions are of the same job, apart from what the answers' envelopes say."""
    return {**one, "ResponseMetadata": None} == {**other, "ResponseMetadata": None}


attached = AutoML.attach("sdk-first", sagemaker_session=session)
assert same(attached.describe_auto_ml_job(), found) and len(attached.list_candidates()) == 3
best = attached.best_candidate()
assert (len(best["InferenceContainers"]), len(best["CandidateSteps"]), best["CandidateStatus"]) == (3, 4, "Completed")


def kinds(candidate):
    """The steps of a candidate that can be run again."""
    return [step.type.split("::")[-1] for step in CandidateEstimator(candidate, session).get_steps()]


assert kinds(attached.list_candidates()[1]) == ["TrainingJob", "TransformJob", "TrainingJob"]

# Only what would be tried, from a file on this machine and from an object that names it.
for name, inputs in [("sdk-plan-file", data), ("sdk-plan-object", AutoMLInput(uri, target_attribute_name="Churn?"))]:
    plan = AutoML(role=ROLE, target_attribute_name="Churn?", output_path="s3://sdk-ml/plan", sagemaker_session=session,
                  generate_candidate_definitions_only=True, problem_type="BinaryClassification",
                  job_objective={"MetricName": "Accuracy"})
    plan.fit(inputs, wait=False, job_name=name)
    found = finish(plan)
    assert found["AutoMLJobSecondaryStatus"] == "CandidateDefinitionsGenerated", found
    assert (found["ProblemType"], found["AutoMLJobObjective"]) == ("BinaryClassification", {"MetricName": "Accuracy"})
    assert found["OutputDataConfig"] == {"S3OutputPath": "s3://sdk-ml/plan"}
    assert found["AutoMLJobArtifacts"]["CandidateDefinitionNotebookLocation"].endswith(".ipynb")

# Rows to validate with of the user's own, ensembled, by both versions: a candidate is one training job, which reads
# both channels.
own = session.upload_data(data, key_prefix="validation")


def by_channel(channels, kind):
    return {channel[kind]: channel["DataSource"]["S3DataSource"]["S3Uri"] for channel in channels}


both_first = AutoML(role=ROLE, target_attribute_name="Churn?", output_path="s3://sdk-ml/out", sagemaker_session=session,
                    max_candidates=2, mode="ENSEMBLING")
both_first.fit([AutoMLInput(uri, target_attribute_name="Churn?", channel_type="training"),
                AutoMLInput(own, target_attribute_name="Churn?", channel_type="validation")],
               wait=False, job_name="sdk-both-first")
both_second = AutoMLV2(
    problem_config=AutoMLTabularConfig(target_attribute_name="Churn?", max_candidates=2, mode="ENSEMBLING"),
    role=ROLE, output_path="s3://sdk-ml/out", sagemaker_session=session)
both_second.fit([AutoMLDataChannel("S3Prefix", uri, channel_type="training"),
                 AutoMLDataChannel("S3Prefix", own, channel_type="validation")],
                wait=False, job_name="sdk-both-second")
for job, given in [(both_first, "InputDataConfig"), (both_second, "AutoMLJobInputDataConfig")]:
    assert by_channel(finish(job)[given], "ChannelType") == {"training": uri, "validation": own}
    for candidate in job.list_candidates():
        [step] = CandidateEstimator(candidate, session).get_steps()
        assert step.name == candidate["CandidateName"] and kinds(candidate) == ["TrainingJob"], candidate
        assert by_channel(step.inputs, "ChannelName") == {"training": uri, "validation": own}, step.inputs
        container = step.description["ModelArtifacts"]["S3ModelArtifacts"]
        assert container == candidate["InferenceContainers"][0]["ModelDataUrl"], container

# A column that is not there is told at once.
try:
    AutoML(role=ROLE, target_attribute_name="y", output_path="s3://sdk-ml/out", sagemaker_session=session,
           max_candidates=1).fit(uri, wait=False, job_name="sdk-no-target")
    raise AssertionError("a job without its target")
except ClientError as error:
    assert error.response["Error"]["Code"] == "ValidationException" and error.operation_name == "CreateAutoMLJob"
    assert "Target attribute name y does not exist in header." in error.response["Error"]["Message"], error

ranked = first.list_candidates(sort_by="FinalObjectiveMetricValue", sort_order="Descending")
assert len(ranked) == 3 and ranked[0]["CandidateName"] == first.best_candidate()["CandidateName"]
first.deploy(1, "ml.m5.large", endpoint_name="sdk-first", inference_response_keys=["predicted_label", "probability"])
assert session.sagemaker_client.describe_endpoint(EndpointName="sdk-first")["EndpointStatus"] == "InService"
answers = client_of("sdk-first").predict(records[:5])
in_json = Predictor("sdk-first", session, CSVSerializer(), JSONDeserializer()).predict(records[:5])["predictions"]
assert [[one["predicted_label"], one["probability"]] for one in in_json] == answers, in_json
assert len(answers) == 5 and all((label == "True.") == (float(p) > 0.5) for label, p in answers), answers

# Tuning, by the second version, with all response keys: the probabilities of all classes.
second = AutoMLV2(
    problem_config=AutoMLTabularConfig(target_attribute_name="Churn?", max_candidates=2, mode="HYPERPARAMETER_TUNING"),
    role=ROLE, output_path="s3://sdk-ml/out", sagemaker_session=session)
channel = AutoMLDataChannel(s3_data_type="S3Prefix", s3_uri=uri, channel_type="training", compression_type="None",
                            content_type="text/csv;header=present")
second.fit(inputs=channel, wait=False, job_name="sdk-second")
found = finish(second)
assert found["AutoMLJobSecondaryStatus"] == "MaxCandidatesReached"
attached = AutoMLV2.attach("sdk-second", sagemaker_session=session)
assert same(attached.describe_auto_ml_job(), found) and len(attached.list_candidates()) == 2
assert found["AutoMLProblemTypeConfig"] == second.problem_config.to_request_dict(), found
assert len(attached.best_candidate()["InferenceContainers"]) == 3
assert kinds(attached.list_candidates()[1]) == ["TrainingJob", "TransformJob", "TrainingJob"]
model = second.create_model(
    "sdk-second", inference_response_keys=["predicted_label", "probability", "probabilities", "labels"])
model.deploy(1, "ml.m5.large", endpoint_name="sdk-second")
[(label, probability, probabilities, labels)] = client_of("sdk-second").predict(records[:1])
assert labels == "['False.', 'True.']" and float(probability) == json.loads(probabilities)[1]

# In bulk.
bulk = os.path.join(DIRECTORY, "bulk.csv")
with open(bulk, "w") as file:
    file.writelines(f"{calls},{minutes},{plan}\n" for calls, minutes, plan in records[:50])
transformer = Transformer("sdk-second", 1, "ml.m5.large", strategy="MultiRecord", assemble_with="Line",
                          output_path="s3://sdk-ml/bulk", accept="text/csv", sagemaker_session=session)
transformer.transform(session.upload_data(bulk, key_prefix="bulk-in"), content_type="text/csv", split_type="Line",
                      wait=False)
while (job := session.describe_transform_job(transformer.latest_transform_job.name))["TransformJobStatus"] == "InProgress":
    time.sleep(0.1)
assert job["TransformJobStatus"] == "Completed", job
assert session.read_s3_file("sdk-ml", "bulk/bulk.csv.out").splitlines()[0].startswith(label)

for endpoint in ("sdk-first", "sdk-second"):
    client_of(endpoint).delete_endpoint()
model.delete_model()

# The same by boto3 alone, as the seed's notebook does it.
client, runtime = boto3.client("sagemaker"), boto3.client("sagemaker-runtime")
client.create_auto_ml_job_v2(
    AutoMLJobName="boto3", RoleArn=ROLE, OutputDataConfig={"S3OutputPath": "s3://sdk-ml/out"},
    AutoMLJobInputDataConfig=[{"ChannelType": "training", "ContentType": "text/csv;header=present",
                               "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": uri}}}],
    AutoMLProblemTypeConfig={"TabularJobConfig": {
        "TargetAttributeName": "Churn?", "CompletionCriteria": {"MaxCandidates": 2}, "Mode": "AUTO"}})
while (job := client.describe_auto_ml_job_v2(AutoMLJobName="boto3"))["AutoMLJobStatus"] == "InProgress":
    time.sleep(0.1)
assert job["AutoMLJobStatus"] == "Completed", job
[container] = job["BestCandidate"]["InferenceContainers"]
container["Environment"]["SAGEMAKER_INFERENCE_OUTPUT"] = "predicted_label,probability"
client.create_model(ModelName="boto3", ExecutionRoleArn=ROLE, Containers=[container])
client.create_endpoint_config(EndpointConfigName="boto3", ProductionVariants=[
    {"VariantName": "AllTraffic", "ModelName": "boto3", "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}])
client.create_endpoint(EndpointName="boto3", EndpointConfigName="boto3")
quickly = {"Delay": 1, "MaxAttempts": 60}
client.get_waiter("endpoint_in_service").wait(EndpointName="boto3", WaiterConfig=quickly)
answer = runtime.invoke_endpoint(EndpointName="boto3", ContentType="text/csv", Accept="text/csv", Body=b"9,9,a\n0,0,b\n")
(high, _), (low, _) = csv.reader(io.StringIO(answer["Body"].read().decode()))
assert (high, low) == ("True.", "False.")
for untyped in ({}, {"ContentType": "application/octet-stream"}):
    try:
        runtime.invoke_endpoint(EndpointName="boto3", Body=b"9,9,a\n", **untyped)
        raise AssertionError("an answer to a request that does not say what it is")
    except runtime.exceptions.ModelError as error:
        assert error.response["OriginalStatusCode"] == 415, error
client.delete_endpoint(EndpointName="boto3")
client.get_waiter("endpoint_deleted").wait(EndpointName="boto3", WaiterConfig=quickly)
client.delete_endpoint_config(EndpointConfigName="boto3")
client.delete_model(ModelName="boto3")
