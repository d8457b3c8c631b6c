"""Writes shapes.json: the part of AWS's SageMaker service model that the stand-in offers.

    python shapes.py path/to/botocore/data/sagemaker/2017-07-24/service-2.json.gz > shapes.json

The model comes with botocore (Apache License 2.0, Amazon.com, Inc.). Only what
validates is kept: documentation goes, and so do the three patterns that look
around (`(?!`, `(?<!`), which Rust's linear-time engine does not have.
"""

import gzip
import json
import sys

OPERATIONS = """
    AddTags CreateAutoMLJob CreateAutoMLJobV2 CreateEndpoint CreateEndpointConfig CreateModel CreateTransformJob
    DeleteEndpoint DeleteEndpointConfig DeleteModel DeleteTags DescribeAutoMLJob DescribeAutoMLJobV2
    DescribeEndpoint DescribeEndpointConfig DescribeModel DescribeTransformJob ListAutoMLJobs
    ListCandidatesForAutoMLJob ListEndpointConfigs ListEndpoints ListModels ListTags ListTransformJobs
    StopAutoMLJob StopTransformJob UpdateEndpoint
""".split()

model = json.load(gzip.open(sys.argv[1]))
shapes = {}


def keep(name):
    if name in shapes:
        return
    shape = model["shapes"][name]
    kept = {key: shape[key] for key in ("type", "required", "min", "max", "pattern", "enum") if key in shape}
    if "(?!" in kept.get("pattern", "") or "(?<!" in kept.get("pattern", ""):
        del kept["pattern"]
    if "pattern" in kept:
        kept["pattern"] = kept["pattern"].replace("\\d", "[0-9]")
    if "members" in shape:
        kept["members"] = {member: target["shape"] for member, target in shape["members"].items()}
    for key in ("member", "key", "value"):
        if key in shape:
            kept[key] = shape[key]["shape"]
    shapes[name] = kept
    for target in [*kept.get("members", {}).values(), *(kept[key] for key in ("member", "key", "value") if key in kept)]:
        keep(target)


operations = {}
for name in OPERATIONS:
    operation = model["operations"][name]
    operations[name] = {key: operation[key]["shape"] for key in ("input", "output") if key in operation}
    for shape in operations[name].values():
        keep(shape)

print("{")
for section, entries, end in (("operations", operations, ","), ("shapes", shapes, "")):
    print(f'"{section}": {{')
    lines = [f"{json.dumps(name)}: {json.dumps(entries[name], separators=(',', ':'))}" for name in sorted(entries)]
    print(",\n".join(lines) + "\n}" + end)
print("}")
