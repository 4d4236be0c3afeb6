"""Is a column still the column it was? One file a check; `check_schema` runs them all."""

from detectors.schema.check import DETERMINISTIC, SchemaCheck
from detectors.schema.run import check_schema

__all__ = ["DETERMINISTIC", "SchemaCheck", "check_schema"]
