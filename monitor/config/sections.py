"""What every section of the configuration is made of."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from monitor.durations import parse_duration

NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"


def _duration(value: object) -> object:
    if isinstance(value, str):
        return parse_duration(value, what="duration", allow_zero=True)
    if isinstance(value, int | float):
        msg = f"{value} has no unit; write it as in '90min', '6h' or '30d'"
        raise ValueError(msg)  # noqa: TRY004  # pydantic words a ValueError, not a TypeError
    return value


DurationUs = Annotated[int, BeforeValidator(_duration), Field(gt=0)]
NonNegativeUs = Annotated[int, BeforeValidator(_duration), Field(ge=0)]


class Section(BaseModel):
    """A part of the file; a key it does not know is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)
