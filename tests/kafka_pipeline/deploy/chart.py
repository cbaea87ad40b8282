"""Renders the chart with helm itself into `rendered/`: `python -m tests.kafka_pipeline.deploy.chart`, or `make chart`.

Helm is no part of a Python environment, and to build it takes minutes. So what it made of each file in `cases/` is kept
in the repository beside a digest of everything that went in and came out: tests on machines without helm notice every
change that was not rendered anew, and check what was rendered.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import yaml

ROOT: Final = Path(__file__).parents[3]
CHART: Final = ROOT / "deploy" / "helm" / "kafka-pipeline"
HERE: Final = Path(__file__).parent
DIGEST: Final = HERE / "rendered" / "digest.txt"
CASES: Final = tuple(sorted(path.stem for path in (HERE / "cases").glob("*.yaml")))

HELM_MODULE: Final = "helm.sh/helm/v3/cmd/helm@v3.22.0"
BUILT_HELM: Final = ROOT / ".cache" / "helm" / "helm"


def case(name: str) -> dict[str, Any]:
    """Return the values of a case, as its user wrote them."""
    return dict(yaml.safe_load((HERE / "cases" / f"{name}.yaml").read_text(encoding="utf-8")))


def kept(name: str) -> Path:
    """Return the file with what helm made of a case."""
    return HERE / "rendered" / f"{name}.yaml"


def digest() -> str:
    """Return the digest of chart, cases and what was made of them."""
    made = hashlib.sha256()
    for folder in (CHART, HERE / "cases", HERE / "rendered"):
        for path in sorted(folder.rglob("*")):
            if path.is_file() and path != DIGEST:
                made.update(f"{path.relative_to(ROOT).as_posix()}\0".encode() + path.read_bytes() + b"\0")
    return made.hexdigest()


def find_helm() -> str | None:
    """Return where helm is: what HELM names, in the path, or built by `make chart` before."""
    return os.environ.get("HELM") or shutil.which("helm") or (str(BUILT_HELM) if BUILT_HELM.is_file() else None)


def render(helm: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Let helm render the chart as release `test` in namespace `claims`."""
    command = [helm, "template", "test", str(CHART), "--namespace", "claims", "--kube-version", "1.32", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def render_case(helm: str, name: str) -> str:
    """Return what helm makes of a case. Raises ValueError with helm's words if it refuses."""
    ended = render(helm, "--values", str(HERE / "cases" / f"{name}.yaml"))
    if ended.returncode != 0:
        raise ValueError(ended.stderr)
    return ended.stdout


def main() -> None:
    """Render every case, with a helm that Go builds once where there is none."""
    helm = find_helm()
    if helm is None:
        go = shutil.which("go")
        if go is None:
            sys.exit("neither helm nor Go is here: install one of them, or name helm in HELM")
        sys.stderr.write("Building helm; this takes some minutes, once.\n")
        subprocess.run([go, "install", HELM_MODULE], env=os.environ | {"GOBIN": str(BUILT_HELM.parent)}, check=True)
        helm = str(BUILT_HELM)
    for name in CASES:
        kept(name).write_text(render_case(helm, name), encoding="utf-8")
    DIGEST.write_text(f"{digest()}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
