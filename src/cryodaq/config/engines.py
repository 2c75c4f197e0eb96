"""The facility file's choice of programs for the stages, and how they are started."""

from __future__ import annotations

import re
from typing import Annotated, Literal, get_args

from pydantic import Field, field_validator, model_validator

from cryodaq.config.tables import Table

STAGES = ("motion_correction", "ctf_estimation", "particle_picking")


class Program(Table):
    """How an external program is started; what is left out is as usual for the program."""

    executable: str | None = Field(default=None, min_length=1, description="Name on the path, or path.")
    prefix: tuple[str, ...] = Field(
        default=(),
        description='Command that runs it, word by word, such as ["apptainer", "exec", "--nv", "/soft/x.sif"].',
    )
    modules: tuple[str, ...] = Field(default=(), description="Environment modules that are loaded first.")
    version: str | None = Field(
        default=None, pattern=r"^\d+(\.\d+)*$", description="Beginning of the version that must be found."
    )
    timeout_s: float = Field(default=1800.0, gt=0, description="It is stopped when it runs longer.")
    threads: int = Field(default=1, ge=1, description="Threads that it may use.")
    gpus: tuple[Annotated[int, Field(ge=0)], ...] = Field(default=(0,), description="Devices that it may use.")
    model: str | None = Field(default=None, min_length=1, description="Trained model of a picker: name or file.")
    threshold: float | None = Field(default=None, description="Least score of a pick, in the picker's measure.")


class Programs(Table):
    """External programs."""

    relion: Program = Program()
    motioncor2: Program = Program()
    motioncor3: Program = Program()
    ctffind4: Program = Program()
    ctffind5: Program = Program()
    gctf: Program = Program()
    topaz: Program = Program()
    cryolo: Program = Program()


MotionCorrectionName = Literal["native", "relion", "motioncor2", "motioncor3"]
CtfEstimationName = Literal["native", "ctffind4", "ctffind5", "gctf"]
ParticlePickingName = Literal["native", "relion", "topaz", "cryolo"]


def programs_of_stages() -> dict[str, tuple[str, ...]]:
    """Return the programs that each stage can be given, by the stage's setting."""
    kinds = (MotionCorrectionName, CtfEstimationName, ParticlePickingName)
    return {stage: get_args(kind) for stage, kind in zip(STAGES, kinds, strict=True)}


class EngineRule(Table):
    """Other programs for some samples; of several rules that fit, each stage takes the first that names one for it."""

    microscopes: tuple[str, ...] = Field(default=(), description="Only samples of these; default: of all.")
    experiments: str | None = Field(
        default=None, description="Only experiments whose whole name matches this regular expression."
    )
    samples: tuple[Annotated[str, Field(pattern=r"^[0-9a-f]{24}$")], ...] = Field(
        default=(), description="Only the samples of these ids in the elogbook."
    )
    motion_correction: MotionCorrectionName | None = Field(default=None, description="Program of align.")
    ctf_estimation: CtfEstimationName | None = Field(default=None, description="Program of ctf.")
    particle_picking: ParticlePickingName | None = Field(default=None, description="Program of pick.")

    @field_validator("experiments")
    @classmethod
    def _valid_pattern(cls, pattern: str | None) -> str | None:
        try:
            re.compile(pattern or "")
        except re.error as error:
            message = f"{pattern} is not a regular expression: {error}"
            raise ValueError(message) from None
        return pattern

    def fits(self, *, microscope: str, experiment: str, sample_id: str) -> bool:
        """Whether the rule is meant for a sample."""
        return (
            (not self.microscopes or microscope in self.microscopes)
            and (self.experiments is None or re.fullmatch(self.experiments, experiment) is not None)
            and (not self.samples or sample_id in self.samples)
        )


class Engines(Table):
    """Programs of the stages."""

    motion_correction: MotionCorrectionName = Field(default="native", description="Program of align.")
    ctf_estimation: CtfEstimationName = Field(default="native", description="Program of ctf.")
    particle_picking: ParticlePickingName = Field(default="native", description="Program of pick.")
    device: Literal["auto", "cpu", "cuda"] = Field(
        default="auto",
        description="Where native motion correction adds frames up; auto: on a GPU if cryodaq[gpu] finds one.",
    )
    eer_upsampling: Literal[1, 2, 4] = Field(
        default=1,
        description="Into how many pixels along each edge native motion correction divides the sensor's to place the "
        "electrons of EER movies; micrographs keep the sensor's pixels.",
    )
    rules: tuple[EngineRule, ...] = Field(default=(), description="Other programs for some samples.")
    programs: Programs = Programs()

    def for_sample(self, *, microscope: str, experiment: str, sample_id: str) -> Engines:
        """Return the choice for one sample."""
        chosen: dict[str, object] = {}
        for rule in self.rules:
            if rule.fits(microscope=microscope, experiment=experiment, sample_id=sample_id):
                chosen = {**{stage: name for stage in STAGES if (name := getattr(rule, stage)) is not None}, **chosen}
        return self.model_copy(update=chosen)

    @property
    def chosen(self) -> frozenset[str]:
        """Every program that some sample may be processed with."""
        return frozenset(
            name for choice in (self, *self.rules) for stage in STAGES if (name := getattr(choice, stage)) is not None
        )

    @model_validator(mode="after")
    def _model_for_cryolo(self) -> Engines:
        if "cryolo" in self.chosen and self.programs.cryolo.model is None:
            message = "cryolo needs a trained model; write its file as programs.cryolo.model"
            raise ValueError(message)
        return self


class Products(Table):
    """Files that motion correction leaves beside the aligned micrographs."""

    unaligned_sum: bool = Field(default=False, description="Keep the unaligned sum after CTF and preview used it.")
    halves: bool = Field(default=False, description="Write sums of even and odd frames (native motion correction).")
    power_spectrum: bool = Field(default=False, description="Write power spectra (native motion correction).")
    patch_tracks: bool = Field(default=True, description="Write tracks of patches (native motion correction).")
    half_precision: bool = Field(
        default=False,
        description="Write sums as 16-bit floating point, MRC mode 12 (native motion correction); "
        "needs programs that read it, such as RELION 4.",
    )
