"""The Helm chart makes what Kubernetes takes, runs every worker safely, and says early what is wrong."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Final

import jsonschema
import kubernetes_validate
import pytest
import yaml

from kafka_pipeline.claimx.pipeline import WorkerKind
from kafka_pipeline.claimx.topics import Group, Topics
from kafka_pipeline.config import PipelineConfig, load_config
from tests.kafka_pipeline.deploy.chart import CASES, CHART, DIGEST, case, digest, find_helm, kept, render, render_case

OLDEST, NEWEST = "1.27", "1.37"
"""Versions of Kubernetes whose schemas the manifests must fit."""

NOBODY: Final = "00000000-0000-0000-0000-000000000000"

ENVIRONMENT: Final = {
    "CLAIMX_API_TOKEN": "token",
    "KAFKA_SASL_PASSWORD": "password",
    "AZURE_STORAGE_KEY": "a2V5",
    "AZURE_TENANT_ID": NOBODY,
    "AZURE_CLIENT_ID": NOBODY,
    "AZURE_FEDERATED_TOKEN_FILE": "/var/run/secrets/azure/tokens/azure-identity-token",
}
"""What Secrets, and AKS for a workload identity, put into a pod."""

READS: Final = {
    WorkerKind.INGESTER: (Group.INGESTER, "events"),
    WorkerKind.ENRICHER: (Group.ENRICHER, "enrichment_pending"),
    WorkerKind.DOWNLOADER: (Group.DOWNLOADER, "downloads_pending"),
    WorkerKind.UPLOADER: (Group.UPLOADER, "downloads_cached"),
    WorkerKind.RESULT_PROCESSOR: (Group.RESULT_PROCESSOR, "downloads_results"),
}
"""The group and the main topic of each worker."""

Manifest = dict[str, Any]

BROKEN: Final[list[tuple[Manifest, str]]] = [
    ({"config": {"kafka_bootstrap_servers": "b.example.com:9092"}}, "config"),
    ({"config": {"claimx_api_token": {"value": "secret"}}}, "claimx_api_token"),
    ({"config": {"health_port": 9}}, "health_port"),
    ({"secretEnv": {"CLAIMX_API_TOKEN": "the token itself"}}, "CLAIMX_API_TOKEN"),
    ({"env": {"HEALTH_PORT": "9"}}, "HEALTH_PORT"),
    ({"workers": {"enricher": {"replicas": 0}}}, "replicas"),
    ({"workers": {"enhancer": {"replicas": 1}}}, "enhancer"),
    ({"image": {"digest": "latest"}}, "digest"),
    ({"maintenance": {"retentionHours": 1}}, "retentionHours"),
    ({"cach": {}}, "cach"),
]
"""Values that must be refused, and a word that leads to the mistake."""


@cache
def manifests(name: str, kind: str | None = None) -> list[Manifest]:
    """Return what was made of a case, of one kind or all."""
    if kind is not None:
        return [part for part in manifests(name) if part["kind"] == kind]
    return [part for part in yaml.safe_load_all(kept(name).read_text(encoding="utf-8")) if part]


def pods() -> Iterator[tuple[str, Manifest]]:
    """Return the pod of every Deployment and CronJob of every case, with a name for the test."""
    for name in CASES:
        for made in manifests(name):
            if made["kind"] == "Deployment":
                yield f"{name}/{made['metadata']['name']}", made["spec"]["template"]["spec"]
            if made["kind"] == "CronJob":
                yield f"{name}/{made['metadata']['name']}", made["spec"]["jobTemplate"]["spec"]["template"]["spec"]


def settings_of(name: str, tmp_path: Path) -> PipelineConfig:
    """Load the settings of a case as a worker would: file, then environment."""
    (settings,) = (made for made in manifests(name, "ConfigMap"))
    file = tmp_path / "settings.yaml"
    file.write_text(settings["data"]["settings.yaml"], encoding="utf-8")
    return load_config(file, {}, ENVIRONMENT)


def merged(below: Any, above: Any) -> Any:
    """Lay values over values as helm does."""
    if not (isinstance(below, dict) and isinstance(above, dict)):
        return above
    return below | {key: merged(below.get(key), value) for key, value in above.items()}


def values(*layers: Manifest) -> Manifest:
    """Return the chart's values with these over them."""
    result = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
    for layer in layers:
        result = merged(result, layer)
    return dict(result)


def refusals(given: Manifest) -> str:
    """Return what the schema of the values has against them."""
    schema = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
    return "\n".join(
        f"{error.json_path} {error.message}" for error in jsonschema.Draft7Validator(schema).iter_errors(given)
    )


@pytest.fixture(scope="session")
def helm() -> str:
    """Return helm. It is not built for tests, that takes minutes: the digest tells where it is missing."""
    found = find_helm()
    if found is None:
        pytest.skip("helm is not here (`make chart` builds it): what it made before was checked instead")
    return found


def test_what_is_checked_here_was_made_of_this_chart() -> None:
    """So that a machine without helm checks no yesterday's manifests."""
    current = DIGEST.read_text(encoding="utf-8").strip() == digest()
    assert current, "the chart or a case has changed: run `make chart` and commit tests/kafka_pipeline/deploy/rendered"


@pytest.mark.parametrize("name", CASES)
def test_helm_makes_what_is_kept(helm: str, name: str) -> None:
    """Where helm is, it is asked."""
    assert render_case(helm, name) == kept(name).read_text(encoding="utf-8")


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
@pytest.mark.parametrize("name", CASES)
def test_every_manifest_fits_the_schema_of_kubernetes(name: str, version: str) -> None:
    """Strictly: a field that Kubernetes does not know would be dropped in silence."""
    for made in manifests(name):
        if made["apiVersion"].split("/")[0] not in {"keda.sh", "monitoring.coreos.com"}:
            kubernetes_validate.validate(made, version, strict=True)


@pytest.mark.parametrize("name", CASES)
def test_there_is_a_deployment_and_a_disruption_budget_for_every_worker(name: str) -> None:
    """Under the names that the runbook uses."""
    workers = {kind.value for kind in WorkerKind}
    assert workers == {made["metadata"]["name"] for made in manifests(name, "Deployment")}
    assert workers == {made["metadata"]["name"] for made in manifests(name, "PodDisruptionBudget")}
    assert all(made["spec"]["template"]["spec"]["containers"][0]["args"][-1] == made["metadata"]["name"]
               for made in manifests(name, "Deployment"))  # fmt: skip


@pytest.mark.parametrize(("name", "pod"), list(pods()), ids=[name for name, _ in pods()])
def test_every_pod_is_without_rights_and_writes_only_where_it_must(name: str, pod: Manifest) -> None:
    """No root, no capabilities, no token of the cluster, a read-only root, and its memory bounded."""
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not pod["automountServiceAccountToken"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    writable = {mount["mountPath"] for mount in container["volumeMounts"] if not mount.get("readOnly")}
    assert writable <= {"/data", "/tmp", "/cache"}  # noqa: S108  # mounted empty folders
    assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}
    assert container["resources"]["limits"]["memory"]
    assert name


@pytest.mark.parametrize("name", CASES)
def test_the_settings_of_a_case_are_settings_of_ours(name: str, tmp_path: Path) -> None:
    """The file in the ConfigMap is read by the code that reads it in a pod; large numbers stay whole numbers."""
    config = settings_of(name, tmp_path)
    for field, value in case(name)["config"].items():
        assert getattr(config, field) == value


@pytest.mark.parametrize("name", CASES)
def test_a_pod_is_killed_only_after_it_had_its_time_to_drain(name: str, tmp_path: Path) -> None:
    """The grace period is longer than `shutdown_timeout_seconds`, whatever it is."""
    drain_s = settings_of(name, tmp_path).shutdown_timeout_seconds
    for made in manifests(name, "Deployment"):
        assert made["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] >= drain_s + 10


@pytest.mark.parametrize("name", CASES)
def test_probes_ask_what_a_worker_serves(name: str) -> None:
    """Liveness is progress and fails within a minute; nothing else restarts a worker."""
    for made in manifests(name, "Deployment"):
        (container,) = made["spec"]["template"]["spec"]["containers"]
        paths = {probe: container[probe]["httpGet"]["path"] for probe in container if probe.endswith("Probe")}
        assert paths == {"startupProbe": "/startupz", "livenessProbe": "/livez", "readinessProbe": "/readyz"}
        assert container["livenessProbe"]["periodSeconds"] * container["livenessProbe"]["failureThreshold"] <= 60
        environment = {variable["name"]: variable.get("value") for variable in container["env"]}
        assert environment["HEALTH_PORT"] == str(container["ports"][0]["containerPort"])


@pytest.mark.parametrize("name", CASES)
def test_secrets_are_named_and_never_held(name: str) -> None:
    """The chart makes no Secret, and what a pod needs of one is a reference."""
    assert manifests(name, "Secret") == []
    wanted = case(name).get("secretEnv", {"CLAIMX_API_TOKEN": {"secret": "kafka-pipeline", "key": "claimx-api-token"}})
    for made in manifests(name, "Deployment"):
        (container,) = made["spec"]["template"]["spec"]["containers"]
        references = {
            variable["name"]: variable["valueFrom"]["secretKeyRef"]
            for variable in container["env"]
            if "valueFrom" in variable
        }
        assert references == {
            variable: {"name": place["secret"], "key": place["key"]} for variable, place in wanted.items()
        }


def test_in_cached_mode_downloader_and_uploader_share_one_volume_that_many_nodes_may_write() -> None:
    """Else the uploader looks for files on another disk."""
    (claim,) = manifests("smallest", "PersistentVolumeClaim")
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
    mounts = {
        made["metadata"]["name"]: [
            volume["persistentVolumeClaim"]["claimName"]
            for volume in made["spec"]["template"]["spec"]["volumes"]
            if "persistentVolumeClaim" in volume
        ]
        for made in manifests("smallest", "Deployment")
    }
    used = {name: claims for name, claims in mounts.items() if claims}
    name = claim["metadata"]["name"]
    assert used == {"claimx-downloader": [name], "claimx-uploader": [name]}


def test_in_direct_mode_there_is_no_volume_and_one_uploader() -> None:
    """It works off what cached mode may have left, and is there for the alert that misses it."""
    assert manifests("direct", "PersistentVolumeClaim") == []
    replicas = {made["metadata"]["name"]: made["spec"]["replicas"] for made in manifests("direct", "Deployment")}
    assert replicas["claimx-uploader"] == 1
    assert replicas["claimx-downloader"] > 1


def test_scaling_looks_at_the_groups_and_topics_that_the_workers_read(tmp_path: Path) -> None:
    """With KEDA's three guards: no scaling for one hot partition, a stuck record or a group without offsets."""
    topics = Topics.from_config(settings_of("fabric", tmp_path))
    scaled = {made["spec"]["scaleTargetRef"]["name"]: made["spec"] for made in manifests("fabric", "ScaledObject")}
    assert set(scaled) == {kind.value for kind in WorkerKind}
    for kind, (group, topic) in READS.items():
        (trigger,) = scaled[kind.value]["triggers"]
        metadata = trigger["metadata"]
        assert (metadata["consumerGroup"], metadata["topic"]) == (topics.group(group), getattr(topics, topic))
        assert all(isinstance(value, str) for value in metadata.values())
        guards = ("limitToPartitionsWithLag", "excludePersistentLag", "scaleToZeroOnInvalidOffset")
        assert [metadata[guard] for guard in guards] == ["true"] * 3
        assert trigger["authenticationRef"] == {"name": "event-hubs"}
        assert scaled[kind.value]["minReplicaCount"] >= 1
    assert scaled["claimx-enricher"]["triggers"][0]["metadata"]["lagThreshold"] == "2000000"


def test_what_keda_scales_has_no_number_of_its_own() -> None:
    """Else each upgrade would set the replicas back."""
    assert all("replicas" not in made["spec"] for made in manifests("fabric", "Deployment"))


def test_prometheus_finds_every_worker_by_its_service() -> None:
    """The monitor selects the service, the service the pods, ready or not."""
    (monitor,), (service,) = manifests("fabric", "ServiceMonitor"), manifests("fabric", "Service")
    assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert monitor["spec"]["endpoints"][0]["port"] == service["spec"]["ports"][0]["name"]
    assert service["spec"]["publishNotReadyAddresses"]
    for made in manifests("fabric", "Deployment"):
        labels = made["spec"]["template"]["metadata"]["labels"]
        assert service["spec"]["selector"].items() <= labels.items()


def test_pods_reach_no_metadata_address() -> None:
    """A link that leads to the cloud's metadata service finds nobody, past every check of ours."""
    (policy,) = manifests("fabric", "NetworkPolicy")
    blocks = [peer["ipBlock"] for rule in policy["spec"]["egress"] for peer in rule.get("to", [])]
    assert {"cidr": "0.0.0.0/0", "except": ["169.254.0.0/16"]} in blocks


def test_workload_identity_needs_no_secret_of_azure() -> None:
    """The account names the application, the pods ask for its token."""
    (account,) = manifests("fabric", "ServiceAccount")
    assert (
        account["metadata"]["annotations"]["azure.workload.identity/client-id"]
        == "0" * 8 + "-0000" * 3 + "-" + "0" * 12
    )
    for made in manifests("fabric", "Deployment"):
        assert made["spec"]["template"]["metadata"]["labels"]["azure.workload.identity/use"] == "true"


def test_tables_are_maintained_by_one_at_a_time() -> None:
    """In a process of its own, as its help says."""
    (job,) = manifests("smallest", "CronJob")
    assert job["spec"]["concurrencyPolicy"] == "Forbid"
    (container,) = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    assert "claimx-maintain" in container["args"]


@pytest.mark.parametrize("name", CASES)
def test_the_schema_takes_what_is_right(name: str) -> None:
    """Each case, over the chart's own values."""
    assert refusals(values(case(name))) == ""


@pytest.mark.parametrize(("wrong", "word"), BROKEN, ids=[word for _, word in BROKEN])
def test_the_schema_refuses_what_is_wrong_and_leads_to_it(wrong: Manifest, word: str) -> None:
    """Before anything reaches the cluster: a secret in the wrong place, a typing error, a number out of bounds."""
    base = {} if word == "config" else case("smallest")
    assert word in refusals(values(base, wrong))


def test_helm_refuses_cached_mode_without_a_cache(helm: str, tmp_path: Path) -> None:
    """With a sentence that says what to do."""
    file = tmp_path / "values.yaml"
    file.write_text(yaml.safe_dump(case("smallest") | {"cache": {"enabled": False}}), encoding="utf-8")
    ended = render(helm, "--values", str(file))
    assert ended.returncode != 0
    assert "set config.transfer_mode to direct" in ended.stderr
