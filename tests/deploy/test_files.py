"""What we give people to run Kedge with, held against the program and each tool's own check."""

from __future__ import annotations

import configparser
import json
import os
import re
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from monitor.config import load_config
from monitor.web.runbooks import runbooks
from tests.monitor.api.asking import world
from tests.sources import ROOT

DEPLOY = ROOT / "deploy"
DOCKERFILE = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
RULES = yaml.safe_load((DEPLOY / "prometheus/kedge.rules.yml").read_text(encoding="utf-8"))
ALERTS = [rule for group in RULES["groups"] for rule in group["rules"]]
DASHBOARD = json.loads((DEPLOY / "grafana/kedge.json").read_text(encoding="utf-8"))
METRIC = re.compile(r"\bkedge_[a-z_]+")


def tool(name: str) -> str:
    """Where a program is, or a skip that says what to install."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


def quiet(*command: str | Path, cwd: Path | None = None, **extra: str) -> str:
    """Run to success; what it said."""
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env={**os.environ, **extra},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


# ---- systemd


@pytest.fixture
def unit() -> dict[str, dict[str, str]]:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read(DEPLOY / "systemd/kedge.service")
    return {section: dict(parser[section]) for section in parser.sections()}


def test_the_unit_runs_what_the_command_line_has(unit: dict[str, dict[str, str]]) -> None:
    service = unit["Service"]
    assert service["Type"] == "notify"
    assert int(service["WatchdogSec"]) >= 30
    assert service["ExecStart"].split()[1:] == ["run", "--config", "/etc/kedge/kedge.toml"]
    assert service["ExecStartPre"].split()[1] == "check-config"
    assert service["ExecReload"] == "/bin/kill -HUP $MAINPID"
    # JIT compilers write code while they run.
    assert "MemoryDenyWriteExecute" not in service


def test_systemd_finds_the_unit_sound_and_well_shut(tmp_path: Path) -> None:
    """`verify` wants the program to exist; exposure is systemd's own figure, 0 safe, 10 open."""
    analyze = tool("systemd-analyze")
    text = (DEPLOY / "systemd/kedge.service").read_text(encoding="utf-8")
    copy = tmp_path / "kedge.service"
    copy.write_text(text.replace("/opt/kedge/bin/kedge", "/bin/true"))
    assert quiet(analyze, "verify", copy) == ""
    said = quiet(analyze, "security", "--offline=true", "--no-pager", copy)
    (exposure,) = re.findall(r"exposure level for kedge.service: ([\d.]+)", said)
    assert float(exposure) <= 2.0


# ---- image


def test_the_image_is_installed_as_the_readme_says() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    documented = re.search(r"pip (install --constraint constraints.txt) \.", readme)
    assert documented
    assert f"pip {documented[1]} '.[postgres]'" in DOCKERFILE


def test_what_the_image_copies_exists_and_is_let_through() -> None:
    ignore = (DEPLOY / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    let_in = [line[1:] for line in ignore if line.startswith("!")]
    copied: set[str] = set()
    for line in re.findall(r"^COPY (?!--from)(.+)$", DOCKERFILE, re.MULTILINE):
        *sources, _ = line.split()
        for source in sources:
            assert (ROOT / source).exists(), source
            copied.add(source)
    assert copied == set(let_in)


def test_the_image_has_every_package_of_the_wheel() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    for folder in (*wheel["packages"], *wheel["force-include"]):
        assert f"COPY {folder} ./{folder}\n" in DOCKERFILE
    assert f":{project['project']['version']}" in DOCKERFILE


def test_the_image_runs_as_nobody_special() -> None:
    last = DOCKERFILE.rpartition("\nFROM ")[2]
    (user,) = re.findall(r"^USER (\d+):", last, re.MULTILINE)
    assert int(user) >= 10_000
    assert last.index("USER") < last.index("ENTRYPOINT")
    assert re.search(r"^HEALTHCHECK .*\\\n\s+CMD .*/livez", last, re.MULTILINE)


def test_hadolint_finds_nothing_in_the_dockerfile() -> None:
    assert quiet(tool("hadolint"), DEPLOY / "Dockerfile") == ""


def test_the_configuration_of_the_image_is_sound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEDGE_TOKEN", "kdg_test_0123456789abcdef0123456789abcdef")
    config = load_config(DEPLOY / "container.toml")
    assert config.service.host == "0.0.0.0"
    assert config.service.token


# ---- compose

COMPOSE = yaml.safe_load((DEPLOY / "compose.yml").read_text(encoding="utf-8"))


def test_compose_uses_what_is_there() -> None:
    kedge = COMPOSE["services"]["kedge"]
    build = (DEPLOY / kedge["build"]["context"]).resolve()
    assert build == ROOT
    assert (build / kedge["build"]["dockerfile"]).is_file()
    files = [volume for volume in kedge["volumes"] if volume.startswith(".")]
    assert all((DEPLOY / volume.split(":")[0]).is_file() for volume in files)
    named = {v.split(":")[0] for s in COMPOSE["services"].values() for v in s["volumes"]}
    assert {name for name in named if not name.startswith(".")} == set(COMPOSE["volumes"])
    assert kedge["ports"] == ["127.0.0.1:8321:8321"]  # not the whole network, unasked
    wanted = set(re.findall(r"\$\{(\w+)", (DEPLOY / "compose.yml").read_text(encoding="utf-8")))
    example = (DEPLOY / "compose.env.example").read_text(encoding="utf-8")
    assert set(re.findall(r"^(\w+)=$", example, re.MULTILINE)) == wanted


def test_compose_itself_accepts_the_file() -> None:
    said = quiet(
        tool("docker-compose"),
        "-f",
        DEPLOY / "compose.yml",
        "config",
        KEDGE_POSTGRES_PASSWORD="a",
        KEDGE_TOKEN="b",
    )
    assert yaml.safe_load(said)["services"]["kedge"]["read_only"] is True


def test_compose_refuses_to_start_without_secrets() -> None:
    command = [tool("docker-compose"), "-f", str(DEPLOY / "compose.yml"), "config"]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("KEDGE_")}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "put it into deploy/.env" in done.stderr


# ---- Prometheus and Grafana


@pytest.fixture(scope="module")
def families(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Every name a scrape of the daemon can give."""
    with world(tmp_path_factory.mktemp("metrics")) as running:
        text = running.get("/metrics").text
    suffixes = {"histogram": ("_bucket", "_sum", "_count"), "counter": ("",), "gauge": ("",)}
    kinds = re.findall(r"^# TYPE (kedge_\w+) (\w+)$", text, re.MULTILINE)
    assert len(kinds) > 10
    return {name + suffix for name, kind in kinds for suffix in suffixes[kind]}


def test_rules_ask_for_metrics_that_exist(families: set[str]) -> None:
    for rule in ALERTS:
        assert set(METRIC.findall(rule["expr"])) <= families, rule["alert"]


def test_every_rule_says_what_it_means_and_has_its_page() -> None:
    for rule in ALERTS:
        assert rule["labels"]["severity"] in {"page", "ticket"}
        assert set(rule["annotations"]) == {"summary", "description", "runbook"}
        words = re.sub(r"(?<=[a-z])(?=[A-Z])", "-", rule["alert"]).lower()
        assert rule["annotations"]["runbook"] == words
        assert words in runbooks()


def test_promtool_accepts_the_rules_and_they_fire_when_they_should() -> None:
    promtool, folder = tool("promtool"), DEPLOY / "prometheus"
    assert f"{len(ALERTS)} rules found" in quiet(
        promtool, "check", "rules", "kedge.rules.yml", cwd=folder
    )
    assert "SUCCESS" in quiet(promtool, "test", "rules", "kedge.rules.test.yml", cwd=folder)
    tested = (folder / "kedge.rules.test.yml").read_text(encoding="utf-8")
    for rule in ALERTS:
        assert tested.count(f"alertname: {rule['alert']}") >= 2, rule["alert"]


def test_every_panel_has_a_title_a_unit_words_and_metrics_that_exist(families: set[str]) -> None:
    for panel in DASHBOARD["panels"]:
        assert panel["title"]
        assert panel["description"], panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        assert panel["targets"], panel["title"]
        for target in panel["targets"]:
            names = set(METRIC.findall(target["expr"]))
            assert names, panel["title"]
            assert names <= families, panel["title"]


def test_panels_do_not_lie_over_each_other() -> None:
    taken: dict[tuple[int, int], str] = {}
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                assert (x, y) not in taken, (panel["title"], taken.get((x, y)))
                taken[x, y] = panel["title"]


# ---- Helm

POSTGRESQL: dict[str, Any] = {
    "database": {"kind": "postgresql", "existingSecret": "kedge-database"},
    "replicas": 2,
    "workers": 3,
    "ingress": {"enabled": True, "className": "nginx", "tlsSecret": "tls"},
    "prometheus": {"podMonitor": True, "rules": True},
    "publicUrl": "https://kedge.example.com",
}


@pytest.fixture(scope="module")
def chart() -> Iterator[Any]:
    helm = pytest.importorskip("helm_python", reason="helm-python-sdk is not installed")
    with helm.Chart.load(str(DEPLOY / "helm/kedge")) as loaded:
        yield loaded


def rendered(chart: Any, values: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    """Every object by kind and name."""
    found = {}
    for name, text in chart.render(values, name="demo", namespace="watch").items():
        if name.endswith(".yaml"):
            for thing in filter(None, yaml.safe_load_all(text)):
                assert {"apiVersion", "kind", "metadata"} <= set(thing), name
                found[thing["kind"], thing["metadata"]["name"]] = thing
    return found


def test_helm_itself_finds_nothing_wrong() -> None:
    helm = pytest.importorskip("helm_python", reason="helm-python-sdk is not installed")
    found = helm.lint(str(DEPLOY / "helm/kedge"))
    assert found["errors"] == []
    assert {message["error"] for message in found["messages"]} <= {"icon is recommended"}


def test_on_sqlite_there_is_one_pod_with_a_volume(chart: Any) -> None:
    things = rendered(chart, {})
    assert set(things) == {
        (kind, "demo") for kind in ("ConfigMap", "NetworkPolicy", "Service", "StatefulSet")
    }
    spec = things["StatefulSet", "demo"]["spec"]
    assert spec["replicas"] == 1
    assert spec["volumeClaimTemplates"][0]["metadata"]["name"] == "data"
    (container,) = spec["template"]["spec"]["containers"]
    assert container["args"][-2:] == ["--role", "all"]


def test_on_postgresql_the_work_is_shared(chart: Any) -> None:
    things = rendered(chart, POSTGRESQL)
    roles = {}
    for (kind, name), thing in things.items():
        if kind == "Deployment":
            (container,) = thing["spec"]["template"]["spec"]["containers"]
            roles[name] = (thing["spec"]["replicas"], container["args"][-1])
    assert roles == {"demo": (2, "api"), "demo-worker": (3, "worker")}
    assert things["PrometheusRule", "demo"]["spec"] == RULES
    assert {kind for kind, _ in things} >= {"Ingress", "PodMonitor"}


@pytest.mark.parametrize("values", [{}, POSTGRESQL], ids=["sqlite", "postgresql"])
def test_pods_are_shut_and_services_find_them(chart: Any, values: dict[str, Any]) -> None:
    things = rendered(chart, values)
    workloads = [t for (kind, _), t in things.items() if kind in {"Deployment", "StatefulSet"}]
    for workload in workloads:
        template = workload["spec"]["template"]
        labels, pod = template["metadata"]["labels"], template["spec"]
        assert workload["spec"]["selector"]["matchLabels"].items() <= labels.items()
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["automountServiceAccountToken"] is False
        (container,) = pod["containers"]
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        claims = {c["metadata"]["name"] for c in workload["spec"].get("volumeClaimTemplates", [])}
        volumes = {volume["name"] for volume in pod["volumes"]} | claims
        assert {mount["name"] for mount in container["volumeMounts"]} == volumes
    wanted = things["Service", "demo"]["spec"]["selector"].items()
    found = [w for w in workloads if wanted <= w["spec"]["template"]["metadata"]["labels"].items()]
    assert len(found) == 1


def test_the_configuration_of_the_chart_is_sound(chart: Any, tmp_path: Path) -> None:
    text = rendered(chart, {})["ConfigMap", "demo"]["data"]["kedge.toml"]
    file = tmp_path / "kedge.toml"
    file.write_text(text, encoding="utf-8")
    assert [channel.kind for channel in load_config(file).channels] == ["console"]


@pytest.mark.parametrize(
    "values",
    [
        {"workers": 1},
        {"replicas": 2},
        {"database": {"kind": "mysql"}},
        {"database": {"kind": "postgresql", "existingSecret": ""}},
        {"token": {"existingSecret": ""}},
        {"replica": 1},
    ],
    ids=str,
)
def test_values_that_cannot_work_are_refused(chart: Any, values: dict[str, Any]) -> None:
    with pytest.raises(Exception, match=r"at '"):
        chart.validate_schema(values)
