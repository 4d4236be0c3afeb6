"""What the papers say is held against the program: commands, options, routes, keys, links."""

import re
import runpy
import shlex
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click
import pytest
from pydantic import BaseModel

from monitor.cli import COMMANDS, LazyGroup, cli
from monitor.config import (
    ChannelConfig,
    Config,
    DetectorConfig,
    ModelConfig,
    ServiceConfig,
    SourceConfig,
    load_config,
    parse_config,
)
from monitor.config.baseline import BaselineConfig
from monitor.config.oncall import IncidentsConfig, QuietHoursConfig, RouteConfig
from monitor.config.retraining import RetrainingConfig
from tests.sources import ROOT

DOCS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
EXAMPLE = ROOT / "deploy" / "kedge.toml"
SECTIONS: dict[str, type[BaseModel]] = {
    "service": ServiceConfig,
    "models": ModelConfig,
    "detectors": DetectorConfig,
    "baseline": BaselineConfig,
    "channels": ChannelConfig,
    "sources": SourceConfig,
    "routes": RouteConfig,
    "quiet_hours": QuietHoursConfig,
    "incidents": IncidentsConfig,
    "retraining": RetrainingConfig,
}


def names_of(files: list[Path]) -> list[str]:
    return [str(file.relative_to(ROOT)) for file in files]


def every_command(
    group: click.Group, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Each command with the words that call it, groups before their members."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield (*path, name), command
        if isinstance(command, click.Group):
            yield from every_command(command, (*path, name))


def options_of(command: click.Command) -> set[str]:
    """Every way to write each option that a command's help shows."""
    written = {"--help", "-h"}
    for parameter in command.params:
        if isinstance(parameter, click.Option) and not parameter.hidden:
            written |= {*parameter.opts, *parameter.secondary_opts}
    return written


@pytest.fixture(scope="module")
def commands() -> Mapping[tuple[str, ...], click.Command]:
    assert isinstance(cli, LazyGroup)
    return dict(every_command(cli))


def command_lines(text: str) -> Iterator[str]:
    """What the text tells people to type: `kedge …` in code spans and after a prompt."""
    joined = text.replace("\\\n", " ")
    yield from re.findall(r"`(kedge [^`]+)`", joined)
    yield from re.findall(r"^\$ (kedge .+)$", joined, re.MULTILINE)


@pytest.mark.parametrize("name", names_of(DOCS))
def test_every_command_and_option_that_is_written_down_exists(
    name: str, commands: Mapping[tuple[str, ...], click.Command]
) -> None:
    for line in command_lines((ROOT / name).read_text(encoding="utf-8")):
        words = shlex.split(line.replace("|", " "))[1:]
        path: tuple[str, ...] = ()
        while words and (*path, words[0]) in commands:
            path = (*path, words.pop(0))
        assert path or words[0] in {"--version", "--help", "COMMAND"}, f"{name}: {line}"
        if not path:
            continue
        known = options_of(commands[path])
        unknown = {word for word in words if re.fullmatch(r"--?[a-z][a-z-]*", word)} - known
        assert unknown == set(), f"{name}: {line}"


def test_the_reference_of_the_command_line_has_every_command_and_option(
    commands: Mapping[tuple[str, ...], click.Command],
) -> None:
    text = (ROOT / "docs/reference/cli.md").read_text(encoding="utf-8")
    missing = {f"kedge {' '.join(path)}" for path in commands}
    missing = {line for line in missing if not re.search(rf"`{re.escape(line)}\b", text)}
    options = set().union(*(options_of(command) for command in commands.values()))
    missing |= {o for o in options if not re.search(rf"(?<![\w-]){re.escape(o)}(?![\w-])", text)}
    assert missing == set()


def test_every_command_says_what_it_is_for(
    commands: Mapping[tuple[str, ...], click.Command],
) -> None:
    assert set(COMMANDS) == {path[0] for path in commands}
    assert [path for path, command in commands.items() if not command.help] == []


@pytest.mark.parametrize("name", names_of(DOCS))
def test_links_lead_somewhere(name: str) -> None:
    """Files are there, and so are the headings that are linked to."""
    text = (ROOT / name).read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith(("http://", "https://", "mailto:")):
            continue
        file, _, anchor = target.partition("#")
        linked = (ROOT / name).parent / file if file else ROOT / name
        assert linked.exists(), f"{name}: {target}"
        if anchor:
            headings = re.findall(r"^#+ (.+)$", linked.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in {anchor_of(heading) for heading in headings}, f"{name}: {target}"


def anchor_of(heading: str) -> str:
    """How a heading is linked to on the sites that show Markdown."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("name", names_of(DOCS))
def test_papers_name_no_folder_of_the_machine_they_were_written_on(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    assert re.findall(r"(?<![\w/.])/(?:home|root|work|tmp|Users)/\S*", text) == []


def test_every_page_of_the_documentation_can_be_reached_from_its_index() -> None:
    seen: set[Path] = set()
    waiting = [ROOT / "docs/index.md"]
    while waiting:
        page = waiting.pop()
        if page in seen or page.suffix != ".md":
            continue
        seen.add(page)
        links = re.findall(r"\]\(([^)\s#]+)", page.read_text(encoding="utf-8"))
        waiting += [(page.parent / link).resolve() for link in links if "://" not in link]
    assert set((ROOT / "docs").rglob("*.md")) - seen == set()


def test_the_reference_of_http_has_every_route(tmp_path: Path) -> None:
    from monitor.clock import SystemClock
    from monitor.process.daemon import Service
    from monitor.process.serve import build_app

    config = parse_config({"service": {"database": f"sqlite:///{tmp_path}/k.db"}}, source="test")
    service = Service(config, SystemClock())
    try:
        paths = build_app(service).openapi()["paths"]
    finally:
        service.database.close()
    text = (ROOT / "docs/reference/http.md").read_text(encoding="utf-8")
    routes = {f"{verb.upper()} {path}" for path, verbs in paths.items() for verb in verbs}
    written = set(re.findall(r"`((?:GET|POST) [^`]+)`", text))
    assert written == routes


# ---- the example configuration


def uncommented() -> str:
    """The example with every setting that is commented out put in force."""
    return re.sub(r"^#(?=\S)", "", EXAMPLE.read_text(encoding="utf-8"), flags=re.MULTILINE)


def keys_in(section: str, tables: list[dict[str, Any]]) -> Iterator[tuple[str, str]]:
    for table in tables:
        for key, value in table.items():
            yield section, key
            nested = value if isinstance(value, list) else [value]
            if key in SECTIONS and all(isinstance(part, dict) for part in nested):
                yield from keys_in(key, nested)


def test_the_example_is_a_sound_configuration() -> None:
    config = load_config(EXAMPLE)
    assert list(config.models) == ["delays"]
    assert [channel.kind for channel in config.channels] == ["console"]


def test_the_example_names_every_key_there_is_and_no_other() -> None:
    raw = tomllib.loads(uncommented())
    given = set(keys_in("service", [raw["service"]]))
    given |= set(keys_in("models", list(raw["models"].values())))
    given |= set(keys_in("channels", raw["channels"])) | set(keys_in("sources", raw["sources"]))
    given |= set(keys_in("routes", raw["routes"])) | set(keys_in("incidents", [raw["incidents"]]))
    given |= set(keys_in("retraining", [raw["retraining"]]))
    known = {(name, key) for name, model in SECTIONS.items() for key in model.model_fields}
    assert given == known
    assert set(raw) == set(Config.model_fields)


def test_every_commented_setting_of_the_example_would_be_accepted() -> None:
    """And those of the service and of a model that has a default say which it is."""
    config = parse_config(tomllib.loads(uncommented()), source="example")
    assert config.service == ServiceConfig()
    assert config.incidents == IncidentsConfig()
    said, default = config.models["delays"], ModelConfig()
    optional = {
        "label_delay",
        "review",
        "holidays",
        "slices",
        "source_domain",
        "detectors",
        "quiet_after",
        "labels_after",
        "loss",
    }
    assert said.baseline.model_copy(update={"kind": None}) == default.baseline
    optional |= {"baseline"}
    for key in set(ModelConfig.model_fields) - optional:
        assert getattr(said, key) == getattr(default, key), key
    assert {channel.name for channel in config.channels} == {
        "terminal",
        "oncall",
        "retraining",
        "slack",
        "pager",
        "alertmanager",
        "mail",
        "phone",
        "trainer",
    }
    assert {source.kind for source in config.sources} == {"files", "sql"}


def test_the_reference_of_the_configuration_has_every_key() -> None:
    text = (ROOT / "docs/reference/config.md").read_text(encoding="utf-8")
    keys = {key for model in SECTIONS.values() for key in model.model_fields}
    assert {key for key in keys if f"`{key}`" not in text} == set()


# ---- the tutorial and the README


def test_the_tutorial_says_what_happens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its files are made, and replay finds the change it tells of."""
    text = (ROOT / "docs/tutorial/first-report.md").read_text(encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    runpy.run_path(str(ROOT / "docs/tutorial/make_loans.py"), run_name="__main__")
    assert capsys.readouterr().out in text

    files = ("--reference", "reference.parquet", "--log", "current.parquet")
    options = ("--model", "loans", "--tick", "6h", "--label-delay", "7d")
    assert f"$ kedge replay {' '.join((*files, *options))}\n" in text
    cli.main(["replay", *files, *options], standalone_mode=False)
    said = capsys.readouterr().out
    told = "2026-05-01 06:00  PAGE  schema mismatch"
    assert told in said
    assert told in text
    assert told in (ROOT / "README.md").read_text(encoding="utf-8")
    assert said.count("PAGE") == 1
    assert "looks like × 100" in " ".join(said.split())


def test_the_readme_gives_the_two_commands() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in ("demo", "test"):
        assert f"make {target}" in text
        assert re.search(rf"^{target}:", makefile, re.MULTILINE)


def test_configurations_in_the_papers_are_sound() -> None:
    """Blocks of TOML are parts of a configuration: together with their model they are accepted."""
    checked = 0
    for file in DOCS:
        for block in re.findall(r"```toml\n(.*?)```", file.read_text(encoding="utf-8"), re.DOTALL):
            raw = tomllib.loads(block)
            if set(raw) <= set(Config.model_fields):
                models: dict[str, Any] = {one["model"]: {} for one in raw.get("sources", [])}
                parse_config({**raw, "models": raw.get("models", models)}, source=str(file))
                checked += 1
    assert checked >= 4
