"""A replay as one HTML file that opens alone: alarms and incidents of every domain over time.

The style and the plots are those of reports; nothing is loaded from elsewhere and no script runs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape

from alerts.records import Incident
from detectors.records import DAY_US, Tier, to_datetime, to_us
from monitor.durations import budget_words
from monitor.replaying.injected_replay import InjectedReplay, Outcome
from monitor.replaying.replay import DomainReplay, Replay, headline_of
from monitor.reports.html import style_hash, style_text
from monitor.reports.injected_text import delay_words
from monitor.reports.numbers import clean, count
from monitor.reports.plots import Frame, line, rect, svg, text

MOST_MARKS = 600
TRACK = 26.0
LEFT = 84.0
Scale = Callable[[float], float]


def render_timeline(result: Replay | InjectedReplay) -> str:
    """The page. `result` is a plain replay or one with injections."""
    changed = result.changed if isinstance(result, InjectedReplay) else result
    outcomes = result.outcomes if isinstance(result, InjectedReplay) else ()
    usual = (
        {d.deployment.domain: d for d in result.clean.domains}
        if isinstance(result, InjectedReplay)
        else {}
    )
    sections = []
    for at, domain in enumerate(changed.domains):
        own = [outcome for outcome in outcomes if outcome.domain == domain.deployment.domain]
        drawn = domain_timeline(
            domain, usual.get(domain.deployment.domain), own, uid=f"timeline-{at}"
        )
        said = "".join(f"<li>{escape(words)}</li>" for words in _sentences(domain, own))
        sections.append(
            f"<section><h2>{escape(clean(str(domain.deployment), 120))}</h2>{drawn}"
            f"<ul>{said}</ul></section>"
        )
    title = f"{clean(changed.model, 80)}: history replayed"
    budget = f"Budget: {budget_words(changed.settings.budget)} per deployment."
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
        f"style-src '{style_hash()}'; base-uri 'none'; form-action 'none'\">\n"
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="referrer" content="no-referrer">\n'
        f"<title>{escape(title)} · Kedge</title>\n<style>{style_text()}</style>\n</head>\n"
        f'<body>\n<main>\n<header class="lead"><h1>{escape(title)}</h1>'
        f"<p>{escape(budget)}</p></header>\n{''.join(sections)}\n</main>\n</body>\n</html>\n"
    )


def domain_timeline(
    domain: DomainReplay, usual: DomainReplay | None, outcomes: Sequence[Outcome], *, uid: str
) -> str:
    """Tracks of alarms as it was and now, a bar an incident, a line where a change began."""
    tracks = [("pages", Tier.PAGE), ("tickets", Tier.TICKET)]
    runs = [("", domain)] if usual is None else [("as it was: ", usual), ("injected: ", domain)]
    rows = [(f"{run}{name}", tier, one) for run, one in runs for name, tier in tracks]
    incidents = sorted(domain.incidents, key=lambda i: i.opened_at)
    height = 30 + TRACK * (len(rows) + len(incidents)) + 16
    frame = Frame(860, height, LEFT + 70, 16, 14, 26)

    def x(instant_us: float) -> float:
        along = (instant_us - domain.since_us) / max(domain.until_us - domain.since_us, 1)
        return frame.x(min(max(along, 0.0), 1.0))

    parts = []
    for at, (name, tier, one) in enumerate(rows):
        y = frame.top + TRACK * at
        parts.append(text(frame.left - 8, y + 14, name, "end"))
        parts.append(line(frame.left, y + 18, frame.right_edge, y + 18, "grid"))
        marks = [to_us(f.ts) for f in one.findings if f.tier is tier][:MOST_MARKS]
        kind = f"incident {tier.value}"
        parts += [rect(kind, x(instant) - 1, y + 2, 2.5, 15) for instant in marks]
    for at, incident in enumerate(incidents, start=len(rows)):
        parts.append(_bar(domain, incident, frame, frame.top + TRACK * at, x))
    for outcome in outcomes:
        place = x(outcome.since_us)
        words = clean(outcome.placed.injection.spec, 60)
        parts.append(
            f"<g><title>{escape(words)}</title>"
            f"{line(place, frame.top - 4, place, frame.floor, 'reference-line')}"
            f"{text(place, frame.top - 5, '▲', 'middle')}</g>"
        )
    parts.append(line(frame.left, frame.floor, frame.right_edge, frame.floor, "axis"))
    if domain.watch.settings.tick_rows is None:
        parts += _days(domain, frame, x)
    pages = sum(f.tier is Tier.PAGE for f in domain.findings)
    tickets = sum(f.tier is Tier.TICKET for f in domain.findings)
    said = (
        f"{count(pages, 'alarm')} on the page tier and {tickets:,} on the ticket tier, "
        f"{count(len(incidents), 'incident')}, {count(len(outcomes), 'injected change')}."
    )
    title = f"{clean(str(domain.deployment), 80)}: alarms over time"
    return svg(frame.width, frame.height, title, said, "".join(parts), uid)


def _bar(domain: DomainReplay, incident: Incident, frame: Frame, y: float, x: Scale) -> str:
    left = x(to_us(incident.opened_at))
    end = domain.until_us if incident.closed_at is None else to_us(incident.closed_at)
    width = max(x(end) - left, 4.0)
    words = escape(clean(headline_of(incident, domain), 300))
    name = f"{incident.tier.value}: {incident.mode.value}"
    return (
        f"<g><title>{words}</title>"
        f"{rect(f'incident {incident.tier.value}', left, y + 4, width, 12)}"
        f"{text(frame.left - 8, y + 14, name[:24], 'end')}</g>"
    )


def _days(domain: DomainReplay, frame: Frame, x: Scale) -> list[str]:
    """Dates under the axis, at most seven, at the beginning of days."""
    days = max((domain.until_us - domain.since_us) // DAY_US, 1)
    step = max(1, -(-days // 6))
    first = -(-domain.since_us // DAY_US) * DAY_US
    return [
        text(x(instant), frame.height - 8, f"{to_datetime(instant):%d %b}", "middle")
        for instant in range(first, domain.until_us, step * DAY_US)
    ]


def _sentences(domain: DomainReplay, outcomes: Sequence[Outcome]) -> list[str]:
    said = []
    for outcome in outcomes:
        spec = clean(outcome.placed.injection.spec, 120)
        if outcome.first is None:
            said.append(f"{spec}: not seen by the end of the log")
            continue
        delay = outcome.delay_hours(outcome.first)
        by_rows = domain.watch.settings.tick_rows is not None
        after = f"{delay:.0f} ticks" if by_rows else delay_words(delay or 0.0)
        named = "" if outcome.incident is None else f"; named {outcome.incident.mode.value}"
        said.append(
            f"{spec}: seen after {after} by {outcome.first.stream} "
            f"({outcome.first.tier.value}){named}"
        )
        said.append(
            f"as it was: {count(outcome.false_pages, 'page')} and "
            f"{count(outcome.false_tickets, 'ticket')}"
        )
    if not outcomes:
        said = [clean(headline_of(i, domain), 300) for i in domain.incidents] or ["no incidents"]
    return list(dict.fromkeys(said))
