"""Crosspilot's own rules for CloudFormation templates, which no public checker has.

    python infra/rules/check.py TEMPLATE...     findings, one a line; exit code 1 if there are any
    python infra/rules/check.py --self-test     each template in bad/ breaks exactly the rule it is named
                                                after: RULE.yaml, or RULE.how.yaml if there are several

    external-id        a role that another account assumes demands StringEquals sts:ExternalId
    principal-arn      a role that another account assumes trusts that account, narrowed by ArnEquals
                       aws:PrincipalArn: IAM keeps a role that is named as principal by its id, so
                       that one made anew under its name is not trusted any more
    wildcard-principal no statement allows everybody
    wildcard-resource  no statement allows something on everything of a kind, or in every account
    source-account     a service is trusted only on behalf of a known account or resource
    sid                every statement has a Sid
    explained          every statement has a comment above it that says why (where the
                       template's Metadata says `Explained: true`)
    stale-reason       no reason is written down for what is not there
    published          whoever calls a function calls a version or an alias of it
    frozen-parameter   a parameter that a published function's environment holds stands in
                       the version's description, since a new value alone publishes nothing,
                       and the version that is replaced is retained
    alarmed            every state machine that fails, times out or is aborted, every function
                       that fails or is throttled, every queue that is not emptied in time and
                       every dead letter raises an alarm, and alarms notify
    logs               every function writes to a log group of the template, every log group
                       ends what it keeps, and no role of a template with functions may make
                       another, which would keep all for ever
    retained           a bucket or a table stays when its stack is deleted or replaces it

A statement may break a rule for a written reason, in the Metadata of its resource:

    Metadata:
      Reasons:
        wildcard-resource:
          ListCandidates: AWS knows no resource for this action.
"""

import fnmatch
import pathlib
import re
import sys

import yaml

TRUST, IDENTITY, RESOURCE = "trust", "identity", "resource"


class Loader(yaml.SafeLoader):
    """YAML with CloudFormation's short functions, as {"Sub": ...} and the like."""


def _function(loader, suffix, node):
    if isinstance(node, yaml.ScalarNode):
        return {suffix: loader.construct_scalar(node)}
    if isinstance(node, yaml.SequenceNode):
        return {suffix: loader.construct_sequence(node, deep=True)}
    return {suffix: loader.construct_mapping(node, deep=True)}


Loader.add_multi_constructor("!", _function)


def many(value):
    """A list of what may be one thing, a list, or an !If between such."""
    if value is None or value == {"Ref": "AWS::NoValue"}:
        return []
    if isinstance(value, list):
        return [item for part in value for item in many(part)]
    if isinstance(value, dict) and "If" in value:
        return many(value["If"][1:])
    return [value]


def text(value):
    """What an ARN or a name reads like, with ${...} for what is filled in."""
    if isinstance(value, str):
        return value
    if isinstance(value, dict) and isinstance(value.get("Sub"), (str, list)):
        sub = value["Sub"]
        return sub if isinstance(sub, str) else sub[0]
    return "${...}"


def statements(resource):
    """Every statement of a resource, with the kind of policy it stands in."""
    properties = resource.get("Properties") or {}
    documents = [(TRUST, properties.get("AssumeRolePolicyDocument"))]
    for policy in many(properties.get("Policies")):
        documents.append((IDENTITY, policy.get("PolicyDocument") if isinstance(policy, dict) else None))
    is_identity = resource["Type"] in ("AWS::IAM::ManagedPolicy", "AWS::IAM::Policy")
    documents.append((IDENTITY if is_identity else RESOURCE, properties.get("PolicyDocument")))
    for kind, document in documents:
        for statement in many((document or {}).get("Statement")):
            yield kind, statement
    if resource["Type"] == "AWS::Lambda::Permission":
        keys = {"aws:SourceArn": "SourceArn", "aws:SourceAccount": "SourceAccount"}
        condition = {key: properties[name] for key, name in keys.items() if name in properties}
        yield RESOURCE, {"Sid": "Permission", "Effect": "Allow", "Principal": {"Service": properties.get("Principal")},
                         "Condition": {"StringEquals": condition}}


def broken_rules(kind, statement):
    """The rules that one statement breaks."""
    if not statement.get("Sid"):
        yield "sid"
    if statement.get("Effect") != "Allow":
        return
    principal = statement.get("Principal", {})
    named = principal if isinstance(principal, dict) else {"AWS": principal}
    condition = statement.get("Condition", {})
    accounts = [text(arn) for arn in many(named.get("AWS"))]
    if "*" in accounts:
        yield "wildcard-principal"
    elif kind == TRUST and accounts:
        if not (condition.get("StringEquals") or {}).get("sts:ExternalId"):
            yield "external-id"
        callers = [text(arn) for arn in many((condition.get("ArnEquals") or {}).get("aws:PrincipalArn"))]
        names_accounts = all(re.search(r"^\d{12}$|:root$", account) for account in accounts)
        if not names_accounts or not callers or any("*" in arn or "?" in arn for arn in callers):
            yield "principal-arn"
    if many(named.get("Service")):
        keys = {key.lower() for operator in condition.values() for key in operator}
        if not keys & {"aws:sourceaccount", "aws:sourcearn"}:
            yield "source-account"
    if kind == IDENTITY and any(is_wide(text(arn)) for arn in many(statement.get("Resource"))):
        yield "wildcard-resource"


def is_wide(arn):
    """Everything, everything of a kind, or something in every account."""
    # A partition or a region that is filled in has colons of its own.
    parts = re.sub(r"\$\{[^}]*\}", "x$", arn).split(":", 5)
    if len(parts) < 6:
        return arn == "*"
    account, resource = parts[4], parts[5]
    return account == "*" or re.fullmatch(r"\*|[a-z-]+[/:]\*", resource) is not None


def explained(source, sid):
    """Whether the line above a statement, or above the !If around it, is a comment."""
    lines = source.splitlines()
    for number, line in enumerate(lines):
        if re.match(rf"\s*- Sid: {re.escape(sid)}\s*$", line):
            above = number - 1
            while re.match(r"\s*- (!If|[A-Za-z]+)\s*$", lines[above]):
                above -= 1
            if not lines[above].strip().startswith("#"):
                return False
    return True


def published(resources):
    """Callers that name a function without a version or an alias of it."""
    functions = {name for name, resource in resources.items() if resource["Type"] == "AWS::Serverless::Function"}
    for name, resource in resources.items():
        properties = resource.get("Properties") or {}
        called = [*(properties.get("DefinitionSubstitutions") or {}).values(), properties.get("IntegrationUri")]
        if resource["Type"] == "AWS::Lambda::Permission":
            called.append(properties.get("FunctionName"))
        for value in called:
            if isinstance(value, dict) and {value.get("Ref"), str(value.get("GetAtt")).split(".")[0]} & functions:
                yield f"{name}: it calls {value} without a version or an alias"


def frozen_parameters(template):
    """Parameters whose new value would change a published function's environment and not its version."""
    default = ((template.get("Globals") or {}).get("Function") or {})
    for name, resource in template["Resources"].items():
        properties = resource.get("Properties") or {}
        if resource["Type"] != "AWS::Serverless::Function" or not {**default, **properties}.get("AutoPublishAlias"):
            continue
        described = text(properties.get("VersionDescription", ""))
        environments = [of.get("Environment") or {} for of in (default, properties)]
        used = set(re.findall(r"'Ref': '(\w+)'|\$\{(\w+)\}", str(environments)))
        for parameter in sorted({one or other for one, other in used} & set(template.get("Parameters") or {})):
            if f"${{{parameter}}}" not in described:
                yield f"{name}: parameter {parameter} is not in its VersionDescription"
            if resource.get("UpdateReplacePolicy") != "Retain":
                yield f"{name}: a version that parameter {parameter} replaces is not retained"


def named(value):
    """The resource that a dimension names, by reference or by its name."""
    return value.get("Ref") or str(value.get("GetAtt", "")).split(".")[0]


def unalarmed(resources):
    """What may go wrong with nobody hearing of it."""
    wanted = {"AWS::Serverless::StateMachine": ["ExecutionsFailed", "ExecutionsTimedOut", "ExecutionsAborted"],
              "AWS::Serverless::Function": ["Errors", "Throttles"]}
    alarms = set()
    for name, resource in resources.items():
        if resource["Type"] == "AWS::CloudWatch::Alarm":
            properties = resource["Properties"]
            alarms |= {(properties["MetricName"], named(of["Value"])) for of in properties.get("Dimensions", [])}
            if not properties.get("AlarmActions"):
                yield f"{name}: it notifies nobody"
    if not alarms and not any(resource["Type"] in wanted for resource in resources.values()):
        return  # nothing runs here
    for name, resource in resources.items():
        metrics = wanted.get(resource["Type"], [])
        if resource["Type"] == "AWS::SQS::Queue":
            gives_up = "RedrivePolicy" in resource.get("Properties", {})
            metrics = ["ApproximateAgeOfOldestMessage" if gives_up else "ApproximateNumberOfMessagesVisible"]
        for metric in metrics:
            if (metric, name) not in alarms:
                yield f"{name}: no alarm on its {metric}"


def unkept_logs(template):
    """Logs that lie where nobody ends them, and roles that could make such groups."""
    resources = template["Resources"]
    default = ((template.get("Globals") or {}).get("Function") or {}).get("LoggingConfig") or {}
    groups = {name for name, resource in resources.items() if resource["Type"] == "AWS::Logs::LogGroup"}
    functions = {name for name, resource in resources.items() if resource["Type"] == "AWS::Serverless::Function"}
    for name in sorted(functions):
        group = {**default, **(resources[name].get("Properties") or {}).get("LoggingConfig", {})}.get("LogGroup")
        if not isinstance(group, dict) or named(group) not in groups:
            yield f"{name}: it logs to no group of this template"
    for name in sorted(groups):
        if not (resources[name].get("Properties") or {}).get("RetentionInDays"):
            yield f"{name}: what it keeps never ends"
    for name, resource in resources.items():
        for kind, statement in statements(resource) if functions else []:
            actions = [action.lower() for action in many(statement.get("Action"))]
            may = any(fnmatch.fnmatchcase("logs:createloggroup", action) for action in actions)
            if kind == IDENTITY and statement.get("Effect") == "Allow" and may:
                yield f"{name}: statement {statement.get('Sid')} lets it make log groups"


def unretained(resources):
    """Data that would go with its stack."""
    for name, resource in resources.items():
        if resource["Type"] not in ("AWS::S3::Bucket", "AWS::DynamoDB::Table"):
            continue
        if resource.get("DeletionPolicy") not in ("Retain", "RetainExceptOnCreate"):
            yield f"{name}: it goes with the stack"
        if resource.get("UpdateReplacePolicy") != "Retain":
            yield f"{name}: it goes when another one takes its place"


def check(path):
    """Findings in one template, as (rule, sentence)."""
    source = path.read_text()
    template = yaml.load(source, Loader)
    for rule, findings in [("published", published(template["Resources"])),
                           ("frozen-parameter", frozen_parameters(template)),
                           ("alarmed", unalarmed(template["Resources"])),
                           ("logs", unkept_logs(template)),
                           ("retained", unretained(template["Resources"]))]:
        for finding in findings:
            yield rule, f"{path}: {finding}"
    must_explain = (template.get("Metadata") or {}).get("Explained")
    for name, resource in template["Resources"].items():
        reasons = (resource.get("Metadata") or {}).get("Reasons") or {}
        used = set()
        for kind, statement in statements(resource):
            sid = statement.get("Sid", "")
            rules = list(broken_rules(kind, statement))
            if must_explain and sid and not explained(source, sid):
                rules.append("explained")
            for rule in rules:
                if str((reasons.get(rule) or {}).get(sid) or "").strip():
                    used.add((rule, sid))
                else:
                    yield rule, f"{path}: {name}: statement {sid or '(without Sid)'} breaks rule {rule}"
        for rule, of_rule in reasons.items():
            for sid in of_rule:
                if (rule, sid) not in used:
                    yield "stale-reason", f"{path}: {name}: a reason for {rule} of {sid}, which does not break it"


def self_test():
    """Sentences about bad templates that are not caught for what they are."""
    bad = sorted((pathlib.Path(__file__).parent / "bad").glob("*.yaml"))
    known = set(re.findall(r"^    ([a-z-]+)  +\S", __doc__, re.MULTILINE))
    broken = {path: path.name.split(".")[0] for path in bad}
    for rule in sorted(known - set(broken.values())):
        yield f"rule {rule} has no bad template"
    for path, rule in broken.items():
        found = {rule for rule, _ in check(path)}
        if found != {rule}:
            yield f"{path}: expected {rule}, found {', '.join(sorted(found)) or 'nothing'}"


def main(arguments):
    if arguments == ["--self-test"]:
        findings = list(self_test())
    else:
        findings = [sentence for name in arguments for _, sentence in check(pathlib.Path(name))]
    print("\n".join(findings), end="\n" if findings else "")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
