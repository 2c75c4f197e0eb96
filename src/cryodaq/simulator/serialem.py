"""A session of SerialEM: one folder of frame stacks, an mdoc beside each, and a navigator file."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cryodaq.simulator.acquisition import Acquisition, ExposureFiles
from cryodaq.simulator.camera import write_jpg
from cryodaq.simulator.pictures import draw_grid_square

GRID_NAME = "Grid1"
MAGNIFICATION = 105_000


@dataclass(frozen=True, slots=True, kw_only=True)
class SerialEmSession:
    """Names and writes the files of one SerialEM session, in the order in which SerialEM does."""

    folder: Path

    def count_exposures(self) -> int:
        """Count the movies that the session has already, so that a second start goes on with new names."""
        stacks = (path for path in self.folder.glob(f"*_{GRID_NAME}_*") if path.suffix in {".tif", ".mrc"})
        return sum(1 for _ in stacks)

    def begin(self, now: datetime) -> None:
        """Write the navigator file; it lives on through the session."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._write_navigator(now, exposures=self.count_exposures())

    def files_for(self, number: int, now: datetime, *, movie_suffix: str) -> ExposureFiles:
        """Name the files of an exposure, counted from 0 within the session; SerialEM counts from 1."""
        name = f"{now:%Y-%m-%d_%H.%M.%S}_{GRID_NAME}_{number + 1:04d}"
        movie = self.folder / f"{name}{movie_suffix}"
        return ExposureFiles(name=name, movie=movie, metadata=movie.with_name(f"{movie.name}.mdoc"))

    def prepare(self, acquisition: Acquisition, *, rng: np.random.Generator) -> None:
        """Take a picture of the grid square before the first exposure."""
        if acquisition.number == 0:
            write_jpg(self.folder / "square_map.jpg", draw_grid_square(rng))

    def finish(
        self,
        acquisition: Acquisition,
        files: ExposureFiles,
        *,
        picture: NDArray[np.floating],
        with_metadata: bool,
    ) -> None:
        """Write what follows a movie: a snapshot, the frame mdoc, then the navigator file."""
        write_jpg(self.folder / f"{files.name}.jpg", picture)
        if with_metadata:
            files.metadata.write_text(self._describe(acquisition, files), encoding="ascii", newline="\r\n")
        self._write_navigator(acquisition.acquired_at, exposures=acquisition.number + 1)

    def _describe(self, acquisition: Acquisition, files: ExposureFiles) -> str:
        conditions, moment = acquisition.shot.conditions, acquisition.acquired_at
        stage_x, stage_y = _stage_um(acquisition.number)
        lines = [
            f"T = SerialEM: Simulated microscope             {moment:%d-%b-%y  %H:%M:%S}    ",
            f"Voltage = {conditions.voltage_kv:g}",
            "",
            "[FrameSet = 0]",
            "TiltAngle = 0.000999877",
            f"StagePosition = {stage_x:g} {stage_y:g}",
            "StageZ = -13.1043",
            f"Magnification = {MAGNIFICATION}",
            "Intensity = 0.127476",
            f"ExposureDose = {acquisition.dose_e_ang2:.6g}",
            f"DoseRate = {acquisition.dose_e_px / acquisition.exposure_time_s:.6g}",
            f"PixelSpacing = {conditions.pixel_size_ang:.6g}",
            "SpotSize = 7",
            f"Defocus = {-acquisition.shot.target_defocus_ang / 1e4 - 0.05:.6g}",
            "ImageShift = 0 0",
            "RotationAngle = 174.13",
            f"ExposureTime = {acquisition.exposure_time_s:.6g}",
            "Binning = 1",
            "CameraIndex = 1",
            "DividedBy2 = 0",
            "OperatingMode = 1",
            "UsingCDS = 0",
            "MagIndex = 33",
            "LowDoseConSet = 4",
            "CountsPerElectron = 1",
            f"TargetDefocus = {-acquisition.shot.target_defocus_ang / 1e4:.6g}",
            f"SubFramePath = X:\\{self.folder.name}\\{files.movie.name}",
            f"NumSubFrames = {acquisition.shot.frame_count}",
            f"FrameDosesAndNumber = {conditions.dose_per_frame_e_ang2:.6g} {acquisition.shot.frame_count}",
            f"DateTime = {moment:%d-%b-%y  %H:%M:%S}",
            "FilterSlitAndLoss = 20 0",
            f"UncroppedSize = {-acquisition.shot.shape_yx[1]} {-acquisition.shot.shape_yx[0]}",
        ]
        if acquisition.shot.gain_name is not None:
            lines.insert(4, f"GainReference = {acquisition.shot.gain_name}")
        return "\n".join(lines) + "\n"

    def _write_navigator(self, now: datetime, *, exposures: int) -> None:
        lines = ["AdocVersion = 2.00", f"LastSavedAs = X:\\{self.folder.name}\\{self.folder.name}.nav", ""]
        for number in range(exposures):
            x, y = _stage_um(number)
            lines += [
                f"[Item = {number + 1}]",
                "Color = 0",
                f"StageXYZ = {x:g} {y:g} -13.1043",
                "NumPts = 1",
                "Regis = 1",
                "Type = 0",
                f"Note = acquired before {now:%d-%b-%y %H:%M:%S}",
                f"MapID = {193_679_075 + number}",
                f"PtsX = {x:g}",
                f"PtsY = {y:g}",
                "",
            ]
        path = self.folder / f"{self.folder.name}.nav"
        path.write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\r\n")


def _stage_um(number: int) -> tuple[float, float]:
    return -47.2 + 2.6 * (number % 4), 28.4 + 2.6 * (number // 4)
