"""The pages people read at night are held against the program they speak of."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from alerts.mappings import next_versions, review_message
from alerts.records import MessageType
from alerts.runbooks import runbook_link, slug
from detectors.actions import action_for
from detectors.records import MappingEntry, MappingProposal, Mode, Tier
from monitor.watching.erosion import STREAM as EROSION
from monitor.web.runbooks import runbooks
from tests.alerts.build import MAPPING, OO, START, Story, diagnosis, finding
from tests.sources import ROOT

FOLDER = ROOT / "docs" / "runbooks"
PAGES = sorted(file for file in FOLDER.glob("*.md") if file.stem != "README")
SECTIONS = [
    "Look first",
    "Likely causes",
    "Do now",
    "It worked if",
    "Do not",
    "Escalate",
    "Mistaken for",
]


def training_fields() -> dict[str, object]:
    """What messages about retraining have, where an incident has other fields."""
    from alerts.bodies import step_body

    story = Story()
    (request,) = story.see(0, diagnosis()).retraining
    request = replace(request, action=replace(request.action, stream="loss.mean", within_days=7))
    kind = MessageType.RETRAINING_VERIFIED
    body = step_body(kind, request, now=request.requested_at, public_url="")
    return dict(body["data"])


def review_fields() -> dict[str, object]:
    """What a mapping review has."""
    proposal = MappingProposal(MappingEntry("x", scale=10.0), "seen")
    versions = next_versions(OO, (), [proposal], at=START)
    story = Story()
    story.see(0, diagnosis(Mode.SCHEMA_MISMATCH))
    return dict(review_message(versions, story.only, now=START, public_url="").body["data"])


OWN_FIELDS = {"retraining": training_fields, "mapping": review_fields}
"""Pages of messages that are not about an incident, by the first word of their names."""

MEASURED = re.compile(r"`?[a-z]+\.[a-z_]+`?|±[\d.]+|\d+ days?")


def sections(text: str) -> dict[str, str]:
    parts = re.split(r"^## (.+)$", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_every_mode_and_message_type_has_a_page() -> None:
    wanted = {slug(name) for name in (*Mode, *MessageType)}
    assert wanted <= {file.stem for file in PAGES}


def test_the_rule_for_names_is_that_of_the_files() -> None:
    assert slug("data-pipeline fault") == "data-pipeline-fault"
    assert slug("mapping.review_requested") == "mapping-review-requested"
    link = runbook_link(Mode.PRIOR_SHIFT, "https://kedge.example/")
    assert link == "https://kedge.example/runbooks/prior-shift"


def test_messages_link_to_the_page_of_their_cause() -> None:
    story = Story()
    opened = story.see(0, diagnosis(Mode.SCHEMA_MISMATCH)).messages
    links = {message.type: message.body["data"]["links"]["runbook"] for message in opened}
    assert links == {
        MessageType.OPENED: "/runbooks/schema-mismatch",
        MessageType.MAPPING_REVIEW_REQUESTED: "/runbooks/mapping-review-requested",
    }


@pytest.mark.parametrize(
    ("mode", "streams", "page"),
    [
        (Mode.UNDETERMINED, [EROSION], "benefit-erosion"),
        (Mode.BENIGN, [EROSION], "benefit-erosion"),
        (Mode.CONCEPT_SHIFT, [EROSION], "concept-shift"),
        (Mode.UNDETERMINED, [EROSION, "loss.mean"], "undetermined"),
        (Mode.UNDETERMINED, ["loss.mean"], "undetermined"),
    ],
)
def test_a_benefit_that_goes_by_itself_has_a_page_of_its_own(
    mode: Mode, streams: list[str], page: str
) -> None:
    story = Story()
    found = [finding(stream=stream, tier=Tier.TICKET) for stream in streams]
    (message,) = story.see(0, diagnosis(mode, action=MAPPING), findings=found).messages
    assert message.body["data"]["links"]["runbook"] == f"/runbooks/{page}"
    assert page in runbooks()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_says_what_it_means_and_then_every_part_in_order(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    title, meaning, *_ = text.split("\n\n")
    assert title.startswith("# ")
    assert not meaning.startswith("#")
    assert len(meaning) < 300
    found = sections(text)
    assert list(found) == SECTIONS
    assert [name for name, words in found.items() if len(words.split()) < 3] == []


def test_links_lead_to_other_pages_and_the_list_has_them_all() -> None:
    """Nothing outside the folder: a daemon serves these pages and no other paper."""
    for page in FOLDER.glob("*.md"):
        for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
            assert (FOLDER / target.partition("#")[0]).parent == FOLDER, f"{page.name}: {target}"
            assert (FOLDER / target.partition("#")[0]).exists(), f"{page.name}: {target}"
    listed = re.findall(r"\]\(([^)\s]+)\.md\)", (FOLDER / "README.md").read_text(encoding="utf-8"))
    assert {file.stem for file in PAGES} == set(listed)


@pytest.mark.parametrize("mode", list(Mode))
def test_a_page_names_the_measurable_parts_of_the_falsification_test(mode: Mode) -> None:
    """Streams, limits and days of `action.falsified_by`, so that the page cannot promise others."""
    said = sections((FOLDER / f"{slug(mode)}.md").read_text(encoding="utf-8"))["It worked if"]
    said = " ".join(said.split())
    for known in (True, False):
        wanted = MEASURED.findall(action_for(mode, losses_known=known).falsified_by)
        assert [part for part in wanted if part not in said.replace("`", "")] == []


def test_fields_that_pages_name_are_there() -> None:
    data = Story().see(0, diagnosis()).messages[0].body["data"]
    report = (ROOT / "docs/reference/report.md").read_text(encoding="utf-8")
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for path in re.findall(r"`data\.([a-z_.]+)`", text):
            own = OWN_FIELDS.get(page.stem.partition("-")[0])
            here = data if own is None else {**data, **own()}
            for key in path.split("."):
                assert key in here, f"{page.name}: data.{path}"
                here = here[key]
        top = r"transfer|calibration|window|labels|budget|performance|columns|schema_checks"
        for section, key in re.findall(rf"`({top})(?:\[\])?\.([a-z_]+)`", text):
            # Streams and message types are written in the same way.
            streams = {"transfer.difference", "calibration.in_the_large", *MessageType}
            known = f"`{section}" in report and re.search(rf"`{key}\b", report)
            assert known or f"{section}.{key}" in streams, f"{page.name}: {section}.{key}"


def test_confusions_are_those_that_were_measured() -> None:
    """Every "5 of 32" stands in the table of the benchmark, as right or as otherwise named."""
    table = (ROOT / "benchmarks/faults/README.md").read_text(encoding="utf-8")
    measured: set[tuple[int, int]] = set()
    for _, windows, right, others in re.findall(
        r"^\| ([a-z -]+) \| (\d+) \| (\d+) \| (.*)\|$", table, re.MULTILINE
    ):
        counts = [int(right), *map(int, re.findall(r"(\d+) [a-z]", others.partition("(")[0]))]
        measured |= {(count, int(windows)) for count in counts}
    assert (244, 252) in measured
    for page in PAGES:
        text = " ".join(page.read_text(encoding="utf-8").split())
        said = re.findall(r"(\d+) of (\d+) injected", text)
        assert {(int(a), int(b)) for a, b in said} <= measured, page.name


def test_the_daemon_finds_the_pages_of_the_source_tree() -> None:
    assert set(runbooks().values()) == set(FOLDER.glob("*.md"))
