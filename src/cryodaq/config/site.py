"""The facility itself: its name, zone, addresses and calibrations."""

from __future__ import annotations

import re
from typing import Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, field_validator

from cryodaq.config.tables import Table


class CalibratedPixelSize(Table):
    """The facility's own calibration, stronger than anything that a file or operator says."""

    detector: str = Field(description="The microscope's `detector`.")
    magnification: float = Field(gt=0, description="Nominal magnification, as the acquisition program says it.")
    pixel_size_ang: float = Field(gt=0, le=200, description="Physical pixel at the specimen, Å.")


class Site(Table):
    """The facility."""

    name: str = Field(default="cryo-EM facility", description="Shown on every page.")
    zone: str = Field(default="UTC", description="Time zone of the screens, such as Europe/Berlin.")
    experiment_name_pattern: str = Field(
        default=r"^\d{8}-C\w{3,4}$", description="Regular expression that every experiment's name must match."
    )
    log_format: Literal["text", "json"] = Field(
        default="text", description="Of our own processes: for people, or one JSON object a line for a log store."
    )
    web_url: str | None = Field(default=None, description="Where browsers find the pages; default: this machine.")
    elogbook_url: str | None = Field(default=None, description="Where browsers find the elogbook.")
    airflow_url: str | None = Field(default=None, description="Where browsers find Airflow.")
    calibrated_pixel_sizes: tuple[CalibratedPixelSize, ...] = Field(
        default=(), description="Calibrations of the facility."
    )

    @field_validator("zone")
    @classmethod
    def _known_zone(cls, zone: str) -> str:
        try:
            ZoneInfo(zone)
        except (ZoneInfoNotFoundError, ValueError):
            message = f"{zone} is not a time zone; write one such as Europe/Berlin"
            raise ValueError(message) from None
        return zone

    @field_validator("experiment_name_pattern")
    @classmethod
    def _valid_pattern(cls, pattern: str) -> str:
        try:
            re.compile(pattern)
        except re.error as error:
            message = f"{pattern} is not a regular expression: {error}"
            raise ValueError(message) from None
        return pattern
