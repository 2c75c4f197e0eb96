"""A session of EPU 3: grid squares, foil holes, several exposures in each hole."""

from __future__ import annotations

import uuid
import zlib
from dataclasses import dataclass
from datetime import datetime
from html import escape
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cryodaq.simulator.acquisition import Acquisition, ExposureFiles
from cryodaq.simulator.camera import write_jpg
from cryodaq.simulator.epu_xml import EPU_VERSION, EpuImage, describe_image
from cryodaq.simulator.pictures import draw_foil_hole, draw_grid_square

EXPOSURES_PER_HOLE = 2
HOLES_PER_SQUARE = 3
MAGNIFICATION = 105_000


@dataclass(frozen=True, slots=True, kw_only=True)
class EpuSession:
    """Names and writes the files of one EPU session, in the order in which EPU does."""

    folder: Path
    seed: int

    def count_exposures(self) -> int:
        """Count the movies that the session has already, so that a second start goes on with new names."""
        return sum(1 for _ in self.folder.glob("Images-Disc1/GridSquare_*/Data/*_fractions.*"))

    def begin(self, now: datetime) -> None:
        """Write what EPU writes before the first exposure; the .dm files live on through the session."""
        (self.folder / "Metadata").mkdir(parents=True, exist_ok=True)
        (self.folder / "Images-Disc1").mkdir(exist_ok=True)
        self._write_session_file(now, exposures=self.count_exposures())

    def files_for(self, number: int, now: datetime, *, movie_suffix: str) -> ExposureFiles:
        """Name the files of an exposure, counted from 0 within the session."""
        hole_number, area_number = divmod(number, EXPOSURES_PER_HOLE)
        area = self._identity("areas") + 6 * area_number
        in_square = hole_number % HOLES_PER_SQUARE
        name = f"FoilHole_{self._hole(hole_number)}_Data_{area}_{in_square}_{_stamp(now)}"
        folder = self._square_folder(number) / "Data"
        movie = folder / f"{name}_fractions{'.tiff' if movie_suffix == '.tif' else movie_suffix}"
        return ExposureFiles(name=name, movie=movie, metadata=folder / f"{name}.xml")

    def prepare(self, acquisition: Acquisition, *, rng: np.random.Generator) -> None:
        """Write the pictures that come before an exposure: of its grid square and of its foil hole, once."""
        square = self._square_folder(acquisition.number)
        stamp = _stamp(acquisition.acquired_at)
        if not square.exists():
            for folder in (square / "Data", square / "FoilHoles"):
                folder.mkdir(parents=True, exist_ok=True)
            self._write_picture(
                square / f"GridSquare_{stamp}", draw_grid_square(rng), acquisition, pixel_size_ang=1800.0
            )
        if acquisition.number % EXPOSURES_PER_HOLE == 0:
            hole = self._hole(acquisition.number // EXPOSURES_PER_HOLE)
            self._write_picture(
                square / "FoilHoles" / f"FoilHole_{hole}_{stamp}",
                draw_foil_hole(rng),
                acquisition,
                pixel_size_ang=90.0,
            )

    def finish(
        self,
        acquisition: Acquisition,
        files: ExposureFiles,
        *,
        picture: NDArray[np.floating],
        with_metadata: bool,
    ) -> None:
        """Write what follows a movie: the picture, then the XML, then the session's living files."""
        write_jpg(files.metadata.with_suffix(".jpg"), picture)
        if with_metadata:
            conditions = acquisition.shot.conditions
            image = EpuImage(
                identity=uuid.uuid5(uuid.NAMESPACE_OID, files.name),
                acquired_at=acquisition.acquired_at,
                shape_yx=acquisition.shot.shape_yx,
                pixel_size_ang=conditions.pixel_size_ang,
                magnification=MAGNIFICATION,
                voltage_kv=conditions.voltage_kv,
                applied_defocus_ang=-acquisition.shot.target_defocus_ang,
                exposure_time_s=acquisition.exposure_time_s,
                dose_e_ang2=acquisition.dose_e_ang2,
                stage_um_xyz=self._stage(acquisition.number),
                beam_shift_xy=(0.01 * (acquisition.number % EXPOSURES_PER_HOLE), -0.02),
                fractions=acquisition.shot.frame_count,
            )
            files.metadata.write_text(describe_image(image), encoding="utf-8")
        self._write_session_file(acquisition.acquired_at, exposures=acquisition.number + 1)
        self._write_square_file(acquisition)

    def _identity(self, kind: str) -> int:
        """Start of a run of eight-digit numbers of its own for each session and kind of thing."""
        return 10_000_000 + zlib.crc32(f"{self.seed}/{self.folder.name}/{kind}".encode()) % 80_000_000

    def _hole(self, hole_number: int) -> int:
        return self._identity("holes") + 7 * hole_number

    def _square(self, number: int) -> int:
        return self._identity("squares") + 12 * (number // (EXPOSURES_PER_HOLE * HOLES_PER_SQUARE))

    def _square_folder(self, number: int) -> Path:
        return self.folder / "Images-Disc1" / f"GridSquare_{self._square(number)}"

    def _stage(self, number: int) -> tuple[float, float, float]:
        hole_number = number // EXPOSURES_PER_HOLE
        return (-97.15 + 2.65 * (hole_number % HOLES_PER_SQUARE), -152.7 + 2.65 * hole_number, 85.7)

    def _write_picture(
        self,
        path: Path,
        picture: NDArray[np.float32],
        acquisition: Acquisition,
        *,
        pixel_size_ang: float,
    ) -> None:
        write_jpg(path.with_suffix(".jpg"), picture)
        image = EpuImage(
            identity=uuid.uuid5(uuid.NAMESPACE_OID, path.name),
            acquired_at=acquisition.acquired_at,
            shape_yx=(picture.shape[0], picture.shape[1]),
            pixel_size_ang=pixel_size_ang,
            magnification=740 if pixel_size_ang > 1000 else 11_500,
            voltage_kv=acquisition.shot.conditions.voltage_kv,
            applied_defocus_ang=-200_000.0,
            exposure_time_s=1.0,
            dose_e_ang2=1e-3,
            stage_um_xyz=self._stage(acquisition.number),
        )
        path.with_suffix(".xml").write_text(describe_image(image), encoding="utf-8")

    def _write_session_file(self, now: datetime, *, exposures: int) -> None:
        (self.folder / "EpuSession.dm").write_text(
            '<?xml version="1.0"?>\n'
            '<EpuSessionXml xmlns="http://schemas.datacontract.org/2004/07/Applications.Epu.Persistence" '
            'xmlns:i="http://www.w3.org/2001/XMLSchema-instance">\n'
            "  <DoseFractionsOutputFormat>Tiff Lzw Non-Gain normalized</DoseFractionsOutputFormat>\n"
            "  <ImageFileFormat>Mrc</ImageFileFormat>\n"
            f"  <Name>{escape(self.folder.name)}</Name>\n"
            f"  <EpuVersion>{EPU_VERSION}</EpuVersion>\n"
            f"  <AcquiredExposures>{exposures}</AcquiredExposures>\n"
            f"  <LastSaved>{now.isoformat()}</LastSaved>\n"
            "</EpuSessionXml>\n",
            encoding="utf-8",
        )

    def _write_square_file(self, acquisition: Acquisition) -> None:
        square = self._square(acquisition.number)
        (self.folder / "Metadata" / f"GridSquare_{square}.dm").write_text(
            '<?xml version="1.0"?>\n'
            '<GridSquareXml xmlns="http://schemas.datacontract.org/2004/07/Applications.Epu.Persistence">\n'
            f"  <Id>{square}</Id>\n  <LastExposure>{acquisition.number}</LastExposure>\n</GridSquareXml>\n",
            encoding="utf-8",
        )


def _stamp(now: datetime) -> str:
    return f"{now:%Y%m%d_%H%M%S}"
