"""What is fuzzed: for every foreign format all readers of it together, with something sound to begin from.

A reader may return an answer or raise `FormatError`; anything else is a finding.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from io import BytesIO, StringIO
from pathlib import Path, PurePath

from tests.fuzz import samples

from cryodaq.errors import FormatError
from cryodaq.formats.closure import inspect
from cryodaq.formats.coordinates import read_coordinates, read_scores
from cryodaq.formats.ctffind_txt import parse_ctffind, parse_ctffind_curves
from cryodaq.formats.defects import parse_defect_list, read_defects
from cryodaq.formats.dm import read_largest_image
from cryodaq.formats.epu_session import read_epu_session
from cryodaq.formats.gain import read_event_gain, read_gain
from cryodaq.formats.gctf_log import parse_gctf_log
from cryodaq.formats.metadata import read_metadata
from cryodaq.formats.motioncor_log import parse_motioncor_log
from cryodaq.formats.movie import read_frames, read_header, render_fractions
from cryodaq.formats.relion_log import parse_relion_motion_log
from cryodaq.formats.relion_motion import read_relion_motion
from cryodaq.formats.star import parse_star, write_star
from cryodaq.formats.topaz_txt import parse_topaz

Parse = Callable[[bytes, Path], object]
NAME = PurePath("fuzzed")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
SEEDS = Path(__file__).parent / "seeds"
EPU = Path(__file__).parents[1] / "data" / "epu"
SESSION = b"""<EpuSessionXml Assembly="Epu, Version=3.9.1.7"><Name>a</Name><StartDateTime>2025-01-08T15:00:00+00:00</StartDateTime>
<DoseFractionsOutputFormat>Tiff Lzw Non-Gain normalized</DoseFractionsOutputFormat><Path>Z:\\a\\b</Path></EpuSessionXml>"""  # noqa: E501
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
LISTED = """TIFF file size mode: 8 6 2 1
-Patch        5 5
Full-frame alignment
...... Frame (  1) shift:      0.000      0.000
...... Frame (  2) shift:     -0.610     -2.320
Total time: 3.2 sec
"""
TABLED = """Full-frame alignment
  Frame   x Shift   y Shift
    1      0.000      0.000
    2     -0.610     -2.320

Global shifts are corrected: 0.064114 sec
"""
MOTIONCOR = (LISTED, TABLED)
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
AVERAGES = """# Average power spectrum output by CTFFind version 4.1.14, run on 2024-08-30 16:05:30
# Input file: a.mrc ; Number of micrographs: 1
# Pixel size: 1.400 Angstroms ; acceleration voltage: 200.0 keV ; spherical aberration: 1.40 mm ; amplitude contrast: 0.10
# Box size: 512 pixels ; min. res.: 30.0 Angstroms ; max. res.: 5.0 Angstroms ; min. def.: 5000.0 um; max. def. 50000.0 um
# 6 lines per micrograph: #1 - spatial frequency (1/Angstroms); #2 - 1D rotational average of spectrum
0.0 0.1 0.2
0.1 0.1 0.1
0.1 0.2 0.1
1.0 0.5 0.1
0.9 0.8 0.1
0.1 0.2 0.3
"""  # noqa: E501  # as the program writes it


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One format: its readers as one."""

    name: str
    parse: Parse
    seeds: tuple[bytes, ...]


def _every(*readers: Parse) -> Parse:
    """Return several readers as one: each tries the bytes, whatever the others say."""

    def parse(data: bytes, folder: Path) -> object:
        for read in readers:
            with suppress(FormatError):
                read(data, folder)
        return None

    return parse


def _on_disk(suffix: str, *readers: Callable[[Path], object]) -> Parse:
    """Return readers of files as one of bytes; the file lies in the folder that it is given."""

    def parse(data: bytes, folder: Path) -> object:
        path = folder / f"fuzzed{suffix}"
        path.write_bytes(data)
        return _every(*(lambda _, __, read=read: read(path) for read in readers))(data, folder)  # type: ignore[misc]  # a lambda that binds

    return parse


def _closure(name: str) -> Parse:
    return lambda data, _: inspect(BytesIO(data), name=PurePath(name))


def _text(*readers: Callable[..., object]) -> Parse:
    return _every(*(lambda data, _, read=read: read(data.decode("utf-8", "replace"), path=NAME) for read in readers))  # type: ignore[misc]  # a lambda that binds


def _metadata_of(path: Path) -> object:
    """Read metadata, which must be fit for the ledger: finite numbers, counts above zero, texts on one line."""
    said = [asdict(one) for one in read_metadata(path)]
    json.dumps(said, allow_nan=False)
    for one in said:
        assert not any(isinstance(value, str) and _CONTROL.search(value) for value in one.values()), one
        assert one["frame_count"] is None or one["frame_count"] > 0, one
    return said


def _star() -> bytes:
    text = StringIO()
    picks = {"rlnCoordinateX": [1.0], "rlnCoordinateY": [2.0], "rlnAutopickFigureOfMerit": [0.5]}
    write_star(text, {"optics": {"rlnVoltage": [300.0]}, "": picks})
    return text.getvalue().encode()


def _motion() -> bytes:
    text = StringIO()
    general = {"rlnImageSizeX": 8, "rlnImageSizeY": 6, "rlnImageSizeZ": 2, "rlnMicrographMovieName": "a.tif"}
    general |= {"rlnMicrographBinning": 1.0, "rlnMicrographOriginalPixelSize": 0.8, "rlnMicrographStartFrame": 1}
    general |= {"rlnMicrographDoseRate": 1.2, "rlnVoltage": 300.0}
    shifts = {
        "rlnMicrographFrameNumber": [1, 2],
        "rlnMicrographShiftX": [0.0, 1.5],
        "rlnMicrographShiftY": [0.0, -9999],
    }
    write_star(text, {"general": general, "global_shift": shifts})
    return text.getvalue().encode()


def _binary() -> tuple[Target, ...]:
    """Return the formats of movies, gain references and masks."""
    tiffs = (
        samples.tiff(),
        samples.tiff(compression="zlib", dtype="u2", predictor=True, big=True),
        samples.tiff(compression="packbits"),
        samples.tiff(compression=None, dtype="f4"),
    )
    mrcs = (
        samples.mrc(),
        samples.mrc(sections=1),
        samples.mrc(packed=True),
        samples.mrc(extended=samples.fei_header(), extended_type=b"FEI1"),
        samples.mrc(extended=bytes(range(28)), extended_type=b"SERI"),
    )
    pictures = (read_header, read_frames, _metadata_of, read_gain, read_defects)
    eers = (samples.eer(), samples.eer(compression=65000))
    dms = (samples.dm(samples.dm_image()), samples.dm(samples.dm_image(), version=3))

    def rendered(path: Path) -> object:
        return render_fractions(path, raw_frames=1, upsampling=2)

    return (
        Target(name="tiff", parse=_every(_on_disk(".tif", *pictures), _closure("a.tif")), seeds=tiffs),
        Target(name="mrc", parse=_every(_on_disk(".mrc", *pictures), _closure("a.mrc")), seeds=mrcs),
        Target(
            name="eer",
            parse=_every(
                _on_disk(".eer", read_header, read_frames, rendered, _metadata_of, read_event_gain),
                _closure("a.eer"),
            ),
            seeds=eers,
        ),
        Target(
            name="dm", parse=_every(_on_disk(".dm4", read_largest_image, _metadata_of), _closure("a.dm4")), seeds=dms
        ),
    )


def _metadata() -> tuple[Target, ...]:
    """Return what acquisition programs write about exposures."""
    xml = tuple(path.read_bytes() for path in sorted(EPU.glob("*.xml")))
    return (
        Target(
            name="epu_xml",
            parse=_every(_on_disk(".xml", _metadata_of), _closure("a.xml")),
            seeds=xml,
        ),
        Target(
            name="epu_session",
            parse=lambda data, _: read_epu_session(data, path=NAME),
            seeds=(SESSION,),
        ),
        Target(
            name="mdoc",
            parse=_every(_on_disk(".mdoc", _metadata_of), _closure("a.mdoc")),
            seeds=(MDOC.encode(),),
        ),
        Target(name="defects", parse=_text(parse_defect_list), seeds=(DEFECTS,)),
    )


def _results() -> tuple[Target, ...]:
    """Return what other programs of the stages write."""
    ctffind = (CTFFIND.encode(), AVERAGES.encode())
    return (
        Target(
            name="star",
            parse=_every(_text(parse_star), _on_disk(".star", read_coordinates, read_scores, read_relion_motion)),
            seeds=(_star(), _motion()),
        ),
        Target(name="ctffind", parse=_text(parse_ctffind, parse_ctffind_curves), seeds=ctffind),
        Target(name="motioncor", parse=_text(parse_motioncor_log), seeds=tuple(log.encode() for log in MOTIONCOR)),
        Target(name="relion_log", parse=_text(parse_relion_motion_log), seeds=(RELION.encode(),)),
        Target(name="gctf", parse=_text(parse_gctf_log), seeds=(GCTF.encode(),)),
        Target(name="topaz", parse=_text(parse_topaz), seeds=(TOPAZ,)),
    )


def targets() -> tuple[Target, ...]:
    """Return every format with its seeds."""
    return (*_binary(), *_metadata(), *_results())
