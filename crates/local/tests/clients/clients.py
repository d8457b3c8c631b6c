"""What the boto3 tests share: two accounts, data, and short ways to train, deploy and predict.

boto3's own parsers and waiters judge the answers; every assertion is about what
AWS's documentation and service model promise.
"""

import csv
import io
import json
import os
import random
import sys
import time

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError, WaiterError  # noqa: F401

sys.path.append(sys.argv[3])
import doors  # noqa: E402 - of the emulator's directory

EMULATOR, SAGEMAKER = sys.argv[1:3]
VENDOR, CUSTOMER, REGION = "111111111111", "222222222222", "us-east-1"
ROLE = f"arn:aws:iam::{CUSTOMER}:role/"
ARN = f"arn:aws:sagemaker:{REGION}:{CUSTOMER}:"
KEYS = ["predicted_label", "probability", "probabilities", "labels"]


def client(service, credentials, url=EMULATOR):
    access_key, secret, token = credentials
    # The stand-in judges the requests here, not botocore.
    config = Config(retries={"total_max_attempts": 1}, parameter_validation=False)
    return boto3.client(service, endpoint_url=url, region_name=REGION, aws_access_key_id=access_key,
                        aws_secret_access_key=secret, aws_session_token=token, config=config)


def root(account):
    return *doors.administrator(os.environ["CROSSPILOT_TOKEN"], account), None


def refused(code, call, **arguments):
    """The refusal's message; fails unless the call is refused with this code."""
    try:
        call(**arguments)
    except ClientError as error:
        assert error.response["Error"]["Code"] == code, error
        return error.response["Error"]["Message"]
    raise AssertionError(f"{code} expected")


def allow(*statements):
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def statement(action, resource, **more):
    return {"Effect": "Allow", "Action": action, "Resource": resource, **more}


def trust(principal, **condition):
    return allow({"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole",
                  "Condition": {"StringEquals": condition}})


# -- Two accounts, as the templates make them --------------------------------

iam = client("iam", root(CUSTOMER))
s3 = client("s3", root(CUSTOMER))
s3.create_bucket(Bucket="acme-ml")
iam.create_role(RoleName="execution", AssumeRolePolicyDocument=trust(
    {"Service": "sagemaker.amazonaws.com"}, **{"aws:SourceAccount": CUSTOMER}))
iam.put_role_policy(RoleName="execution", PolicyName="data", PolicyDocument=allow(
    statement(["s3:GetObject", "s3:PutObject"], "arn:aws:s3:::acme-ml/*"),
    statement("s3:ListBucket", "arn:aws:s3:::acme-ml"),
    statement("cloudwatch:DescribeAlarms", f"arn:aws:cloudwatch:{REGION}:{CUSTOMER}:alarm:crosspilot-*")))
iam.create_role(RoleName="blind", AssumeRolePolicyDocument=trust({"Service": "sagemaker.amazonaws.com"}))
iam.create_role(RoleName="lambdas", AssumeRolePolicyDocument=trust({"Service": "lambda.amazonaws.com"}))
iam.create_role(RoleName="access", AssumeRolePolicyDocument=trust(
    {"AWS": f"arn:aws:iam::{VENDOR}:root"}, **{"sts:ExternalId": "agreed"}))
iam.put_role_policy(RoleName="access", PolicyName="sagemaker", PolicyDocument=allow(
    statement("sagemaker:*", [ARN + "*/crosspilot-*"]),
    statement("sagemaker:List*", "*"),
    # Application Auto Scaling tries to read one of a name that it invents.
    statement("sagemaker:DescribeEndpointConfig", ARN + "endpoint-config/*"),
    statement("application-autoscaling:*", "*"),
    statement(["cloudwatch:PutMetricAlarm", "cloudwatch:DescribeAlarms", "cloudwatch:DeleteAlarms"], "*"),
    statement("iam:PassRole", [ROLE + "execution", ROLE + "lambdas"],
              Condition={"StringEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}})))


def session(policy=None):
    more = {"Policy": policy} if policy else {}
    credentials = client("sts", root(VENDOR)).assume_role(
        RoleArn=ROLE + "access", RoleSessionName="test", ExternalId="agreed", **more)["Credentials"]
    return credentials["AccessKeyId"], credentials["SecretAccessKey"], credentials["SessionToken"]


credentials = session()
sagemaker = client("sagemaker", credentials, SAGEMAKER)
runtime = client("sagemaker-runtime", credentials, SAGEMAKER)
owner = client("sagemaker", root(CUSTOMER), SAGEMAKER)

# -- Data ---------------------------------------------------------------------

chance = random.Random(7)


def row(i):
    calls, minutes, plan = chance.randint(0, 9), chance.uniform(0, 12), chance.choice(["yes", "no"])
    churned = calls + minutes / 3 + 2 * (plan == "yes") + chance.gauss(0, 1) > 8
    return [f"{calls}", f"{minutes}", plan, f"{calls * 2.5 + minutes}", "True." if churned else "False."]


HEADER = ["calls", "minutes, total", "plan", "charge", "Churn?"]
ROWS = [row(i) for i in range(900)]
TRAIN, TEST = ROWS[:800], ROWS[800:]


def text(rows):
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(rows)
    return out.getvalue().encode()


def upload(key, rows):
    s3.put_object(Bucket="acme-ml", Key=key, Body=text([HEADER, *rows]))


upload("train/train.csv", TRAIN)
RECORDS = text([record[:-1] for record in TEST])


def start(name, uri="s3://acme-ml/train/", role="execution", target="Churn?", candidates=3, by=None, **tabular):
    return (by or sagemaker).create_auto_ml_job_v2(
        AutoMLJobName=name,
        AutoMLJobInputDataConfig=[{"ChannelType": "training", "ContentType": "text/csv;header=present",
                                   "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": uri}}}],
        OutputDataConfig={"S3OutputPath": "s3://acme-ml/output"}, RoleArn=ROLE + role,
        AutoMLProblemTypeConfig={"TabularJobConfig": {
            "TargetAttributeName": target, "CompletionCriteria": {"MaxCandidates": candidates}, "Mode": "ENSEMBLING",
            **tabular}},
        Tags=[{"Key": "ManagedBy", "Value": "crosspilot"}])


def finish(name):
    """The job's last description and the statuses on the way there."""
    seen = []
    while True:
        job = sagemaker.describe_auto_ml_job_v2(AutoMLJobName=name)
        status = job["AutoMLJobStatus"], job["AutoMLJobSecondaryStatus"]
        if seen[-1:] != [status]:
            seen.append(status)
        if status[0] in ("Completed", "Failed", "Stopped"):
            return job, seen
        time.sleep(0.02)


def wanting(containers, keys):
    """The containers told to answer these response keys."""
    containers, before = json.loads(json.dumps(containers)), None
    for container in containers:
        environment = container["Environment"]
        if "SAGEMAKER_INFERENCE_SUPPORTED" not in environment:
            continue
        supported = environment["SAGEMAKER_INFERENCE_SUPPORTED"].split(",")
        environment["SAGEMAKER_INFERENCE_OUTPUT"] = ",".join(key for key in keys if key in supported)
        if before is not None:
            environment["SAGEMAKER_INFERENCE_INPUT"] = before
        before = environment["SAGEMAKER_INFERENCE_OUTPUT"]
    return containers


def until(what, probe):
    """The first answer of the probe that is not false."""
    for _ in range(600):
        if found := probe():
            return found
        time.sleep(0.05)
    raise AssertionError(f"never: {what}")


def configure(name, containers, more=None, **variant):
    """A model and an endpoint configuration of this name; `more` belongs to the configuration."""
    variant = {"VariantName": "AllTraffic", "ModelName": name,
               **({} if "ServerlessConfig" in variant else {"InstanceType": "ml.m5.large", "InitialInstanceCount": 1}),
               **variant}
    sagemaker.create_model(ModelName=name, ExecutionRoleArn=ROLE + "execution", Containers=containers)
    return sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant], **(more or {}))


def wait(waiter, **arguments):
    sagemaker.get_waiter(waiter).wait(**arguments, WaiterConfig={"Delay": 0.1, "MaxAttempts": 200})


def serve(name, containers, **variant):
    configure(name, containers, **variant)
    sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
    wait("endpoint_in_service", EndpointName=name)


def statuses(name):
    """The endpoint's statuses until it settles, and what it is then."""
    seen = []

    def settled():
        endpoint = sagemaker.describe_endpoint(EndpointName=name)
        seen.append(endpoint["EndpointStatus"])
        return endpoint["EndpointStatus"] in ("InService", "Failed") and endpoint

    endpoint = until(f"{name} settles", settled)
    return list(dict.fromkeys(seen)), endpoint


def predict(name, body=RECORDS, accept="text/csv", content_type="text/csv", **more):
    answer = runtime.invoke_endpoint(EndpointName=name, ContentType=content_type, Accept=accept, Body=body, **more)
    return list(csv.reader(io.StringIO(answer["Body"].read().decode())))
