"""What the owners of buckets and event buses may demand of requests, as on AWS.

The pinned MiniStack does not know the account that a request says it expects a
bucket to belong to, the condition key of conditional writes, how small a part of
an upload may be, a bucket's lifecycle in a template, an API's settings there, or an event bus's policy
as a whole with its limits.
"""

import json

# Amazon EventBridge quotas, "Event bus policy size".
_POLICY_CHARACTERS = 10_240
# S3 User Guide, "Amazon S3 multipart upload limits".
_PART_BYTES = 5 << 20


def patch():
    _expect_owners()
    _know_conditional_writes()
    _refuse_small_parts()
    _deploy_lifecycles()
    _take_whole_policies()
    _read_api_settings()


def _expect_owners():
    """A request may name the account that it expects to own the bucket (S3 User Guide, "Verifying bucket ownership")."""
    from ministack.services import s3

    apply = s3._apply_bucket_scope

    def scope(method, bucket, key, headers, *rest, **named):
        expected = headers.get("x-amz-expected-bucket-owner")
        if expected and s3._bucket_owner_account(bucket) not in (None, expected):
            return s3._error("AccessDenied", "Access Denied", 403, f"/{bucket}/{key}" if key else f"/{bucket}")
        return apply(method, bucket, key, headers, *rest, **named)

    s3._apply_bucket_scope = scope


def _know_conditional_writes():
    """Policies may demand them (S3 User Guide, "Enforce conditional writes on Amazon S3 buckets")."""
    from ministack.core import iam_actions

    describe = iam_actions._s3_object_context

    def context(action, query, path, headers):
        found = describe(action, query, path, headers)
        for name in ("if-match", "if-none-match"):
            if action == "s3:PutObject" and headers.get(name):
                found[f"s3:{name}"] = headers[name]
        return found

    iam_actions._s3_object_context = context


def _refuse_small_parts():
    """All parts of an upload but the last have a least size, which its completion judges (S3's error codes)."""
    from ministack.services import s3

    complete = s3._complete_multipart_upload

    def judged(bucket, key, body, query, headers=None):
        upload = s3._multipart_uploads.get(s3._qp(query, "uploadId"))
        parts = upload["parts"] if upload else {}
        if any(len(parts[number]["body"]) < _PART_BYTES for number in sorted(parts)[:-1]):
            return s3._error("EntityTooSmall", "Your proposed upload is smaller than the minimum allowed size",
                             400, f"/{bucket}/{key}")
        return complete(bucket, key, body, query, headers)

    s3._complete_multipart_upload = judged


def _deploy_lifecycles():
    """A template's rules go the way of PutBucketLifecycleConfiguration; what it would refuse fails the stack."""
    from ministack.services import s3
    from ministack.services.cloudformation import provisioners

    def put(bucket, xml):
        status, _, body = s3._put_bucket_lifecycle(bucket, xml)
        if status >= 400:
            raise ValueError(f"AWS::S3::Bucket LifecycleConfiguration rejected: {body!r}")

    provisioners._S3_BUCKET_CONFIGURATIONS += (
        ("LifecycleConfiguration", _lifecycle_xml, put, s3._delete_bucket_lifecycle),)


def _lifecycle_xml(configuration):
    """The body of PutBucketLifecycleConfiguration; a rule with what is not translated here is refused."""
    from xml.etree.ElementTree import Element, SubElement, tostring

    root = Element("LifecycleConfiguration", xmlns="http://s3.amazonaws.com/doc/2006-03-01/")
    for rule in configuration["Rules"]:
        element, rule = SubElement(root, "Rule"), dict(rule)
        SubElement(element, "ID").text = rule.pop("Id")
        SubElement(SubElement(element, "Filter"), "Prefix").text = rule.pop("Prefix")
        SubElement(element, "Status").text = rule.pop("Status")
        if days := rule.pop("ExpirationInDays", None):
            SubElement(SubElement(element, "Expiration"), "Days").text = str(days)
        for name in ("NoncurrentVersionExpiration", "AbortIncompleteMultipartUpload"):
            inner = SubElement(element, name) if name in rule else None
            for key, value in rule.pop(name, {}).items():
                SubElement(inner, key).text = str(value)
        if rule:
            raise ValueError(f"AWS::S3::Bucket LifecycleConfiguration is not offered with {sorted(rule)}")
    return tostring(root)


def _read_api_settings():
    """A template's CORS setting counts like the API's own; settings of a route ask for the route.

    API Gateway refuses a stage with settings of routes that it does not have ("Unable to find Route by key").
    """
    from ministack.services import apigateway
    from ministack.services.cloudformation import provisioners

    def api(change, at):
        def changed(*arguments):
            properties = dict(arguments[at])
            if cors := properties.get("CorsConfiguration"):
                properties["CorsConfiguration"] = {key[0].lower() + key[1:]: value for key, value in cors.items()}
            return change(*arguments[:at], properties, *arguments[at + 1:])

        return changed

    def stage(change, at):
        def changed(*arguments):
            properties = arguments[at]
            known = {route["routeKey"] for route in apigateway._routes.get(properties.get("ApiId"), {}).values()}
            for key in properties.get("RouteSettings") or {}:
                if key not in known:
                    raise ValueError(f"Unable to find Route by key {key} within the provided RouteSettings")
            return change(*arguments)

        return changed

    handlers = provisioners._RESOURCE_HANDLERS
    for kind, judged in (("AWS::ApiGatewayV2::Api", api), ("AWS::ApiGatewayV2::Stage", stage)):
        handlers[kind]["create"] = judged(handlers[kind]["create"], 1)
        handlers[kind]["update"] = judged(handlers[kind]["update"], 2)


def _take_whole_policies():
    """PutPermission takes a policy instead of one statement, and no policy may be longer than the quota."""
    from ministack.core.responses import error_response_json, json_response
    from ministack.services import eventbridge

    put_statement = eventbridge._put_permission

    def put(data):
        name = data.get("EventBusName", "default")
        if name not in eventbridge._event_buses:
            return error_response_json("ResourceNotFoundException", f"Event bus {name} does not exist.", 400)
        before = eventbridge._event_bus_policies.get(name)
        before = json.loads(json.dumps(before)) if before else None
        if "Policy" in data:
            if any(field in data for field in ("Action", "Principal", "StatementId", "Condition")):
                return error_response_json(
                    "ValidationException", "Policy cannot be given together with the parameters of a statement.", 400)
            try:
                policy = json.loads(data["Policy"])
                if not all(isinstance(statement, dict) for statement in policy["Statement"]):
                    raise ValueError(data["Policy"])
            except (ValueError, KeyError, TypeError):
                return error_response_json("ValidationException", "Policy is not a policy document.", 400)
            eventbridge._event_bus_policies[name] = policy
            answer = json_response({})
        else:
            answer = put_statement(data)
        policy = eventbridge._event_bus_policies.get(name) or {}
        if len(json.dumps(policy, separators=(",", ":"))) > _POLICY_CHARACTERS:
            if before is None:
                del eventbridge._event_bus_policies[name]
            else:
                eventbridge._event_bus_policies[name] = before
            return error_response_json(
                "PolicyLengthExceededException", "The event bus policy is too long.", 400)
        return answer

    eventbridge._put_permission = put
