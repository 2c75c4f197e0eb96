"""Gain references of electron events: by which convention, and which way round, each kind is applied."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from cryodaq.domain.parameters import ImagingParameters, Source, Sourced
from cryodaq.engines.native_alignment import NativeMotionCorrection
from cryodaq.formats.mrc import read_micrograph, write_micrograph

SHAPE, RAW_FRAMES, DOSE = (160, 192), 80, 0.1
EER, RUN_BITS, SUB_PIXEL_BITS = 65001, 7, 4


def said(value: float) -> Sourced:
    return Sourced(value=value, source=Source.OPERATOR)


PARAMETERS = ImagingParameters(
    pixel_size_ang=said(1.0),
    voltage_kv=said(300.0),
    cs_mm=said(2.7),
    amplitude_contrast=said(0.1),
    dose_per_frame_e_ang2=said(DOSE),
    particle_diameter_ang=said(150.0),
)


def encode(events: NDArray[np.bool_]) -> bytes:
    """One raw frame: run lengths between events, each event followed by its place within the pixel."""
    longest = (1 << RUN_BITS) - 1
    places = np.append(np.flatnonzero(events), events.size)
    codes: list[tuple[int, int]] = []
    for run in np.diff(places, prepend=-1) - 1:
        codes += [(longest, RUN_BITS)] * int(run // longest)
        codes.append((int(run % longest), RUN_BITS))
        codes.append((5, SUB_PIXEL_BITS))
    rest = codes[:-1] if codes[-2][0] else codes[:-2]
    bits = np.concatenate([value >> np.arange(count) & 1 for value, count in rest])
    return np.packbits(bits.astype(np.uint8), bitorder="little").tobytes()


@pytest.fixture(scope="module")
def factors() -> NDArray[np.float32]:
    """What counted electrons are multiplied by; one pixel is defective."""
    gain = np.random.default_rng(5).uniform(0.6, 1.4, SHAPE).astype(np.float32)
    gain[40, 50] = 0
    return gain


def write_eer(path: Path, frames: list[bytes]) -> None:
    """A TIFF file with one strip of events a page."""
    pieces, at = [b"II*\0"], 8
    for number, data in enumerate(frames):
        table = at + len(data) + len(data) % 2
        tags = {256: SHAPE[1], 257: SHAPE[0], 258: 8, 259: EER, 273: at, 278: SHAPE[0], 279: len(data)}
        after = table + 2 + 12 * len(tags) + 4
        pieces += [struct.pack("<I", table), data + bytes(len(data) % 2), struct.pack("<H", len(tags))]
        pieces += [struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items()]
        at = after
        if number == len(frames) - 1:
            pieces.append(bytes(4))
    path.write_bytes(b"".join(pieces))


@pytest.fixture(scope="module")
def movie(tmp_path_factory: pytest.TempPathFactory, factors: NDArray[np.float32]) -> Path:
    rng = np.random.default_rng(6)
    heard = np.divide(DOSE, factors, out=np.zeros_like(factors), where=factors > 0)
    path = tmp_path_factory.mktemp("events") / "movie.eer"
    write_eer(path, [encode((rng.random(SHAPE) < heard).ravel()) for _ in range(RAW_FRAMES)])
    return path


@pytest.mark.parametrize(
    ("name", "turned"),
    [("a.gain", False), ("a.mrc", False), ("a.gain", True), ("a.mrc", True)],
)
def test_a_gain_file_multiplies_any_other_divides_and_reversed_rows_are_noticed(
    movie: Path, factors: NDArray[np.float32], tmp_path: Path, name: str, turned: bool
) -> None:
    stored = factors if name == "a.gain" else np.divide(1, factors, out=np.zeros_like(factors), where=factors > 0)
    stored = np.ascontiguousarray(stored[::-1] if turned else stored)
    if name == "a.gain":
        tifffile.imwrite(tmp_path / name, stored, photometric="minisblack")
    else:
        write_micrograph(tmp_path / name, stored, pixel_size_ang=1.0)
    result = NativeMotionCorrection().align(movie, gain=tmp_path / name, parameters=PARAMETERS, folder=tmp_path)
    assert result.gain_applied
    assert result.gain_orientation == ("rows reversed" if turned else "as stored")
    assert result.frame_count == 40
    total, _ = read_micrograph(tmp_path / "unaligned_sum.mrc")
    sound = factors > 0
    # Even illumination becomes even: what is left follows the gain no more than chance lets it.
    assert abs(np.corrcoef(total[sound], factors[sound])[0, 1]) < 0.03
    level = total[sound].mean() / (RAW_FRAMES * DOSE)
    assert 0.9 < level < 1.1
    assert result.hot_pixels == 0
    assert abs(total[40, 50] / total.mean() - 1) < 0.9
