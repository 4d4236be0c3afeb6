"""What is measured of two windows is measured once."""

from tests.measured_once import measured_once

__all__ = ["measured_once"]
