"""Writes shapes.json: the part of AWS's service models that the stand-in offers.

    python shapes.py path/to/botocore/data > shapes.json

The models come with botocore (Apache License 2.0, Amazon.com, Inc.). Only what
validates is kept: documentation goes, and so do the patterns that Rust's
linear-time engine does not have: those that look around (`(?!`, `(?<!`), and
those that list all characters by UTF-16 (`\\uD800`) or as `\\p{Print}`.
"""

import gzip
import json
import os
import sys

SAGEMAKER = """
    AddTags CreateAutoMLJob CreateAutoMLJobV2 CreateEndpoint CreateEndpointConfig CreateModel CreateTransformJob
    DeleteEndpoint DeleteEndpointConfig DeleteModel DeleteTags DescribeAutoMLJob DescribeAutoMLJobV2
    DescribeEndpoint DescribeEndpointConfig DescribeModel DescribeProcessingJob DescribeTrainingJob
    DescribeTransformJob ListAutoMLJobs ListCandidatesForAutoMLJob ListEndpointConfigs ListEndpoints ListModels
    ListProcessingJobs ListTags ListTrainingJobs ListTransformJobs StopAutoMLJob StopTransformJob UpdateEndpoint
    UpdateEndpointWeightsAndCapacities
""".split()
AUTOSCALING = """
    DeleteScalingPolicy DeregisterScalableTarget DescribeScalableTargets DescribeScalingPolicies PutScalingPolicy
    RegisterScalableTarget
""".split()
# Both services have an `Alarm`: the second one's shapes have its name before theirs.
SERVICES = [("sagemaker/2017-07-24", "", SAGEMAKER),
            ("application-autoscaling/2016-02-06", "application-autoscaling#", AUTOSCALING)]
ABSENT = ("(?!", "(?<!", "\\uD800", "\\p{Print}")
KINDS = {"double": "float", "long": "integer"}

operations, shapes = {}, {}


def keep(model, prefix, name):
    if prefix + name in shapes:
        return
    shape = model["shapes"][name]
    kept = {key: shape[key] for key in ("type", "required", "min", "max", "pattern", "enum") if key in shape}
    kept["type"] = KINDS.get(kept["type"], kept["type"])
    if any(absent in kept.get("pattern", "") for absent in ABSENT):
        del kept["pattern"]
    if "pattern" in kept:
        kept["pattern"] = kept["pattern"].replace("\\d", "[0-9]").replace("\\p{Alnum}", "a-zA-Z0-9")
    if "members" in shape:
        kept["members"] = {member: prefix + target["shape"] for member, target in shape["members"].items()}
    for key in ("member", "key", "value"):
        if key in shape:
            kept[key] = prefix + shape[key]["shape"]
    shapes[prefix + name] = kept
    targets = [*shape.get("members", {}).values(), *(shape[key] for key in ("member", "key", "value") if key in shape)]
    for target in targets:
        keep(model, prefix, target["shape"])


for path, prefix, names in SERVICES:
    model = json.load(gzip.open(os.path.join(sys.argv[1], path, "service-2.json.gz")))
    for name in names:
        operation = model["operations"][name]
        operations[name] = {key: prefix + operation[key]["shape"] for key in ("input", "output") if key in operation}
        for key in operations[name]:
            keep(model, prefix, operation[key]["shape"])

print("{")
for section, entries, end in (("operations", operations, ","), ("shapes", shapes, "")):
    print(f'"{section}": {{')
    lines = [f"{json.dumps(name)}: {json.dumps(entries[name], separators=(',', ':'))}" for name in sorted(entries)]
    print(",\n".join(lines) + "\n}" + end)
print("}")
