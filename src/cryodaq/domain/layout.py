"""Where every file lies on the large file system; no path is joined anywhere else."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import PurePosixPath

from cryodaq.domain.names import LIVE_BRANCH, check_sample_id, safe_component, safe_relative_path


@dataclass(frozen=True, slots=True, kw_only=True)
class ExperimentLayout:
    """Folders of one experiment: `<base>/YYYYMM/<experiment>_<instrument>/`."""

    root: PurePosixPath

    def sample(self, sample_id: str) -> SampleLayout:
        """Return the sample's folders. Raises `UnsafeNameError` for an id that is not 24 hex digits."""
        return SampleLayout(root=self.root / check_sample_id(sample_id))

    def link(self, sample_name: str) -> PurePosixPath:
        """Return the path of the symbolic link that carries the sample's name.

        Raises `UnsafeNameError` when the name cannot be a file name.
        """
        return self.root / safe_component(sample_name)


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleLayout:
    """Folders of one sample; `root` is named by the sample's id."""

    root: PurePosixPath

    @property
    def raw(self) -> PurePosixPath:
        """The microscope's own hierarchy is kept below."""
        return self.root / "raw"

    @property
    def gain_references(self) -> PurePosixPath:
        """Copies of the gain references that this sample's movies use."""
        return self.raw / "GainRefs"

    @property
    def manifest(self) -> PurePosixPath:
        """Hashes of all verified copies, as `xxhsum -c` reads them in this folder."""
        return self.root / "manifest.xxh128"

    @property
    def folders(self) -> tuple[PurePosixPath, ...]:
        """Folders that exist from the start."""
        live = self.branch(LIVE_BRANCH)
        return (self.raw, self.gain_references, *live.folders)

    def raw_file(self, relative: PurePosixPath, *, version: int = 1) -> PurePosixPath:
        """Return where a file of the share goes; a later version is named `<stem>.v2<suffix>`.

        Raises `UnsafeNameError` for a path that would leave the folder.
        """
        return self.raw / versioned(relative, version)

    def branch(self, name: str) -> BranchLayout:
        """Return the products' folders of one branch of parameters."""
        if name == LIVE_BRANCH:
            return BranchLayout(root=self.root)
        return BranchLayout(root=self.root / "branches" / safe_component(name))


@dataclass(frozen=True, slots=True, kw_only=True)
class BranchLayout:
    """Products of one branch of parameters; `run` is the movie's run name."""

    root: PurePosixPath

    @property
    def aligned(self) -> PurePosixPath:
        """Micrographs."""
        return self.root / "aligned"

    @property
    def summed(self) -> PurePosixPath:
        """Unaligned sums."""
        return self.root / "summed"

    @property
    def ctf(self) -> PurePosixPath:
        """Spectra with their fits."""
        return self.root / "ctf"

    @property
    def particles(self) -> PurePosixPath:
        """Coordinates."""
        return self.root / "particles"

    @property
    def previews(self) -> PurePosixPath:
        """Pictures for people."""
        return self.root / "previews"

    @property
    def logs(self) -> PurePosixPath:
        """One log a movie and stage."""
        return self.root / "logs"

    @property
    def attempts(self) -> PurePosixPath:
        """Work in progress; hidden, every attempt in a folder of its own."""
        return self.root / ".attempts"

    @property
    def folders(self) -> tuple[PurePosixPath, ...]:
        """All of the above."""
        return (self.aligned, self.summed, self.ctf, self.particles, self.previews, self.logs, self.attempts)

    def micrograph(self, run: str) -> PurePosixPath:
        """Unweighted sum of the aligned frames."""
        return self.aligned / f"{safe_component(run)}.mrc"

    def micrograph_dose_weighted(self, run: str) -> PurePosixPath:
        """Dose-weighted sum of the aligned frames."""
        return self.aligned / f"{safe_component(run)}_DW.mrc"

    def even_half(self, run: str) -> PurePosixPath:
        """Dose-weighted sum of frames 0, 2, ...; named as RELION does."""
        return self.aligned / f"{safe_component(run)}_EVN.mrc"

    def odd_half(self, run: str) -> PurePosixPath:
        """Dose-weighted sum of frames 1, 3, ..."""
        return self.aligned / f"{safe_component(run)}_ODD.mrc"

    def power_spectrum(self, run: str) -> PurePosixPath:
        """Mean amplitudes of the micrograph's Fourier transform; named as RELION does."""
        return self.aligned / f"{safe_component(run)}_PS.mrc"

    def unaligned_sum(self, run: str) -> PurePosixPath:
        """Sum of the frames as recorded."""
        return self.summed / f"{safe_component(run)}_sum.mrc"

    def spectrum(self, run: str) -> PurePosixPath:
        """Half-and-half picture of the aligned sum's spectrum."""
        return self.ctf / f"{safe_component(run)}_ctf.png"

    def spectrum_unaligned(self, run: str) -> PurePosixPath:
        """Half-and-half picture of the unaligned sum's spectrum."""
        return self.ctf / f"{safe_component(run)}_sum_ctf.png"

    def ctf_text(self, run: str) -> PurePosixPath:
        """The aligned sum's fit in the form of CTFFIND."""
        return self.ctf / f"{safe_component(run)}_ctf.txt"

    def fit_curves(self, run: str) -> PurePosixPath:
        """Rings along frequency with their fits, both sums, JSON."""
        return self.ctf / f"{safe_component(run)}_ctf.json"

    def coordinates(self, run: str) -> PurePosixPath:
        """Particle coordinates of one micrograph, STAR."""
        return self.particles / f"{safe_component(run)}.star"

    def pick_mask(self, run: str) -> PurePosixPath:
        """Where nothing was picked, a small picture."""
        return self.particles / f"{safe_component(run)}_mask.png"

    def preview(self, run: str) -> PurePosixPath:
        """The 2 x 2 panel."""
        return self.previews / f"{safe_component(run)}.jpg"

    def thumbnail(self, run: str) -> PurePosixPath:
        """A small picture of the aligned micrograph, for lists."""
        return self.previews / f"{safe_component(run)}_thumb.jpg"

    def micrograph_picture(self, run: str) -> PurePosixPath:
        """The aligned micrograph alone, as large as a screen shows it."""
        return self.previews / f"{safe_component(run)}_micrograph.jpg"

    def motion_track(self, run: str) -> PurePosixPath:
        """How the specimen moved, for plots, JSON."""
        return self.previews / f"{safe_component(run)}_motion.json"

    def pick_overlay(self, run: str) -> PurePosixPath:
        """Particles to be drawn over the micrograph, JSON."""
        return self.previews / f"{safe_component(run)}_picks.json"

    @property
    def gain_check(self) -> PurePosixPath:
        """What the latest movies have in common after gain correction."""
        return self.previews / "gain_check.png"

    @property
    def gain_contradiction(self) -> PurePosixPath:
        """What a movie's frames show beside what the gain reference explains that is not theirs."""
        return self.previews / "gain_contradiction.png"

    def log(self, run: str, stage: str) -> PurePosixPath:
        """What one stage said about one movie."""
        return self.logs / f"{safe_component(run)}_{stage}.log"

    def products(self, run: str, *, stages: Sequence[str]) -> tuple[PurePosixPath, ...]:
        """Every file that processing one movie leaves, in an order that is the same for every run."""
        return (
            self.micrograph(run),
            self.micrograph_dose_weighted(run),
            self.even_half(run),
            self.odd_half(run),
            self.power_spectrum(run),
            self.motion(run),
            self.patch_tracks(run),
            self.unaligned_sum(run),
            self.ctf_text(run),
            self.fit_curves(run),
            self.spectrum(run),
            self.spectrum_unaligned(run),
            self.coordinates(run),
            self.pick_mask(run),
            self.preview(run),
            self.thumbnail(run),
            self.micrograph_picture(run),
            self.motion_track(run),
            self.pick_overlay(run),
            *(self.log(run, stage) for stage in stages),
        )

    def attempt(self, run: str, stage: str, number: int) -> PurePosixPath:
        """Folder of one attempt; renamed piece by piece when it succeeded."""
        return self.attempts / f"{safe_component(run)}_{stage}_{number}"

    def motion(self, run: str) -> PurePosixPath:
        """How one movie's specimen moved, for RELION; beside the micrograph, as RELION has it."""
        return self.aligned / f"{safe_component(run)}.star"

    def patch_tracks(self, run: str) -> PurePosixPath:
        """Where single patches of one movie went."""
        return self.aligned / f"{safe_component(run)}_patches.star"

    def relion_gain(self, name: str) -> PurePosixPath:
        """A gain reference as RELION takes it; `name` says which one, and how it was turned."""
        return self.aligned / f"gain_{safe_component(re.sub(r'[^A-Za-z0-9._-]+', '_', name))}.mrc"

    @property
    def micrographs_star(self) -> PurePosixPath:
        """All micrographs with their CTF."""
        return self.root / "micrographs_ctf.star"


def versioned(relative: PurePosixPath, version: int) -> PurePosixPath:
    """Return the path of one version of a file, `<stem>.v2<suffix>` for the second.

    Raises `UnsafeNameError` for a path that would leave its folder.
    """
    safe = safe_relative_path(relative)
    return safe if version == 1 else safe.with_name(f"{safe.stem}.v{version}{safe.suffix}")


def month_of(experiment: str, started_at: datetime | None) -> str:
    """Return the experiment's month folder: from its name's date, else from its start."""
    if re.match(r"\d{6}", experiment):
        return experiment[:6]
    return started_at.strftime("%Y%m") if started_at else "undated"


def experiment_layout(
    storage_root: PurePosixPath, experiment: str, *, instrument: str, started_at: datetime | None = None
) -> ExperimentLayout:
    """Return the folders of an experiment on an instrument (in the elogbook's spelling).

    Raises `UnsafeNameError` when a name would leave the storage root.
    """
    folder = safe_component(f"{experiment}_{instrument}")
    return ExperimentLayout(root=storage_root / month_of(experiment, started_at) / folder)


def quarantine_root(storage_root: PurePosixPath, microscope: str) -> PurePosixPath:
    """Where exposures wait that nobody owns; staff only."""
    return storage_root / "quarantine" / safe_component(microscope)
