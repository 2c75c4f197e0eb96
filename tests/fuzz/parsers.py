"""What is fuzzed: every parser of foreign bytes, with something real to begin from.

A parser may return an answer or raise `FormatError`; anything else is a finding.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO, StringIO
from pathlib import Path, PurePath

import numpy as np
import tifffile

from cryodaq.formats.closure import inspect
from cryodaq.formats.coordinates import read_coordinates
from cryodaq.formats.ctffind_txt import parse_ctffind, parse_ctffind_curves
from cryodaq.formats.defects import parse_defect_list
from cryodaq.formats.dm import read_largest_image
from cryodaq.formats.epu_session import read_epu_session
from cryodaq.formats.epu_xml import read_epu_xml
from cryodaq.formats.gain import read_gain
from cryodaq.formats.gctf_log import parse_gctf_log
from cryodaq.formats.mdoc import read_frame_mdoc
from cryodaq.formats.metadata import read_metadata
from cryodaq.formats.motioncor_log import parse_motioncor_log
from cryodaq.formats.movie import read_frames, read_header
from cryodaq.formats.relion_log import parse_relion_motion_log
from cryodaq.formats.relion_motion import read_relion_motion
from cryodaq.formats.star import parse_star, write_star
from cryodaq.formats.topaz_txt import parse_topaz

Parse = Callable[[bytes, Path], object]
NAME = PurePath("fuzzed")
SEEDS = Path(__file__).parent / "seeds"
EPU = Path(__file__).parents[1] / "data" / "epu"
MDOC = """T = SerialEM: Digitized by Gatan K2 Summit 25-Sep-23  13:01:47
Voltage = 300

[FrameSet = 0]
GainReference = CountRef_1.dm4
StagePosition = -47.2012 28.4092
PixelSpacing = 0.82
ImageShift = 1.4 -0.9
Binning = 1
SubFramePath = X:\\Users\\raw\\a_0035.tif
NumSubFrames = 40
FrameDosesAndNumber = 0.98073 40
DateTime = 25-Sep-23  14:13:26
"""
CTFFIND = """# Output from CTFFind version 4.1.14, run on 2024-08-30 16:05:30
# Input file: a.mrc ; Number of micrographs: 1
# Pixel size: 1.400 Angstroms ; acceleration voltage: 200.0 keV ; spherical aberration: 1.40 mm ; amplitude contrast: 0.10
# Box size: 512 pixels ; min. res.: 30.0 Angstroms ; max. res.: 5.0 Angstroms ; min. def.: 5000.0 um; max. def. 50000.0 um
# Columns: #1 - micrograph number
1.000000 37034.929688 35846.542969 -14.849661 0.000000 0.017465 9.554261
"""  # noqa: E501  # as the program writes it
MOTIONCOR = """Full-frame alignment
  Frame   x Shift   y Shift
    1      0.000      0.000
    2     -0.610     -2.320

Global shifts are corrected: 0.064114 sec
"""
RELION = """Movie size: X = 3710 Y = 3838 N = 3
Frames to be used: 1 2 3
Detected 12 hot pixels to be corrected.
Patches: X = 5 Y = 5
Polynomial fit RMSD: X = 0.31 px Y = 0.28 px
Written aligned and dose-weighted sum to a.mrc
"""
GCTF = """   Defocus_U   Defocus_V       Angle        CCC
    22195.93    22722.04       47.05    0.039181  Final Values

Resolution limit estimated by EPA: RES_LIMIT 3.972
"""
DEFECTS = b"CameraSizeX 60\nCameraSizeY 40\nPartialBadColumn 2 2 5 9\nBadColumns 3\nBadPixels 5 2\n"
TOPAZ = b"image_name\tx_coord\ty_coord\tscore\na\t1\t2\t3\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One parser."""

    name: str
    parse: Parse
    seeds: tuple[bytes, ...]


def _on_disk(suffix: str, read: Callable[[Path], object]) -> Parse:
    """Return a parser of files as one of bytes; the file lies in the folder that it is given."""

    def parse(data: bytes, folder: Path) -> object:
        path = folder / f"fuzzed{suffix}"
        path.write_bytes(data)
        return read(path)

    return parse


def _closure(name: str) -> Parse:
    return lambda data, _: inspect(BytesIO(data), name=PurePath(name))


def _real(pattern: str, *, longest: int = 200_000) -> tuple[bytes, ...]:
    """Return the first real files of a kind, where the data beside the project is there."""
    found = sorted((Path(__file__).parents[3] / "shared/data").glob(pattern))
    return tuple(path.read_bytes()[:longest] for path in found[:2])


def _text(read: Callable[..., object], **more: object) -> Parse:
    return lambda data, _: read(data.decode("utf-8", "replace"), **more)


def _tiff() -> bytes:
    handle = BytesIO()
    frames = np.arange(2 * 6 * 8, dtype=np.uint8).reshape(2, 6, 8)
    tifffile.imwrite(handle, frames, photometric="minisblack", compression="lzw")
    return handle.getvalue()


def _mrc() -> bytes:
    header = np.zeros(256, "<i4")
    header[[0, 1, 2, 3, 7, 8, 9]] = [8, 6, 2, 0, 8, 6, 2]
    header[[10, 11, 12]] = np.array([8.0, 6.0, 2.0], "<f4").view("<i4")
    raw = bytearray(header.tobytes())
    raw[208:216] = b"MAP DA\x00\x00"
    return bytes(raw) + bytes(range(96))


def _star() -> bytes:
    text = StringIO()
    write_star(text, {"optics": {"rlnVoltage": [300.0]}, "": {"rlnCoordinateX": [1.0], "rlnCoordinateY": [2.0]}})
    return text.getvalue().encode()


def targets() -> tuple[Target, ...]:
    """Return every parser with its seeds."""
    xml = tuple(path.read_bytes() for path in sorted(EPU.glob("*.xml")))
    tiff, mrc, star = _tiff(), _mrc(), _star()
    dm = (
        *_real("movies/dm4_format/*.dm4"),
        np.array([4, 200, 1], ">u4").tobytes() + b"\x01\x00" + bytes(60),
        bytes(200),
    )
    return (
        Target(name="epu_xml", parse=lambda data, _: read_epu_xml(data, source="a.xml"), seeds=xml),
        Target(
            name="epu_session",
            parse=lambda data, _: read_epu_session(data, path=NAME),
            seeds=(b"<EpuSessionXml><Name>a</Name></EpuSessionXml>",),
        ),
        Target(name="mdoc", parse=_text(read_frame_mdoc), seeds=(MDOC.encode(),)),
        Target(name="defects", parse=_text(parse_defect_list, path=NAME), seeds=(DEFECTS,)),
        Target(name="star", parse=_text(parse_star, path=NAME), seeds=(star,)),
        Target(name="coordinates", parse=_on_disk(".star", read_coordinates), seeds=(star,)),
        Target(name="relion_motion", parse=_on_disk(".star", read_relion_motion), seeds=(star,)),
        Target(name="tiff_header", parse=_on_disk(".tif", read_header), seeds=(tiff,)),
        Target(name="tiff_frames", parse=_on_disk(".tif", read_frames), seeds=(tiff,)),
        Target(name="tiff_metadata", parse=_on_disk(".tif", read_metadata), seeds=(tiff,)),
        Target(name="mrc_header", parse=_on_disk(".mrc", read_header), seeds=(mrc,)),
        Target(name="mrc_frames", parse=_on_disk(".mrc", read_frames), seeds=(mrc,)),
        Target(name="mrc_metadata", parse=_on_disk(".mrc", read_metadata), seeds=(mrc,)),
        Target(name="gain", parse=_on_disk(".mrc", read_gain), seeds=(mrc,)),
        Target(name="dm4", parse=_on_disk(".dm4", read_largest_image), seeds=dm),
        Target(
            name="closure_tiff", parse=lambda data, _: inspect(BytesIO(data), name=PurePath("a.tif")), seeds=(tiff,)
        ),
        Target(name="closure_mrc", parse=lambda data, _: inspect(BytesIO(data), name=PurePath("a.mrc")), seeds=(mrc,)),
        Target(name="closure_dm4", parse=lambda data, _: inspect(BytesIO(data), name=PurePath("a.dm4")), seeds=dm),
        Target(name="closure_xml", parse=lambda data, _: inspect(BytesIO(data), name=PurePath("a.xml")), seeds=xml),
        Target(name="ctffind", parse=_text(parse_ctffind, path=NAME), seeds=(CTFFIND.encode(),)),
        Target(name="ctffind_curves", parse=_text(parse_ctffind_curves, path=NAME), seeds=(CTFFIND.encode(),)),
        Target(
            name="motioncor",
            parse=_text(parse_motioncor_log, path=NAME),
            seeds=(MOTIONCOR.encode(), *_real("logs/motioncor2/*")),
        ),
        Target(
            name="relion_log",
            parse=_text(parse_relion_motion_log, path=NAME),
            seeds=(RELION.encode(), *_real("logs/relion5_own_motioncor/*.log")),
        ),
        Target(name="gctf", parse=_text(parse_gctf_log, path=NAME), seeds=(GCTF.encode(),)),
        Target(name="topaz", parse=_text(parse_topaz, path=NAME), seeds=(TOPAZ,)),
    )
