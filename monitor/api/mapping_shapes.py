"""Mappings as OpenAPI describes them."""

from __future__ import annotations

from typing import Annotated

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints

from alerts.mappings import MappingStatus
from monitor.api.shapes import Author, Name

Reason = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=1_000)]
Word = Annotated[str, StringConstraints(max_length=1_000)]
MOST_ENTRIES = 1_000


class EntryShape(BaseModel):
    """What a feature of the source, or one category of it, is in a domain."""

    model_config = ConfigDict(extra="forbid")

    column: Annotated[str, StringConstraints(min_length=1, max_length=1_000)]
    category: Word = ""
    domain_column: Word = Field("", description='"": the same name')
    domain_category: Word = ""
    scale: float = Field(1.0, allow_inf_nan=False, description="Domain = scale × source + offset")
    offset: float = Field(0.0, allow_inf_nan=False)
    missing: Word = Field("", description="What the domain writes for a missing value")
    absent: bool = False


class ImportLine(EntryShape):
    domain: Name
    since: AwareDatetime | None = Field(None, description="Event time; null: always")


class MappingImport(BaseModel):
    """Mappings to be looked at: each becomes a new version unless the newest says the same."""

    model_config = ConfigDict(extra="forbid")

    model: Name
    by: Author = Field("", validate_default=True, description="Needed only without a token")
    mappings: list[ImportLine] = Field(min_length=1, max_length=MOST_ENTRIES)


class MappingShape(BaseModel):
    """One version of a mapping."""

    id: str
    model: str
    domain: str
    version: int
    status: MappingStatus
    words: str
    entry: EntryShape
    since: AwareDatetime | None
    evidence: str
    incident_id: str | None
    created_at: AwareDatetime
    created_by: str | None = Field(description="null: Kedge")
    decided_at: AwareDatetime | None
    decided_by: str | None
    reason: str | None


class MappingList(BaseModel):
    mappings: list[MappingShape]


class Imported(BaseModel):
    added: list[MappingShape]
    unchanged: int = Field(description="Entries whose newest version says the same")


class Judged(BaseModel):
    """A decision on a mapping, with its reason."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"example": {"by": "ann", "reason": "asked the partner"}}
    )

    by: Author = Field("", validate_default=True, description="Needed only without a token")
    reason: Reason
