"""An unmodified boto3 deploys, shifts traffic, rolls back, captures data and reads metrics.

    python deployment_test.py EMULATOR_URL SAGEMAKER_URL DIRECTORY
"""

import json
from datetime import datetime, timedelta, timezone

from clients import *  # noqa: F403

cloudwatch = client("cloudwatch", root(CUSTOMER))
start("crosspilot-base", candidates=1)
best = finish("crosspilot-base")[0]["BestCandidate"]["InferenceContainers"]
one, two = wanting(best, ["predicted_label"]), wanting(best, ["predicted_label", "probability"])
first = RECORDS.splitlines(keepends=True)[0]


def answers(name, count=40):
    """How many answers have one column, and how many have two."""
    columns = [len(predict(name, first)[0]) for _ in range(count)]
    return columns.count(1), columns.count(2)


def update(name, config, deployment=None, **more):
    if deployment:
        more["DeploymentConfig"] = deployment
    sagemaker.update_endpoint(EndpointName=name, EndpointConfigName=config, **more)


def blue_green(wait=0, alarms=(), termination=0, **routing):
    routing = {"Type": "ALL_AT_ONCE", "WaitIntervalInSeconds": wait, **routing}
    return {"BlueGreenUpdatePolicy": {"TrafficRoutingConfiguration": routing, "TerminationWaitInSeconds": termination},
            **({"AutoRollbackConfiguration": {"Alarms": [{"AlarmName": name} for name in alarms]}} if alarms else {})}


def percent(value):
    return {"Type": "CAPACITY_PERCENT", "Value": value}


# -- Traffic moves step by step -------------------------------------------------

serve("crosspilot-live", one, InitialInstanceCount=2)
configure("crosspilot-two", two, InitialInstanceCount=2)
canary = blue_green(wait=30, Type="CANARY", CanarySize=percent(25))
update("crosspilot-live", "crosspilot-two", canary)


def pending(stage):
    found = sagemaker.describe_endpoint(EndpointName="crosspilot-live").get("PendingDeploymentSummary", {})
    variants = found.get("ProductionVariants", [])
    return variants and variants[0]["VariantStatus"][0]["Status"] == stage


until("the canary bakes", lambda: pending("Baking"))
old, new = answers("crosspilot-live", 60)
assert 5 <= new <= 25 and old + new == 60, (old, new)
assert sagemaker.describe_endpoint(EndpointName="crosspilot-live")["EndpointConfigName"] == "crosspilot-live"
seen, live = statuses("crosspilot-live")
assert seen == ["Updating", "InService"], seen
assert live["EndpointConfigName"] == "crosspilot-two" and live["LastDeploymentConfig"] == canary, live
assert answers("crosspilot-live") == (0, 40)

linear = blue_green(wait=10, Type="LINEAR", LinearStepSize={"Type": "INSTANCE_COUNT", "Value": 1})
update("crosspilot-live", "crosspilot-live", linear)
seen, live = statuses("crosspilot-live")
assert seen == ["Updating", "InService"] and answers("crosspilot-live") == (40, 0)
rolling = {"RollingUpdatePolicy": {"MaximumBatchSize": percent(50), "WaitIntervalInSeconds": 0}}
update("crosspilot-live", "crosspilot-two", rolling)
assert statuses("crosspilot-live")[0] == ["Updating", "InService"] and answers("crosspilot-live") == (0, 40)

# -- Variants may be renamed, but not under an update policy -------------------------

sagemaker.create_endpoint_config(EndpointConfigName="crosspilot-renamed", ProductionVariants=[
    {"VariantName": "run-2", "ModelName": "crosspilot-live", "InstanceType": "ml.m5.large", "InitialInstanceCount": 2}])
assert "variant names" in refused("ValidationException", update, name="crosspilot-live", config="crosspilot-renamed",
                                  deployment=canary)
update("crosspilot-live", "crosspilot-renamed")
statuses("crosspilot-live")
answer = runtime.invoke_endpoint(EndpointName="crosspilot-live", ContentType="text/csv", Body=first)
assert answer["InvokedProductionVariant"] == "run-2"
update("crosspilot-live", "crosspilot-two")
statuses("crosspilot-live")
assert len(predict("crosspilot-live", first, TargetVariant="AllTraffic")[0]) == 2

# -- Alarms ------------------------------------------------------------------------


def alarm(name, metric="Invocation4XXErrors", endpoint="crosspilot-live", **more):
    cloudwatch.put_metric_alarm(**{
        "AlarmName": name, "Namespace": "AWS/SageMaker", "MetricName": metric, "Statistic": "Sum", "Period": 60,
        "EvaluationPeriods": 1, "Threshold": 1, "ComparisonOperator": "GreaterThanOrEqualToThreshold",
        "Dimensions": [{"Name": "EndpointName", "Value": endpoint}, {"Name": "VariantName", "Value": "AllTraffic"}],
        **more})


def state(name):
    return cloudwatch.describe_alarms(AlarmNames=[name])["MetricAlarms"][0]["StateValue"]


missing = blue_green(alarms=["crosspilot-none"])
assert "crosspilot-none" in refused("ValidationException", update, name="crosspilot-live", config="crosspilot-live",
                                    deployment=missing)
alarm("other")
assert "cloudwatch:DescribeAlarms" in refused(
    "ValidationException", update, name="crosspilot-live", config="crosspilot-live",
    deployment=blue_green(alarms=["other"]))
alarm("crosspilot-errors")
guarded = blue_green(wait=600, Type="CANARY", CanarySize=percent(50), alarms=["crosspilot-errors"])
update("crosspilot-live", "crosspilot-live", guarded)
until("the canary bakes", lambda: pending("Baking"))
old, new = answers("crosspilot-live")
assert old and new
assert sagemaker.describe_endpoint(EndpointName="crosspilot-live")["EndpointStatus"] == "Updating"
# It recovers at once, and counts all the same.
cloudwatch.set_alarm_state(AlarmName="crosspilot-errors", StateValue="ALARM", StateReason="a test")
cloudwatch.set_alarm_state(AlarmName="crosspilot-errors", StateValue="OK", StateReason="a test")
seen, live = statuses("crosspilot-live")
assert seen[-2:] == ["RollingBack", "InService"], seen
assert live["EndpointConfigName"] == "crosspilot-two" and "crosspilot-errors" in live["FailureReason"], live
assert "PendingDeploymentSummary" not in live and answers("crosspilot-live") == (0, 40)

# -- Metrics, and an alarm that they set off ------------------------------------------


def total(metric, endpoint, variant="AllTraffic"):
    points = cloudwatch.get_metric_statistics(
        Namespace="AWS/SageMaker", MetricName=metric, Period=3600, Statistics=["Sum", "SampleCount"],
        StartTime=datetime.now(timezone.utc) - timedelta(hours=1), EndTime=datetime.now(timezone.utc) + timedelta(hours=1),
        Dimensions=[{"Name": "EndpointName", "Value": endpoint}, {"Name": "VariantName", "Value": variant}])
    return sum(point["Sum"] for point in points["Datapoints"])


serve("crosspilot-metered", one)
for _ in range(3):
    predict("crosspilot-metered", first)
refused("ModelError", predict, name="crosspilot-metered", body=b"1,2")
until("all is counted", lambda: total("Invocations", "crosspilot-metered") == 4)
assert total("Invocation4XXErrors", "crosspilot-metered") == 1
assert total("Invocation5XXErrors", "crosspilot-metered") == 0
assert total("ModelLatency", "crosspilot-metered") > 0

# The errors of another endpoint are not this one's.
cloudwatch.set_alarm_state(AlarmName="crosspilot-errors", StateValue="OK", StateReason="a test")
alarm("crosspilot-metered", endpoint="crosspilot-metered")
update("crosspilot-live", "crosspilot-live", guarded)
until("the canary bakes", lambda: pending("Baking"))
refused("ModelError", predict, name="crosspilot-metered", body=b"1,2")
until("the error is counted", lambda: total("Invocation4XXErrors", "crosspilot-metered") == 2)
assert (state("crosspilot-metered"), state("crosspilot-errors")) == ("ALARM", "OK")
assert sagemaker.describe_endpoint(EndpointName="crosspilot-live")["EndpointStatus"] == "Updating"
refused("ModelError", predict, name="crosspilot-live", body=b"1,2")
seen, live = statuses("crosspilot-live")
assert seen[-2:] == ["RollingBack", "InService"], seen

# -- What stays ------------------------------------------------------------------------

cloudwatch.set_alarm_state(AlarmName="crosspilot-errors", StateValue="OK", StateReason="a test")
update("crosspilot-live", "crosspilot-live", blue_green())
assert statuses("crosspilot-live")[1]["LastDeploymentConfig"] == blue_green()
update("crosspilot-live", "crosspilot-two", RetainDeploymentConfig=True)
assert statuses("crosspilot-live")[1]["LastDeploymentConfig"] == blue_green()
update("crosspilot-live", "crosspilot-live")
assert "LastDeploymentConfig" not in statuses("crosspilot-live")[1]

# -- Captured data -----------------------------------------------------------------------


def capturing(destination="s3://acme-ml/captured/", **more):
    return {"DataCaptureConfig": {
        "EnableCapture": True, "InitialSamplingPercentage": 50, "DestinationS3Uri": destination,
        "CaptureOptions": [{"CaptureMode": "Input"}, {"CaptureMode": "Output"}],
        "CaptureContentTypeHeader": {"CsvContentTypes": ["text/csv"]}, **more}}


assert "serverless" in refused(
    "ValidationException", configure, name="crosspilot-sls", containers=one, more=capturing(),
    ServerlessConfig={"MemorySizeInMB": 2048, "MaxConcurrency": 1}).lower()
configure("crosspilot-captured", two, capturing())
sagemaker.create_endpoint(EndpointName="crosspilot-captured", EndpointConfigName="crosspilot-captured")
_, captured = statuses("crosspilot-captured")
assert captured["DataCaptureConfig"] == {
    "EnableCapture": True, "CaptureStatus": "Started", "CurrentSamplingPercentage": 50,
    "DestinationS3Uri": "s3://acme-ml/captured/", "KmsKeyId": ""}, captured
described = sagemaker.describe_endpoint_config(EndpointConfigName="crosspilot-captured")
assert described["DataCaptureConfig"]["InitialSamplingPercentage"] == 50
for i in range(10):
    predict("crosspilot-captured", first, InferenceId=f"request-{i}")


def lines():
    found = s3.list_objects_v2(Bucket="acme-ml", Prefix="captured/").get("Contents", [])
    for file in found:
        hour = file["LastModified"].strftime("%Y/%m/%d")
        assert file["Key"].startswith(f"captured/crosspilot-captured/AllTraffic/{hour}/"), file
        assert file["Key"].endswith(".jsonl"), file
    text = "".join(s3.get_object(Bucket="acme-ml", Key=file["Key"])["Body"].read().decode() for file in found)
    return [json.loads(line) for line in text.splitlines()]


records = until("half is captured", lambda: len(found := lines()) == 5 and found)
assert {record["eventMetadata"]["inferenceId"] for record in records} <= {f"request-{i}" for i in range(10)}
sides = records[0]["captureData"]
assert sides["endpointInput"] == {
    "observedContentType": "text/csv", "mode": "INPUT", "data": first.decode(), "encoding": "CSV"}, sides
assert sides["endpointOutput"]["data"].split(",")[0] in ("True.", "False.") and records[0]["eventVersion"] == "0"

# What the role may not write is lost, and the endpoint answers all the same.
configure("crosspilot-lost", two, capturing("s3://acme-elsewhere/captured"))
update("crosspilot-captured", "crosspilot-lost")
statuses("crosspilot-captured")
assert answers("crosspilot-captured", 4) == (0, 4)
update("crosspilot-captured", "crosspilot-captured", RetainAllVariantProperties=True)
assert statuses("crosspilot-captured")[1]["DataCaptureConfig"]["DestinationS3Uri"] == "s3://acme-elsewhere/captured"

# -- Automatic scaling -----------------------------------------------------------------------

serve("crosspilot-scaled", one)
scaling = client("application-autoscaling", credentials, SAGEMAKER)
VARIANT = {"ServiceNamespace": "sagemaker", "ResourceId": "endpoint/crosspilot-scaled/variant/AllTraffic",
           "ScalableDimension": "sagemaker:variant:DesiredInstanceCount"}


def instances():
    _, endpoint = statuses("crosspilot-scaled")
    return endpoint["ProductionVariants"][0]["CurrentInstanceCount"]


assert "AWSServiceRoleForApplicationAutoScaling_SageMakerEndpoint" in refused(
    "AccessDeniedException", scaling.register_scalable_target, **VARIANT, MinCapacity=2, MaxCapacity=4)
iam.put_role_policy(RoleName="access", PolicyName="scaling", PolicyDocument=allow(
    statement("iam:CreateServiceLinkedRole", ROLE + "aws-service-role/sagemaker.application-autoscaling.amazonaws.com/*",
              Condition={"StringEquals": {"iam:AWSServiceName": "sagemaker.application-autoscaling.amazonaws.com"}})))
# Before it takes a target, the service tries what it will need, as its caller: to read
# an endpoint configuration of a name that it invents, too.
SCALES = [statement("application-autoscaling:*", "*"), statement("iam:CreateServiceLinkedRole", "*")]
ALARMS = statement(["cloudwatch:PutMetricAlarm", "cloudwatch:DescribeAlarms", "cloudwatch:DeleteAlarms"], "*")
CAPACITY = statement(["sagemaker:DescribeEndpoint", "sagemaker:UpdateEndpointWeightsAndCapacities"],
                     ARN + "endpoint/crosspilot-*")


def scaling_with(*statements):
    return client("application-autoscaling", session(allow(*SCALES, *statements)), SAGEMAKER)


def configs(name):
    return statement("sagemaker:DescribeEndpointConfig", ARN + f"endpoint-config/{name}")


BOTH = {"MinCapacity": 2, "MaxCapacity": 4}
for given, missing in (((CAPACITY, ALARMS), "sagemaker:DescribeEndpointConfig"),
                       ((CAPACITY, ALARMS, configs("crosspilot-*")), "sagemaker:DescribeEndpointConfig"),
                       ((ALARMS, configs("*")), "sagemaker:DescribeEndpoint, sagemaker:UpdateEndpointWeightsAndCapacities"),
                       ((CAPACITY, configs("*")),
                        "cloudwatch:PutMetricAlarm, cloudwatch:DescribeAlarms, cloudwatch:DeleteAlarms")):
    for call, bounds in (("register_scalable_target", BOTH), ("deregister_scalable_target", {})):
        message = refused("ValidationException", getattr(scaling_with(*given), call), **VARIANT, **bounds)
        assert message == f"User is missing the following permissions: {missing}", message
refused("AccessDeniedException", client("application-autoscaling", session(allow(CAPACITY, ALARMS, configs("*"))), SAGEMAKER)
        .register_scalable_target, **VARIANT, **BOTH)
scaling_with(CAPACITY, ALARMS, configs("*")).register_scalable_target(**VARIANT, **BOTH)
scaling_with(CAPACITY, ALARMS, configs("*")).deregister_scalable_target(**VARIANT)
for wrong in ({"MinCapacity": 5, "MaxCapacity": 4}, {"MinCapacity": 1}, {"MinCapacity": -1, "MaxCapacity": 1},
              {"MinCapacity": 1, "MaxCapacity": 2, "ResourceId": "endpoint/crosspilot-scaled/variant/other"},
              {"MinCapacity": 1, "MaxCapacity": 2, "ResourceId": "endpoint/crosspilot-none/variant/AllTraffic"},
              {"MinCapacity": 1, "MaxCapacity": 2, "ResourceId": "crosspilot-scaled"}):
    refused("ValidationException", scaling.register_scalable_target, **{**VARIANT, **wrong})
refused("ObjectNotFoundException", scaling.deregister_scalable_target, **VARIANT)
tracking = {**VARIANT, "PolicyName": "load", "PolicyType": "TargetTrackingScaling",
            "TargetTrackingScalingPolicyConfiguration": {"TargetValue": 100.0, "PredefinedMetricSpecification": {
                "PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"}}}
refused("ObjectNotFoundException", scaling.put_scaling_policy, **tracking)
arn = scaling.register_scalable_target(**VARIANT, MinCapacity=2, MaxCapacity=4)["ScalableTargetARN"]
assert arn.startswith(f"arn:aws:application-autoscaling:{REGION}:{CUSTOMER}:scalable-target/"), arn
until("the variant has its instances", lambda: instances() == 2)
scaling.register_scalable_target(**VARIANT, MaxCapacity=3)
[target] = scaling.describe_scalable_targets(ServiceNamespace="sagemaker", ResourceIds=[VARIANT["ResourceId"]])["ScalableTargets"]
assert (target["MinCapacity"], target["MaxCapacity"], target["ScalableTargetARN"]) == (2, 3, arn), target
assert scaling.put_scaling_policy(**tracking)["PolicyARN"].endswith("policyName/load")
[policy] = scaling.describe_scaling_policies(ServiceNamespace="sagemaker", ResourceId=VARIANT["ResourceId"])["ScalingPolicies"]
assert policy["TargetTrackingScalingPolicyConfiguration"]["TargetValue"] == 100.0
assert not scaling.describe_scaling_policies(ServiceNamespace="sagemaker", ResourceId="endpoint/x/variant/y")["ScalingPolicies"]

message = refused("ValidationException", update, name="crosspilot-scaled", config="crosspilot-renamed")
assert message.startswith('The variant(s) "AllTraffic" must be deregistered as scalable targets'), message
# An update keeps the limits, and the count if it is told to.
scaling.register_scalable_target(**VARIANT, MinCapacity=3, MaxCapacity=3)
until("the variant has its instances", lambda: instances() == 3)
scaling.register_scalable_target(**VARIANT, MinCapacity=1, MaxCapacity=4)
update("crosspilot-scaled", "crosspilot-two", RetainAllVariantProperties=True)
assert instances() == 3
update("crosspilot-scaled", "crosspilot-two")
assert instances() == 2
serve("crosspilot-sls-scaled", one, ServerlessConfig={"MemorySizeInMB": 2048, "MaxConcurrency": 1})
scaling.deregister_scalable_target(**VARIANT)
message = refused("ValidationException", update, name="crosspilot-scaled", config="crosspilot-sls-scaled")
assert message == "A real-time endpoint cannot be updated to a serverless endpoint.", message
scaling.register_scalable_target(**VARIANT, MinCapacity=1, MaxCapacity=4)
scaling.put_scaling_policy(**tracking)
assert "has no instances" in refused(
    "ValidationException", scaling.register_scalable_target,
    **{**VARIANT, "ResourceId": "endpoint/crosspilot-sls-scaled/variant/AllTraffic"}, MinCapacity=1, MaxCapacity=2)

scaling.delete_scaling_policy(**VARIANT, PolicyName="load")
refused("ObjectNotFoundException", scaling.delete_scaling_policy, **VARIANT, PolicyName="load")
narrow = client("sagemaker", session(allow(statement("sagemaker:*", "*"))), SAGEMAKER)
assert "application-autoscaling:DeregisterScalableTarget" in refused(
    "AccessDeniedException", narrow.delete_endpoint, EndpointName="crosspilot-scaled")
sagemaker.delete_endpoint(EndpointName="crosspilot-scaled")
wait("endpoint_deleted", EndpointName="crosspilot-scaled")
assert not scaling.describe_scalable_targets(ServiceNamespace="sagemaker")["ScalableTargets"]
