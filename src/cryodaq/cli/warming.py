"""Compiling the imaging code ahead of the first movie: small movies of every stored type go through all stages."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cryodaq.app.preprocess_movie import Engines
    from cryodaq.domain.parameters import ImagingParameters

SHAPE = (6, 256, 256)
STORED_TYPES = ("uint8", "uint16", "float32")
"""What frames are read as; signed and event counts become one of these."""


def warm_imaging() -> float:
    """Send small movies through all stages, which compiles and keeps their code; return the time it took, s."""
    import tempfile

    import numpy as np

    from cryodaq.domain.parameters import from_mapping
    from cryodaq.domain.products import AlignmentProducts
    from cryodaq.engines.native_alignment import NativeMotionCorrection
    from cryodaq.wiring.engines import engines_named

    started = time.monotonic()
    counts = np.random.default_rng(1).poisson(1.0, SHAPE)
    plain = {"pixel_size_ang": 1.0, "voltage_kv": 300.0, "cs_mm": 2.7, "amplitude_contrast": 0.1}
    plain |= {"dose_per_frame_e_ang2": 1.0, "particle_diameter_ang": 40.0}
    values: dict[str, object] = {name: {"value": value, "source": "default"} for name, value in plain.items()}
    parameters = from_mapping({**values, "patches_yx": (2, 2)})
    # Sums of even and odd frames look at every second frame, for which loops are compiled anew.
    native = NativeMotionCorrection(products=AlignmentProducts(halves=True))
    engines = engines_named("native", native=native)
    for stored_type in STORED_TYPES:
        with tempfile.TemporaryDirectory(prefix="cryodaq-") as name:
            _process(counts.astype(stored_type), parameters, engines, folder=Path(name))
    _read_events()
    return time.monotonic() - started


def _process(
    frames: NDArray[Any],  # Any: of every stored type
    parameters: ImagingParameters,
    engines: Engines,
    *,
    folder: Path,
) -> None:
    import numpy as np
    import tifffile

    from cryodaq.formats.mrc import write_micrograph

    tifffile.imwrite(folder / "movie.tiff", frames, compression="lzw", photometric="minisblack")
    write_micrograph(folder / "gain.mrc", np.ones(SHAPE[1:], np.float32), pixel_size_ang=1.0)
    aligned = engines.motion_correction.align(
        folder / "movie.tiff", gain=folder / "gain.mrc", parameters=parameters, folder=folder
    )
    micrograph = Path(aligned.micrograph)
    engines.ctf_estimation.fit(micrograph, unaligned_sum=None, parameters=parameters, folder=folder)
    engines.particle_picking.pick(micrograph, parameters=parameters, folder=folder)


def _read_events() -> None:
    """Decode a few electrons as EER stores them, into frames of both types."""
    import numpy as np

    from cryodaq.formats.eer import add_events

    for counted in (np.uint8, np.uint16):
        add_events(np.frombuffer(bytes(16), np.uint8), np.zeros(8, counted), (7, 2, 2, 0), (4, 0))
