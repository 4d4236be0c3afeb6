"""The `baseline` part of a model: what the transferred model is held against."""

from __future__ import annotations

from pydantic import Field

from detectors.records import BaselinePlan, Design
from monitor.config.sections import DurationUs, Section
from monitor.durations import parse_duration


class BaselineConfig(Section):
    """Where the baseline's losses come from, and when it is too weak to compare with."""

    kind: Design | None = None
    treated: str = Field("transfer", min_length=1, max_length=200)
    control: str = Field("baseline", min_length=1, max_length=200)
    share: float = Field(0.5, ge=0.01, le=0.99)
    propensity: str = ""
    least_rows: int = Field(500, ge=1)
    max_age: DurationUs = Field(parse_duration("365d", what="max_age"))
    seed: int = Field(0, ge=0)
    most_rows: int = Field(20_000, ge=500, le=200_000)
    fit_seconds: int = Field(120, ge=1, le=3_600)
    fit_mebibytes: int = Field(2_048, ge=256)
    probabilities: dict[str, str] = Field(default_factory=dict)

    def plan(self) -> BaselinePlan:
        """The pure core's view of this section."""
        return BaselinePlan(
            design=self.kind,
            treated=self.treated,
            control=self.control,
            share=self.share,
            propensity=self.propensity,
            least_rows=self.least_rows,
            max_age_us=self.max_age,
            seed=self.seed,
            most_rows=self.most_rows,
            fit_seconds=self.fit_seconds,
            fit_mebibytes=self.fit_mebibytes,
        )
