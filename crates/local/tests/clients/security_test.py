"""An unmodified boto3 trains and serves under a key and in a network, and is refused without.

    python security_test.py EMULATOR_URL SAGEMAKER_URL DIRECTORY
"""

from clients import *  # noqa: F403

kms = client("kms", root(CUSTOMER))
key = kms.create_key()["KeyMetadata"]["Arn"]
kms.create_alias(AliasName="alias/crosspilot", TargetKeyId=key)
first = RECORDS.splitlines(keepends=True)[0]


def may(role, **actions):
    """Let a role do this with the key, and nothing else."""
    statements = [statement(name.replace("_", ":", 1), key, **({"Condition": condition} if condition else {}))
                  for name, condition in actions.items()]
    if statements:
        iam.put_role_policy(RoleName=role, PolicyName="key", PolicyDocument=allow(*statements))
    else:
        iam.delete_role_policy(RoleName=role, PolicyName="key")


def execution_may(**actions):
    may("execution", **actions)


THROUGH_S3 = {"StringEquals": {"kms:ViaService": f"s3.{REGION}.amazonaws.com"}}
FOR_AWS = {"Bool": {"kms:GrantIsForAWSResource": "true"}}
NETWORK = {"Subnets": ["subnet-0a", "subnet-0b"], "SecurityGroupIds": ["sg-0c"]}


def train(name, network=None, volume=None, output=None):
    security = {**({"VpcConfig": network} if network else {}), **({"VolumeKmsKeyId": volume} if volume else {})}
    sagemaker.create_auto_ml_job_v2(
        AutoMLJobName=name, RoleArn=ROLE + "execution",
        AutoMLJobInputDataConfig=[{"ChannelType": "training", "DataSource": {
            "S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://acme-ml/train/"}}}],
        OutputDataConfig={"S3OutputPath": "s3://acme-ml/output", **({"KmsKeyId": output} if output else {})},
        SecurityConfig={**security, "EnableInterContainerTrafficEncryption": True},
        AutoMLProblemTypeConfig={"TabularJobConfig": {
            "TargetAttributeName": "Churn?", "CompletionCriteria": {"MaxCandidates": 1}, "Mode": "ENSEMBLING"}})
    return finish(name)[0]


def failure(*arguments, **more):
    job = train(*arguments, **more)
    assert job["AutoMLJobStatus"] == "Failed", job
    return job["FailureReason"]


# -- Artifacts under a key ---------------------------------------------------------

assert "kms:Encrypt" in failure("crosspilot-no-key", output=key)
execution_may(kms_Encrypt=None)
assert "kms:GenerateDataKey" in failure("crosspilot-no-data-key", output=key)
assert "NotFound" in failure("crosspilot-no-such-key", output=key[:-1])
execution_may(kms_Encrypt=None, kms_GenerateDataKey=THROUGH_S3)
trained = train("crosspilot-encrypted", output="alias/crosspilot")
assert trained["AutoMLJobStatus"] == "Completed", trained
assert trained["OutputDataConfig"]["KmsKeyId"] == "alias/crosspilot"
containers = trained["BestCandidate"]["InferenceContainers"]
bucket, path = containers[0]["ModelDataUrl"].removeprefix("s3://").split("/", 1)
artifact = s3.head_object(Bucket=bucket, Key=path)
assert (artifact["ServerSideEncryption"], artifact["SSEKMSKeyId"]) == ("aws:kms", key), artifact

# Who may write under a key may not read.
configure("crosspilot-encrypted", containers)
sagemaker.create_endpoint(EndpointName="crosspilot-unreadable", EndpointConfigName="crosspilot-encrypted")
_, unreadable = statuses("crosspilot-unreadable")
assert unreadable["EndpointStatus"] == "Failed" and "Failed to download model data" in unreadable["FailureReason"]
execution_may(kms_Encrypt=None, kms_GenerateDataKey=THROUGH_S3, kms_Decrypt=THROUGH_S3)
sagemaker.create_endpoint(EndpointName="crosspilot-encrypted", EndpointConfigName="crosspilot-encrypted")
assert statuses("crosspilot-encrypted")[0][-1] == "InService"
assert len(predict("crosspilot-encrypted", first)) == 1

sagemaker.create_transform_job(
    TransformJobName="crosspilot-encrypted", ModelName="crosspilot-encrypted",
    TransformInput={"DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://acme-ml/bulk/in"}},
                    "ContentType": "text/csv", "SplitType": "Line"},
    TransformOutput={"S3OutputPath": "s3://acme-ml/bulk/out", "Accept": "text/csv", "AssembleWith": "Line",
                     "KmsKeyId": key},
    TransformResources={"InstanceType": "ml.m5.large", "InstanceCount": 1})
assert s3.put_object(Bucket="acme-ml", Key="bulk/in/a.csv", Body=RECORDS)
until("the transform job ends", lambda: sagemaker.describe_transform_job(
    TransformJobName="crosspilot-encrypted")["TransformJobStatus"] != "InProgress")

# A bucket with a key of its own asks for the same.
s3.put_bucket_encryption(Bucket="acme-ml", ServerSideEncryptionConfiguration={"Rules": [
    {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": key}}]})
execution_may(kms_Decrypt=THROUGH_S3)
assert "kms:GenerateDataKey" in failure("crosspilot-bucket-key")
s3.delete_bucket_encryption(Bucket="acme-ml")

# -- Volumes under a key ---------------------------------------------------------------

def transform(name, **resources):
    return sagemaker.create_transform_job(
        TransformJobName=name, ModelName="crosspilot-encrypted",
        TransformInput={"DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://acme-ml/bulk/in"}},
                        "ContentType": "text/csv", "SplitType": "Line"},
        TransformOutput={"S3OutputPath": "s3://acme-ml/bulk/out", "Accept": "text/csv", "AssembleWith": "Line"},
        TransformResources={"InstanceType": "ml.m5.large", "InstanceCount": 1, **resources})


# Whoever asks for a disk must see the key and grant it, unless the job's role may.
for start_one in (train, transform):
    named = {"volume": key} if start_one is train else {"VolumeKmsKeyId": key}
    assert "kms:DescribeKey" in refused("AccessDeniedException", start_one, name="crosspilot-no-key-seen", **named)
may("access", kms_DescribeKey=None)
assert "kms:CreateGrant" in refused("AccessDeniedException", train, name="crosspilot-no-grant", volume=key)
# A person's grants are none for AWS.
may("access", kms_DescribeKey=None, kms_CreateGrant={"Bool": {"kms:GrantIsForAWSResource": "false"}})
assert "kms:CreateGrant" in refused("AccessDeniedException", train, name="crosspilot-no-grant", volume=key)
may("access", kms_DescribeKey=None, kms_CreateGrant=FOR_AWS)
# Autopilot's own jobs are its role's.
assert "kms:CreateGrant" in failure("crosspilot-no-grant", volume=key)
may("access")
configure("crosspilot-volumes", containers, {"KmsKeyId": key})
execution_may(kms_Decrypt=THROUGH_S3, kms_DescribeKey=None, kms_CreateGrant=FOR_AWS)
assert train("crosspilot-grant", volume=key)["AutoMLJobStatus"] == "Completed"
transform("crosspilot-grant", VolumeKmsKeyId=key)
# An endpoint's disks are its caller's affair.
endpoint = {"EndpointName": "crosspilot-grant", "EndpointConfigName": "crosspilot-volumes"}
refused("AccessDeniedException", sagemaker.create_endpoint, **endpoint)
may("access", kms_DescribeKey=None, kms_CreateGrant=FOR_AWS)
sagemaker.create_endpoint(**endpoint)
assert statuses("crosspilot-grant")[0][-1] == "InService"
may("access")
refused("AccessDeniedException", sagemaker.update_endpoint, **endpoint)
may("access", kms_DescribeKey=None, kms_CreateGrant=FOR_AWS)
assert "local storage" in refused("ValidationException", transform, name="crosspilot-nvme",
                                  VolumeKmsKeyId=key, InstanceType="ml.g5.xlarge")
# A key policy that leaves nothing to IAM refuses all the same.
kms.put_key_policy(KeyId=key, PolicyName="default", Policy=allow(
    {"Effect": "Allow", "Principal": {"AWS": ROLE + "nobody"}, "Action": "kms:*", "Resource": "*"}))
assert "kms:DescribeKey" in refused("AccessDeniedException", sagemaker.update_endpoint, **endpoint)
assert sagemaker.describe_endpoint_config(EndpointConfigName="crosspilot-volumes")["KmsKeyId"] == key

# -- Only in the customer's subnets -----------------------------------------------------

iam.put_role_policy(RoleName="access", PolicyName="network", PolicyDocument=allow(
    {"Effect": "Deny", "Action": ["sagemaker:CreateAutoMLJobV2", "sagemaker:CreateModel"], "Resource": "*",
     "Condition": {"Null": {"sagemaker:VpcSubnets": "true"}}},
    {"Effect": "Deny", "Action": ["sagemaker:CreateAutoMLJobV2", "sagemaker:CreateModel"], "Resource": "*",
     "Condition": {"ForAnyValue:StringNotEquals": {"sagemaker:VpcSubnets": NETWORK["Subnets"]}}},
    {"Effect": "Deny", "Action": ["sagemaker:CreateAutoMLJobV2", "sagemaker:CreateModel"], "Resource": "*",
     "Condition": {"ForAnyValue:StringNotEquals": {"sagemaker:VpcSecurityGroupIds": NETWORK["SecurityGroupIds"]}}},
    {"Effect": "Deny", "Action": "sagemaker:CreateAutoMLJobV2", "Resource": "*",
     "Condition": {"Bool": {"sagemaker:InterContainerTrafficEncryption": "false"}}}))
inside = train("crosspilot-inside", network=NETWORK)
assert inside["AutoMLJobStatus"] == "Completed" and inside["SecurityConfig"]["VpcConfig"] == NETWORK, inside
some = {**NETWORK, "Subnets": NETWORK["Subnets"][:1]}
model = {"ExecutionRoleArn": ROLE + "execution", "Containers": containers}
sagemaker.create_model(ModelName="crosspilot-inside", VpcConfig=some, **model)
assert sagemaker.describe_model(ModelName="crosspilot-inside")["VpcConfig"] == some
for network in (None, {**NETWORK, "Subnets": ["subnet-0a", "subnet-0f"]}, {**NETWORK, "SecurityGroupIds": ["sg-0f"]}):
    assert "explicit deny" in refused("AccessDeniedException", train, name="crosspilot-outside", network=network)
    given = {"VpcConfig": network} if network else {}
    refused("AccessDeniedException", sagemaker.create_model, ModelName="crosspilot-outside", **given, **model)
message = refused("ValidationException", owner.create_model, ModelName="crosspilot-bad", **model,
                  VpcConfig={"Subnets": [], "SecurityGroupIds": ["sg_1"]})
assert "vpcConfig.subnets" in message and "vpcConfig.securityGroupIds.1.member" in message, message
