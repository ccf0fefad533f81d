"""What every part of the settings is."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Seconds = Annotated[float, Field(gt=0)]


class Section(BaseModel):
    """A part of the settings; unknown keys are errors, because a misspelt key is a setting that does nothing."""

    # A validation error of pydantic would repeat the section, secrets included, in tracebacks.
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, hide_input_in_errors=True)
