"""The workflows, as far as they can be judged without running: their jobs, steps, expressions and scripts."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster.paths import REPOSITORY

FILES = sorted((REPOSITORY / ".github" / "workflows").glob("*.yaml"))
CONTEXTS = {"github", "env", "vars", "secrets", "runner", "matrix"}
FUNCTIONS = {"hashFiles", "failure", "always", "success"}
JOB = {"needs", "runs-on", "timeout-minutes", "permissions", "env", "steps", "strategy", "if"}
STEP = {"name", "uses", "with", "run", "if", "env", "id", "shell"}
EXPRESSION = re.compile(r"\$\{\{(.*?)\}\}", re.DOTALL)


def read(path: Path) -> dict[Any, Any]:
    """A workflow; YAML 1.1 takes its `on` for true."""
    document: dict[Any, Any] = yaml.safe_load(path.read_text())
    return document


def steps(path: Path) -> list[dict[str, Any]]:
    """Steps of all jobs."""
    return [step for job in read(path)["jobs"].values() for step in job["steps"]]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_jobs_are_bounded_in_time_and_need_jobs_that_there_are(path: Path) -> None:
    document = read(path)
    assert {"name", True, "permissions", "jobs"} <= set(document)
    jobs = document["jobs"]
    needs = {
        name: {job["needs"]} if isinstance(job.get("needs"), str) else set(job.get("needs", []))
        for name, job in jobs.items()
    }
    assert set().union(*needs.values()) <= set(jobs)
    list(TopologicalSorter(needs).static_order())
    for name, job in jobs.items():
        assert set(job) <= JOB, name
        assert 0 < job["timeout-minutes"] <= 360, name
        runs_on = job["runs-on"]
        machines = job["strategy"]["matrix"]["machine"] if runs_on == "${{ matrix.machine }}" else [runs_on]
        assert all(re.fullmatch(r"ubuntu-\d\d\.04(-arm)?", machine) for machine in machines), name


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_step_runs_a_script_that_bash_parses_or_an_action_of_one_version(path: Path) -> None:
    for step in steps(path):
        assert set(step) <= STEP, step
        assert ("uses" in step) != ("run" in step), step
        if "uses" in step:
            assert (
                re.fullmatch(r"[\w./-]+@v\d+(\.\d+)*|[\w./-]+@[0-9a-f]{40}", step["uses"])
                or "/download-" in step["uses"]
            )
        else:
            script = EXPRESSION.sub("expression", step["run"])
            done = subprocess.run(["bash", "-n", "-c", script], capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_expressions_ask_what_there_is_and_no_script_takes_a_strangers_words(path: Path) -> None:
    text = path.read_text()
    for expression in EXPRESSION.findall(text):
        for word in re.findall(r"(?<![\w.'])([A-Za-z]\w*)(?=[.(])", re.sub(r"'[^']*'", "''", expression)):
            assert word in CONTEXTS | FUNCTIONS, expression
    assert text.count("${{") == len(EXPRESSION.findall(text))
    for step in steps(path):
        assert not re.search(r"\$\{\{ *github\.(event|head_ref)", step.get("run", "")), (
            "a script of whoever names a branch"
        )


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_what_one_job_takes_another_has_left(path: Path) -> None:
    left = [step["with"]["name"] for step in steps(path) if step.get("uses", "").startswith("actions/upload-artifact")]
    assert len(set(left)) == len(left)
    for step in steps(path):
        if step.get("uses", "").startswith("actions/download-artifact"):
            begins = step["with"].get("pattern", "*").removesuffix("*")
            assert any(name.startswith(begins) for name in left)


def test_actionlint_has_no_word_to_say() -> None:
    program = os.environ.get("SLIPWAY_ACTIONLINT") or shutil.which("actionlint")
    if not program:
        pytest.skip("no actionlint: put it on PATH, or name it in SLIPWAY_ACTIONLINT")
    done = subprocess.run([program, "-no-color", *map(str, FILES)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
