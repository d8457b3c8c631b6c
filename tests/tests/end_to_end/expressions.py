"""Puts every JSONata expression of every machine through the local cloud's engine.

    python expressions.py <folder of the machines>

Each must parse. What a catcher makes of an error must have a value, whatever error of
``errors.json`` it is, and so must all that the failure path then makes of that.
Those that ``values.json`` names have the value that stands there.
``statemachine/check.mjs`` does the same with the reference engine.
"""

import json
import pathlib
import sys

import jsonata
from ministack.services import stepfunctions

RUN = {"tenant": "acme", "model": "churn", "run_id": "20260131-0123456789"}
VARIABLES = {
    "run": RUN, "since": 1769860800000, "limit": 16200, "wait": 5, "ask": {"action": "tidy_up"},
    "job": "j", "warnings": [], "comparison": None, "deployment": None, "prediction": {},
}
FAILURE = {"stage": "train", "code": "NoCandidate", "cause": "none"}
MOST = 64 * 1024


def evaluated(template, given, variables, error=None):
    context = {"QueryLanguage": "JSONata", "variables": variables, "Execution": {"Id": "arn", "Input": {"tenant": "acme"}}}
    value = stepfunctions._apply_jsonata_template(template, given, context, error_output=error)
    size = len(json.dumps(value).encode())
    assert size <= MOST, f"{size} bytes"
    return value


def expressions(value):
    if isinstance(value, str) and value.startswith("{%"):
        yield value[2:-2].strip()
    for part in value.values() if isinstance(value, dict) else value if isinstance(value, list) else []:
        yield from expressions(part)


def flows(machine):
    yield machine["States"]
    for state in machine["States"].values():
        if "ItemProcessor" in state:
            yield from flows(state["ItemProcessor"])


def fail(states, variables):
    """What the failure path makes of a failure, in the order in which it comes to it."""
    for name in ["NoteFailure", "ReportFailure", "Failed"]:
        state = states.get(name, {})
        evaluated({key: state[key] for key in ("Arguments", "Error", "Cause") if key in state}, {}, variables)


def caught(states, rule, error, before):
    given = {"tenant": "acme", "state": "waiting"}
    assigned = evaluated(rule.get("Assign", {}), given, before, error)
    output = evaluated(rule["Output"], given, before, error) if "Output" in rule else given
    variables = {**before, **assigned}
    following = states[rule["Next"]]
    if variables["failure"] is not None:
        assert all(isinstance(variables["failure"][part], str) for part in ("stage", "code", "cause")), variables["failure"]
        fail(states, variables)
    elif following["Type"] == "Choice":
        for choice in following["Choices"]:
            taken = evaluated(choice["Condition"], output, variables)
            assert isinstance(taken, bool), choice["Condition"]
            # One that waits and looks again is no failure.
            if taken and "failure" in choice.get("Assign", {}):
                fail(states, {**variables, **evaluated(choice.get("Assign", {}), output, variables)})
    elif following["Type"] == "Fail":
        evaluated({"Error": following["Error"], "Cause": following["Cause"]}, output, variables)


def valued(folder):
    cases = json.loads((folder / "values.json").read_text())
    for case in cases:
        part = json.loads((folder / f"{case['machine']}.asl.json").read_text())
        # A state of a machine, or by way of a point one of a Map in it.
        for name in case["state"].split("."):
            part = part.get("ItemProcessor", part)["States"][name]
        for key in case["at"]:
            part = part[key]
        context = {"QueryLanguage": "JSONata", "variables": VARIABLES, **case.get("context", {})}
        found = stepfunctions._apply_jsonata_template(part, case["input"], context, result=case.get("result"))
        assert found == case["value"], f"{case['machine']} {case['state']} {case['at']} is {found}, not {case['value']}"
    return len(cases)


def main(folder):
    errors = json.loads((folder / "errors.json").read_text())
    for error in errors:
        times = error.pop("times", 1)
        if times > 1:
            error["Cause"] *= times
    parsed = evaluations = 0
    for file in sorted(folder.glob("*.asl.json")):
        machine = json.loads(file.read_text())
        for expression in expressions(machine):
            jsonata.Jsonata.jsonata(expression)
            parsed += 1
        for states in flows(machine):
            for name, state in states.items():
                for rule in state.get("Catch", []):
                    for error in errors:
                        # The failure path begins with a failure.
                        for failure in [FAILURE] if name in ("NoteFailure", "ReportFailure") else [None, FAILURE]:
                            try:
                                caught(states, rule, error, {**VARIABLES, "failure": failure})
                                evaluations += 1
                            except Exception as problem:
                                raise SystemExit(f"{file.name}: {name} catches {str(error)[:200]}: {problem!r}")
    assert evaluations > 100, evaluations
    values = valued(folder)
    print(f"JSONata: {parsed} expressions parse, {evaluations} caught errors come to an end, {values} values are right")


main(pathlib.Path(sys.argv[1]))
