"""The image is built from what is locked, holds no secret, and runs as nobody; told from its Dockerfile.

There is no Docker where these tests run: they read the file as Docker would, instruction by instruction.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest

from tests.kafka_pipeline.deploy.test_chart import manifests

ROOT: Final = Path(__file__).parents[3]
DOCKERFILE: Final = ROOT / "deploy" / "docker" / "Dockerfile"


def instructions() -> list[tuple[str, str]]:
    """Return each instruction with its arguments, on one line."""
    text = re.sub(r"^\s*#.*\n", "", DOCKERFILE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    lines = re.sub(r"\\\n\s*", "", text).splitlines()
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in lines if line.strip())]


def stages() -> list[list[tuple[str, str]]]:
    """Return the instructions of each stage, the last one being the image."""
    found: list[list[tuple[str, str]]] = []
    for word, rest in instructions():
        if word == "FROM":
            found.append([])
        if found:
            found[-1].append((word, rest))
    return found


def of(word: str, stage: int = -1) -> list[str]:
    """Return the arguments of every such instruction of a stage."""
    return [rest for name, rest in stages()[stage] if name == word]


def test_what_builds_the_image_is_not_in_it() -> None:
    """Two stages of one base; of the first only the finished environment is taken, and pip is gone from it."""
    assert [of("FROM", 0), of("FROM", 1)] == [["${BASE} AS build"], ["${BASE}"]]
    assert of("COPY") == ["--from=build /opt/kafka-pipeline /opt/kafka-pipeline"]
    assert "pip uninstall --yes pip" in of("RUN", 0)[-1]


def test_every_package_is_installed_by_its_locked_hash() -> None:
    """Ours alone comes without one, from the source beside it and from nowhere else."""
    installs = [step for run in of("RUN", 0) for step in run.split("&&") if re.search(r"pip (install|wheel)", step)]
    assert len(installs) == 4
    assert all("--require-hashes --only-binary=:all:" in step or "--no-deps" in step for step in installs)
    assert all("--no-index" in step for step in installs if "--require-hashes" not in step)


def test_the_tool_that_builds_the_wheel_is_taken_from_the_lock() -> None:
    """The pattern in the file finds one entry, with its hashes."""
    lines = (ROOT / "requirements-dev.txt").read_text(encoding="utf-8").splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("setuptools=="))
    end = next(number for number in range(start, len(lines)) if not lines[number].endswith("\\"))
    assert "--hash=sha256:" in lines[end]
    assert r"awk '/^setuptools==/,!/\\$/'" in of("RUN", 0)[2]


def test_nobody_in_the_image_is_root_and_the_chart_says_the_same() -> None:
    """By number, so that Kubernetes can tell; the folders that are mounted belong to it."""
    assert of("USER") == ["10001:10001"]
    (run,) = of("RUN")
    assert "install --directory --owner=10001 --group=10001 /data /cache" in run
    pod = manifests("smallest", "Deployment")[0]["spec"]["template"]["spec"]
    assert (pod["securityContext"]["runAsUser"], pod["securityContext"]["runAsGroup"]) == (10001, 10001)


def test_a_signal_reaches_the_program() -> None:
    """No shell in between: SIGTERM drains, and the arguments are a command of ours."""
    assert of("ENTRYPOINT") == ['["kafka-pipeline"]']
    assert of("STOPSIGNAL") == ["SIGTERM"]


@pytest.mark.parametrize("word", ["ADD", "HEALTHCHECK", "VOLUME"])
def test_some_instructions_are_not_there(word: str) -> None:
    """Nothing is fetched by address, probes are asked from outside, and no volume hides what is in the image."""
    assert [rest for name, rest in instructions() if name == word] == []


def test_no_secret_and_no_address_is_in_any_layer() -> None:
    """Neither in the file nor in what it copies: the context holds what is named, and no more."""
    text = DOCKERFILE.read_text(encoding="utf-8").lower()
    assert re.findall(r"token|secret|password|index-url|https?://", text) == []
    ignored = [line for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines() if line[:1] != "#"]
    assert ignored[0] == "*"
    copied = {name for rest in of("COPY", 0) for name in rest.split()[:-1]}
    assert copied == {line.removeprefix("!") for line in ignored if line.startswith("!")}
    assert all((ROOT / name).exists() for name in copied)
