"""Holds the papers against the tree: python3 .ci/papers.py [crosspilot]

- Every link within the repository leads somewhere, to a heading where it names one.
- Every path that is named in backticks is there.
- docs/run-lifecycle.md has one row for each state of statemachine/train.asl.json.
- Every command of a console block parses, as the given binary of `crosspilot` says.
"""

import json
import pathlib
import re
import shlex
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
FOLDERS = "crates|docs|infra|statemachine|tests|.ci"
problems = []


def papers():
    listed = subprocess.run(["git", "ls-files", "*.md"], cwd=ROOT, check=True, capture_output=True, text=True)
    return [ROOT / name for name in listed.stdout.splitlines()]


def anchors(text):
    """The headings' anchors, as GitHub makes them."""
    text = re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)
    headings = re.findall(r"^#+ (.*)$", text, flags=re.M)
    return {re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


def links(paper, text):
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"https?:", target):
            continue
        path, _, anchor = target.partition("#")
        leads_to = (paper.parent / path).resolve() if path else paper
        if not leads_to.exists():
            problems.append(f"{paper.relative_to(ROOT)}: the link {target} leads nowhere")
        elif anchor and anchor not in anchors(leads_to.read_text()):
            problems.append(f"{paper.relative_to(ROOT)}: {target} has no such heading")


def paths(paper, text):
    for path in re.findall(rf"`((?:{FOLDERS})/[\w./-]+)`", text):
        if not (ROOT / path).exists():
            problems.append(f"{paper.relative_to(ROOT)}: there is no {path}")


def states():
    machine = json.loads((ROOT / "statemachine/train.asl.json").read_text())
    rows = re.findall(r"^\| `(\w+)` \|", (ROOT / "docs/run-lifecycle.md").read_text(), flags=re.M)
    if sorted(rows) != sorted(machine["States"]):
        differ = sorted(set(rows) ^ set(machine["States"])) or "one stands there twice"
        problems.append(f"docs/run-lifecycle.md and train.asl.json differ: {differ}")


def commands(paper, text, binary):
    for block in re.findall(r"```console\n(.*?)```", text, flags=re.S):
        for line in re.sub(r"\\\n\s*", "", block).splitlines():
            called = re.match(r"\s*\$ (.*)$", line)
            for command in called[1].split("; ") if called else []:
                command = re.sub(r"^\w+=\$\((.*?)[|)].*$", r"\1", command)
                if not command.startswith(("crosspilot ", "cargo run -- ")):
                    continue
                words = shlex.split(command, comments=True)
                words = words[2:] if words[0] == "cargo" else words
                # With --help at its end, all before it is read and nothing is done.
                asked = [word for word in words[1:] if word != "..."] + ["--help"]
                said = subprocess.run([binary, *asked], capture_output=True, text=True)
                if said.returncode != 0:
                    problems.append(f"{paper.relative_to(ROOT)}: {shlex.join(words)}: {said.stderr.strip()}")
                yield command


def main():
    checked, all_papers = [], papers()
    for paper in all_papers:
        text = paper.read_text()
        links(paper, text)
        paths(paper, text)
        if len(sys.argv) > 1:
            checked.extend(commands(paper, text, sys.argv[1]))
    states()
    if len(sys.argv) > 1 and len(checked) < 20:
        problems.append(f"only {len(checked)} commands were found")
    for problem in problems:
        print(problem, file=sys.stderr)
    print(f"papers: {len(all_papers)} files, {len(checked)} commands, {len(problems)} problems")
    sys.exit(1 if problems else 0)


main()
