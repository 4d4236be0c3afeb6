"""Mappings as people write them, held against what the source and the domain really have.

A file is YAML or JSON: `{model, mappings: [{domain, column, …}]}`, what `kedge mapping export`
writes. Every name is looked up before anything is stored.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from detectors.records import AppliedMapping, Kind, MappingEntry, Schema, Window, to_us
from monitor.errors import InputError, did_you_mean, shortened

FIELDS = ("column", "category", "domain_column", "domain_category", "scale", "offset", "missing")


@dataclass(frozen=True, slots=True)
class Known:
    """What there is: the source's columns and categories, and those of the domain's rows.

    `categories` and `domain_categories` map a column to its words. A domain without rows has no
    `domain_columns`; nothing can be looked up there yet.
    """

    schema: Schema
    categories: Mapping[str, frozenset[str]] = field(default_factory=dict)
    domain_columns: frozenset[str] = frozenset()
    domain_categories: Mapping[str, frozenset[str]] = field(default_factory=dict)


def known_of(schema: Schema, reference: Window | None, domain: Window | None) -> Known:
    """What a reference and a domain's latest rows have."""
    return Known(
        schema=schema,
        categories=_words(reference),
        domain_columns=frozenset()
        if domain is None or not domain.rows
        else frozenset((*domain.numeric, *domain.categorical)),
        domain_categories=_words(domain),
    )


def _words(window: Window | None) -> dict[str, frozenset[str]]:
    if window is None:
        return {}
    return {name: frozenset(column.values) for name, column in window.categorical.items()}


def check_entry(entry: MappingEntry, known: Known) -> None:
    """Refuse an entry that names what there is not, or says two things at once.

    Raises:
        InputError: one line with what was given, what there is, and the nearest name.
    """
    columns = {column.name: column.kind for column in known.schema.columns}
    if entry.column not in columns:
        raise _unknown("column", entry.column, "the source", columns)
    if entry.absent:
        if entry != MappingEntry(entry.column, absent=True):
            msg = f"column '{entry.column}': absent leaves nothing else to say of it"
            raise InputError(msg)
        return
    theirs = known.domain_columns | set(columns)
    if entry.here not in theirs:
        raise _unknown("column", entry.here, "the domain", theirs)
    numeric = columns[entry.column] is Kind.NUMERIC
    if bool(entry.category) != bool(entry.domain_category):
        msg = f"column '{entry.column}': category and domain_category belong together"
        raise InputError(msg)
    changed = entry.scale != 1.0 or entry.offset != 0.0
    if entry.category and (numeric or changed or entry.missing):
        msg = (
            f"column '{entry.column}': a category has no scale, offset or missing"
            if not numeric
            else f"column '{entry.column}' holds numbers, it has no categories"
        )
        raise InputError(msg)
    if changed and not numeric:
        msg = f"column '{entry.column}' holds words; scale and offset are for numbers"
        raise InputError(msg)
    if not (math.isfinite(entry.scale) and math.isfinite(entry.offset)) or entry.scale == 0.0:
        msg = f"column '{entry.column}': scale must be a number that is not 0, offset a number"
        raise InputError(msg)
    if entry.category:
        there = known.categories.get(entry.column, frozenset())
        if entry.category not in there:
            raise _unknown(f"category of '{entry.column}'", entry.category, "the source", there)
        here = known.domain_categories.get(entry.here)
        if here is not None and entry.domain_category not in here | there:
            raise _unknown(f"category of '{entry.here}'", entry.domain_category, "the domain", here)


def check_file(entries: Iterable[MappingEntry]) -> None:
    """Refuse a file that says two things of one feature or category.

    Raises:
        InputError: which one.
    """
    seen = set()
    for entry in entries:
        if entry.key in seen:
            what = f"category '{entry.category}' of " if entry.category else ""
            msg = f"{what}column '{entry.column}' is mapped twice; leave one of them out"
            raise InputError(msg)
        seen.add(entry.key)


def read_mappings(path: str) -> dict[str, tuple[AppliedMapping, ...]]:
    """A file of mappings, by domain, as if somebody had approved them.

    Raises:
        InputError: it cannot be read, or an entry is wrong.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        msg = f"{path}: cannot be read ({type(error).__name__})"
        raise InputError(msg) from error
    return entries_of(read_file(text, path), path)


def entries_of(given: Mapping[str, Any], source: str) -> dict[str, tuple[AppliedMapping, ...]]:
    """What a file says, by domain, as if somebody had approved it.

    Raises:
        InputError: which entry is wrong, and how.
    """
    found: dict[str, list[AppliedMapping]] = {}
    for at, line in enumerate(given["mappings"], start=1):
        plain = as_text(line, at, source)
        unknown = sorted(set(plain) - {"domain", "since", "absent", *FIELDS})
        if unknown:
            msg = f"{source}: entry {at} has an unknown key '{unknown[0]}'."
            raise InputError(msg + did_you_mean(unknown[0], ("domain", "since", "absent", *FIELDS)))
        if not plain.get("domain") or not plain.get("column"):
            msg = f"{source}: entry {at} needs a domain and a column"
            raise InputError(msg)
        domain, since = str(plain.pop("domain")), plain.pop("since", None)
        if plain.get("domain_column") == plain["column"]:
            plain.pop("domain_column")
        try:
            since_us = None if since is None else to_us(datetime.fromisoformat(str(since)))
            scale, offset = float(plain.pop("scale", 1.0)), float(plain.pop("offset", 0.0))
        except (TypeError, ValueError) as error:
            msg = f"{source}: entry {at}: {error}"
            raise InputError(msg) from error
        entry = MappingEntry(**plain, scale=scale, offset=offset)
        found.setdefault(domain, []).append(AppliedMapping(f"entry {at}", entry, since_us))
    return {
        domain: tuple(sorted(mine, key=lambda one: one.entry.key)) for domain, mine in found.items()
    }


def as_text(line: Any, at: int, source: str) -> dict[str, Any]:
    """An entry as JSON can hold it: YAML reads instants and numbers where text is meant."""
    if not isinstance(line, dict):
        msg = f"{source}: entry {at} is not an object with domain and column"
        raise InputError(msg)
    text = ("domain", "column", "category", "domain_column", "domain_category", "missing")
    shown = {str(key): value for key, value in line.items()}
    for key in text:
        if key in shown and isinstance(shown[key], int | float) and shown[key] is not True:
            shown[key] = f"{shown[key]:g}" if isinstance(shown[key], float) else str(shown[key])
    if hasattr(shown.get("since"), "isoformat"):
        shown["since"] = shown["since"].isoformat()
    return shown


def entry_json(entry: MappingEntry) -> dict[str, Any]:
    """An entry as files and answers write it: only what is said."""
    plain = MappingEntry(entry.column)
    said = {"column": entry.column}
    for name in FIELDS[1:]:
        if getattr(entry, name) != getattr(plain, name):
            said[name] = getattr(entry, name)
    return {**said, "absent": True} if entry.absent else said


def read_file(text: str, source: str) -> dict[str, Any]:
    """A file's object; YAML holds JSON as well.

    Raises:
        InputError: it is neither, or not an object with a list of mappings.
    """
    import yaml

    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError as error:
        where = getattr(error, "problem_mark", None)
        line = f" (line {where.line + 1})" if where is not None else ""
        msg = f"{source}: neither YAML nor JSON{line}; `kedge mapping export` shows the form"
        raise InputError(msg) from error
    if not isinstance(found, dict) or not isinstance(found.get("mappings"), list):
        msg = f"{source}: give model and a list of mappings; `kedge mapping export` shows the form"
        raise InputError(msg)
    return found


def _unknown(what: str, given: str, whose: str, known: Iterable[str]) -> InputError:
    names = sorted(known)
    return InputError(
        f"{whose} has no {what} '{given}'; there is: {shortened(names) or 'none'}."
        f"{did_you_mean(given, names)}"
    )
