"""What each stage found out about one movie, in the units that people read."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class MotionStatistics:
    """How the specimen moved during the exposure."""

    displacement_px_xy: tuple[tuple[float, float], ...]
    """(x, y) of the specimen in each frame relative to frame 0, pixels of the written micrograph."""
    total_ang: float
    """Sum of the frame-to-frame steps, Å."""
    early_ang: float
    """Part of `total_ang` until 4 e⁻/Å² had been received, Å."""
    late_ang: float
    """Part of `total_ang` after 4 e⁻/Å², Å."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AlignmentResult:
    """Products of motion correction of one movie. Paths are absolute."""

    micrograph: str
    """Unweighted sum of the aligned frames, MRC float32."""
    micrograph_dose_weighted: str
    """Dose-weighted sum of the aligned frames, MRC float32."""
    unaligned_sum: str
    """Sum of the frames as recorded (after gain and hot pixels), MRC float32."""
    pixel_size_ang: float
    """Pixel size of the written micrographs, Å."""
    frame_count: int
    shape_yx: tuple[int, int]
    motion: MotionStatistics
    hot_pixels: int
    mean_counts_per_px_frame: float
    """Mean of the gain-corrected frames, counts per pixel and frame."""
    gain_applied: bool
    seconds: float
    engine: str
    gain_orientation: str | None = None
    """How the gain reference had to be turned to fit the movie; None where that is not known."""
    gain_orientation_certain: bool = False
    """Whether the movie itself showed that; else it is what other movies showed, or as the reference is stored.

    Where nothing was applied: whether the movie shows that its camera has applied this very reference."""
    patches_yx: tuple[int, int] = (1, 1)
    """Rows and columns of patches that could move against each other."""
    local_motion_coefficients: tuple[float, ...] = ()
    """RELION's local model, 18 for x and 18 for y, pixels of the movie, rows in stored order; empty without one."""
    patch_tracks: str | None = None
    """Absolute path of the STAR file with the tracks of single patches."""
    even_odd: tuple[str, str] | None = None
    """Dose-weighted sums of frames 0, 2, ... and of frames 1, 3, ..., MRC; None where they were not asked for."""
    power_spectrum: str | None = None
    """Mean amplitudes of the micrograph's Fourier transform, frequency 0 in the middle, MRC."""
    relative_ice_thickness: float | None = None
    """In mean free paths, by `quality.relative_ice_thickness`; None where no counts tell it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CtfFit:
    """Contrast transfer function of one micrograph, in RELION's convention."""

    fitted: bool
    """False: no CTF was found in this micrograph, and the numbers mean nothing."""
    defocus_u_ang: float
    """Larger defocus, underfocus positive, Å."""
    defocus_v_ang: float
    """Smaller defocus, Å."""
    defocus_angle_deg: float
    """Angle of defocus U from the x axis towards +y of the stored rows, degrees in [0, 180)."""
    phase_shift_deg: float
    score: float
    """Normalised cross-correlation of the spectrum with the fitted CTF, 0 to 1."""
    fit_resolution_ang: float
    """Resolution to which the rings follow the fit, Å."""
    ice_ring_ratio: float | None = None
    """Power at 3.66-3.9 Å over what both sides let expect; 1 is no crystalline ice. None: not measured."""

    @property
    def defocus_mean_ang(self) -> float:
        """Mean of U and V, Å."""
        return (self.defocus_u_ang + self.defocus_v_ang) / 2

    @property
    def astigmatism_ang(self) -> float:
        """U - V, Å."""
        return self.defocus_u_ang - self.defocus_v_ang


@dataclass(frozen=True, slots=True, kw_only=True)
class FitCurve:
    """Rings of one spectrum along frequency, and what was fitted to them; all of one length."""

    frequency_per_ang: tuple[float, ...]
    experimental: tuple[float, ...]
    """Mean along the rings, background taken away. Ours is scaled to 0 to 1 where the rings follow the fit."""
    fitted: tuple[float, ...]
    """What the fit expects, 0 to 1."""
    correlation: tuple[float, ...]
    """Of both within a few rings, -1 to 1; the fit resolution is where it falls for good."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CtfResult:
    """CTF after and before alignment; `unaligned` is None where there was no sum to fit."""

    aligned: CtfFit
    unaligned: CtfFit | None
    spectrum: str
    """Absolute path of the aligned sum's half-and-half picture, PNG."""
    spectrum_unaligned: str | None
    seconds: float
    engine: str
    curves: str | None = None
    """Absolute path of the JSON file with the curves of both sums; None where the engine left none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PickResult:
    """Particles found in one micrograph."""

    coordinates: str
    """Absolute path of the STAR file with the coordinates in pixels of the micrograph."""
    count: int
    masked_fraction: float
    """Share of the micrograph in which nothing was picked (carbon, contamination), 0 to 1."""
    diameter_ang: float
    seconds: float
    engine: str
    picks_per_um2: float | None = None
    """Picks per area of the specimen that is not masked, 1/µm². None: not measured."""
    mask: str | None = None
    """Absolute path of a small PNG of the micrograph, white where nothing was picked; None without a mask."""
