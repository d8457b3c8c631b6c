"""Principals as AWS keeps and compares them.

IAM stores a role or user that a trust policy names as its unique id. Made again
under the same name, it has another id, and the policy no longer names it; one
that does not exist cannot be named at all (IAM User Guide, "AWS JSON policy
elements: Principal"). ``aws:PrincipalArn`` of a session is the ARN of its role,
a text (IAM User Guide, "AWS global condition context keys"). MiniStack compares
ARNs in both places, and the session's own; this is patched here.
"""

import json
import re

_ENTITY = re.compile(r"arn:aws[a-z-]*:iam::(\d{12}):(role|user)/(?:.*/)?([^/]+)")


def patch():
    from ministack.core import iam_evaluator
    from ministack.services import iam
    from ministack.services.cloudformation import provisioners

    resolve, matches = iam_evaluator._resolve_condition_key, iam_evaluator.evaluate_trust_policy
    refuse, role_xml = iam._trust_policy_not_principal_error, iam._role_xml
    create, update = iam._create_role, iam._update_assume_role_policy

    def resolve_condition_key(key, asked):
        found = resolve(key, asked)
        return _role_of(found) if key.lower() == "aws:principalarn" else found

    def refused(document):
        """IAM's sentence about a trust policy that it does not take."""
        return refuse(document) or _missing(document)

    def saving(operation):
        def save(parameters):
            answer = operation(parameters)
            if answer[0] < 400:
                _keep_ids(iam._roles[iam._p(parameters, "RoleName")])
            return answer
        return save

    def provisioning(operation):
        def provision(*arguments, **named):
            answer = operation(*arguments, **named)
            _keep_ids(iam._roles[answer[0]])
            return answer
        return provision

    def shown(name, boundary=True):
        role = iam._roles[name]
        iam._roles[name] = {**role, "AssumeRolePolicyDocument": _with_arns(role["AssumeRolePolicyDocument"])}
        try:
            return role_xml(name, boundary)
        finally:
            iam._roles[name] = role

    iam_evaluator._resolve_condition_key = resolve_condition_key
    iam_evaluator.evaluate_trust_policy = lambda document, caller, asked=None: matches(_with_arns(document), caller, asked)
    iam._trust_policy_not_principal_error = refused
    iam._role_xml = shown
    iam._create_role, iam._update_assume_role_policy = saving(create), saving(update)
    # The table of operations holds the functions that were there at its making.
    for name, table in list(vars(iam).items()):
        if isinstance(table, dict) and table.get("CreateRole") is create:
            table.update({"CreateRole": iam._create_role, "UpdateAssumeRolePolicy": iam._update_assume_role_policy})
    handlers = provisioners._RESOURCE_HANDLERS["AWS::IAM::Role"]
    handlers.update({kind: provisioning(handlers[kind]) for kind in ("create", "update")})


def _role_of(arn):
    """The ARN of a session's role; any other principal's own."""
    from ministack.services import iam

    found = re.fullmatch(r"arn:(aws[a-z-]*):sts::(\d{12}):assumed-role/([^/]+)/.*", str(arn))
    if not found:
        return arn
    partition, account, name = found.groups()
    role = iam._roles.get_scoped(account, None, name) or {}
    return role.get("Arn") or f"arn:{partition}:iam::{account}:role/{name}"


def _entity(arn):
    """The id of the role or user of this ARN, if it exists; no string if this is no such ARN."""
    from ministack.services import iam

    found = _ENTITY.fullmatch(arn)
    if not found:
        return arn
    account, kind, name = found.groups()
    store, identity = (iam._roles, "RoleId") if kind == "role" else (iam._users, "UserId")
    entity = store.get_scoped(account, None, name) or {}
    return entity.get(identity) if entity.get("Arn") == arn else None


def _named(document):
    """The document as a value, and its lists of AWS principals."""
    document = json.loads(document) if isinstance(document, str) else document
    statements = (document or {}).get("Statement") or []
    principals = []
    for statement in [statements] if isinstance(statements, dict) else statements:
        principal = statement.get("Principal")
        if isinstance(principal, dict) and "AWS" in principal:
            named = principal["AWS"]
            principal["AWS"] = named = [named] if isinstance(named, str) else list(named)
            principals.append(named)
    return document, principals


def _missing(document):
    try:
        _, principals = _named(json.loads(json.dumps(document)))
    except (ValueError, AttributeError):
        return None
    for named in principals:
        for arn in named:
            if _entity(arn) is None:
                return f'Invalid principal in policy: "AWS":"{arn}"'
    return None


def _keep_ids(role):
    document, principals = _named(role["AssumeRolePolicyDocument"])
    if principals:
        for named in principals:
            named[:] = [_entity(arn) or arn for arn in named]
        role["AssumeRolePolicyDocument"] = json.dumps(document)


def _with_arns(document):
    """A stored document with the ARNs of the principals that still exist."""
    from ministack.services import iam

    try:
        document, principals = _named(document)
    except (ValueError, AttributeError):
        return document
    ids = {name for named in principals for name in named if re.fullmatch(r"A(ROA|IDA)[A-Z0-9]+", name)}
    if not ids:
        return json.dumps(document)
    arns = {}
    for store, identity in ((iam._roles, "RoleId"), (iam._users, "UserId")):
        for entity in list(store._data.values()):
            if entity.get(identity) in ids:
                arns[entity[identity]] = entity["Arn"]
    for named in principals:
        named[:] = [arns.get(name, name) for name in named]
    return json.dumps(document)
