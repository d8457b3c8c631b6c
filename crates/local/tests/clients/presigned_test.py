"""Requests that are signed in the query, by botocore itself: S3's presigned URLs, STS and SageMaker.

    python presigned_test.py EMULATOR_URL SAGEMAKER_URL DIRECTORY
"""

import datetime
import hashlib
import json
import os
import urllib.error
import urllib.request
from unittest import mock
from urllib.parse import parse_qsl, urlencode, urlsplit

import botocore.auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from clients import *  # noqa: F403

TARGET = {"X-Amz-Target": "SageMaker.ListEndpoints", "Content-Type": "application/x-amz-json-1.1"}


def ago(seconds):
    """Whatever is signed in it was signed so many seconds ago."""
    moment = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(seconds=seconds)
    return mock.patch("botocore.auth.get_current_datetime", return_value=moment.replace(tzinfo=None))


def send(url, body=None, headers=(), method=None):
    """The status and the body of the answer to a request without any other credentials."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body, dict(headers), method=method)) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def ask(question, **about):
    status, answer = send(f"{EMULATOR}/_crosspilot/{question}", json.dumps(about).encode(),
                          {"x-crosspilot-token": os.environ["CROSSPILOT_TOKEN"]})
    assert status == 200, answer
    return json.loads(answer)


def changed(url, **query):
    """The same URL with other parameters: None takes one out."""
    parts = urlsplit(url)
    parameters = {**dict(parse_qsl(parts.query, keep_blank_values=True)), **query}
    return parts._replace(query=urlencode({k: v for k, v in parameters.items() if v is not None})).geturl()


def user(name, *statements):
    iam.create_user(UserName=name)
    if statements:
        iam.put_user_policy(UserName=name, PolicyName="p", PolicyDocument=allow(*statements))
    key = iam.create_access_key(UserName=name)["AccessKey"]
    return key["AccessKeyId"], key["SecretAccessKey"], None


def assumed(name):
    found = client("sts", root(VENDOR)).assume_role(RoleArn=ROLE + "access", RoleSessionName=name, ExternalId="agreed")
    found = found["Credentials"]
    return found["AccessKeyId"], found["SecretAccessKey"], found["SessionToken"]


iam.put_role_policy(RoleName="access", PolicyName="reads", PolicyDocument=allow(
    statement("s3:GetObject", "arn:aws:s3:::acme-ml/*"), statement("sagemaker:ListEndpoints", "*")))
reader = user("reader", statement("s3:GetObject", "arn:aws:s3:::acme-ml/a b+é.csv"),
              statement("sagemaker:ListEndpoints", "*"))
nobody = user("nobody")
UNKNOWN = ("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", None)

# -- S3 ------------------------------------------------------------------------

KEY = "a b+é.csv"
s3.put_object(Bucket="acme-ml", Key=KEY, Body=b"x,y\n")
s3.put_object(Bucket="acme-ml", Key="other", Body=b"z\n")


def url_of(credentials, operation="get_object", expires=60, key=KEY):
    found = boto3.client("s3", endpoint_url=EMULATOR, region_name=REGION, aws_access_key_id=credentials[0],
                         aws_secret_access_key=credentials[1], aws_session_token=credentials[2],
                         config=Config(signature_version="s3v4"))
    return found.generate_presigned_url(operation, {"Bucket": "acme-ml", "Key": key}, ExpiresIn=expires)


session = assumed("presigned")
for credentials in (root(CUSTOMER), reader, session):
    assert send(url_of(credentials)) == (200, "x,y\n")
assert send(url_of(root(CUSTOMER), "put_object", key="new"), b"made", {"content-type": ""}, "PUT")[0] == 200
assert s3.get_object(Bucket="acme-ml", Key="new")["Body"].read() == b"made"
with ago(3000):
    assert send(url_of(reader, expires=3600)) == (200, "x,y\n")
    late = url_of(reader, expires=2900)
good = url_of(reader)
for what, url, code in [
    ("expired", late, "AccessDenied"),
    ("made to last", changed(late, **{"X-Amz-Expires": "9000"}), "SignatureDoesNotMatch"),
    ("of another object", url_of(root(CUSTOMER)).replace("/acme-ml/a", "/acme-ml/b"), "SignatureDoesNotMatch"),
    ("of another kind", changed(good, **{"response-content-type": "text/html"}), "SignatureDoesNotMatch"),
    ("of an unknown key", url_of(UNKNOWN), "InvalidAccessKeyId"),
    ("by a key that is not its signer's", changed(good, **{
        "X-Amz-Credential": dict(parse_qsl(urlsplit(good).query))["X-Amz-Credential"].replace(
            reader[0], root(CUSTOMER)[0])}),
     "SignatureDoesNotMatch"),
    ("of another account", url_of(root(VENDOR)), "AccessDenied"),
    ("of somebody who may not", url_of(nobody), "AccessDenied"),
    ("of what its signer may not", url_of(reader, key="other"), "AccessDenied"),
]:
    status, answer = send(url)
    assert status == 403 and f"<Code>{code}" in answer, (what, status, answer)
assert send(good, method="DELETE")[0] == 403
assert send(changed(url_of(session), **{"X-Amz-Security-Token": None}))[0] in (400, 403)

# What the emulator notes and breaks on demand, it does for these, too.
principal = f"arn:aws:sts::{CUSTOMER}:assumed-role/access/presigned"
assert any(call["what"].startswith("/acme-ml/a") for call in ask("calls", principal_prefix=principal)["calls"])
ask("fault", operation="s3:GetObject", about=[principal], effect="throttle")
status, answer = send(url_of(session))
assert status == 503 and "<Code>SlowDown</Code>" in answer, (status, answer)
assert send(url_of(session))[0] == 200

# -- STS, which takes no notice of the expiry ------------------------------------


def identity(credentials, expires=60):
    return client("sts", credentials).generate_presigned_url("get_caller_identity", ExpiresIn=expires, HttpMethod="GET")


status, answer = send(identity(reader))
assert status == 200 and f"arn:aws:iam::{CUSTOMER}:user/reader" in answer, (status, answer)
with ago(600):
    assert send(identity(reader))[0] == 200
with ago(1000):
    assert send(identity(reader, 3600))[0] == 403
assert send(changed(identity(reader), Action="GetSessionToken"))[0] == 403
assert send(identity(UNKNOWN))[0] == 403

# -- SageMaker -------------------------------------------------------------------


def listed(credentials, expires=60, service="sagemaker", signed=b"{}", sent=b"{}", **query):
    """What it says to ListEndpoints that is signed so: the code of a refusal."""
    request = AWSRequest("POST", SAGEMAKER + "/", headers=TARGET)
    signer = botocore.auth.SigV4QueryAuth(Credentials(*credentials), service, REGION, expires=expires)
    signer.payload = lambda _request: hashlib.sha256(signed).hexdigest()
    signer.add_auth(request)
    status, answer = send(changed(request.url, **query), sent, TARGET)
    answer = json.loads(answer)
    assert status == (400 if "__type" in answer else 200), (status, answer)
    return answer.get("__type") or answer["Endpoints"]


session = assumed("query")
for credentials in (root(CUSTOMER), reader, session):
    assert listed(credentials) == [], credentials[0]
assert {"principal": f"arn:aws:sts::{CUSTOMER}:assumed-role/access/query", "method": "POST",
        "what": "sagemaker:ListEndpoints", "resource": "*"} in ask("calls", principal_prefix=principal[:-9])["calls"]
with ago(50):
    assert listed(reader, 60) == []
    assert listed(reader, 40) == "InvalidSignatureException"
    assert listed(reader, 40, **{"X-Amz-Expires": "600"}) == "InvalidSignatureException"
with ago(1000):
    assert listed(reader, 3600) == "InvalidSignatureException"
for what, code, arguments in [
    ("another body", "InvalidSignatureException", {"sent": b'{"MaxResults": 1}'}),
    ("another signature", "InvalidSignatureException", {"X-Amz-Signature": "0" * 64}),
    ("another parameter", "InvalidSignatureException", {"Version": "1"}),
    ("an endless one", "IncompleteSignatureException", {"X-Amz-Expires": "never"}),
    ("signed for S3", "InvalidSignatureException", {"service": "s3"}),
    ("no date", "IncompleteSignatureException", {"X-Amz-Date": None}),
    ("no algorithm", "MissingAuthenticationTokenException", {"X-Amz-Algorithm": None}),
    ("another algorithm", "IncompleteSignatureException", {"X-Amz-Algorithm": "none"}),
]:
    assert listed(reader, **arguments) == code, (what, listed(reader, **arguments))
assert listed(UNKNOWN) == "UnrecognizedClientException"
assert listed(session, **{"X-Amz-Security-Token": None}) == "UnrecognizedClientException"
assert listed((*reader[:1], UNKNOWN[1], None)) == "InvalidSignatureException"
assert listed((CUSTOMER, "test", None)) == "UnrecognizedClientException"
assert listed(nobody) == "AccessDeniedException"
