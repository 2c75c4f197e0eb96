"""Transfer windows on a real share and ledger: what is complete arrives, once, at its owner's place."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

import pytest
from tests.integration.transfer.conftest import (
    FRAMES,
    Stage,
    frames,
    movie_bytes,
    running,
    until,
)

from cryodaq.app.transfer_movies import transfer_pass, transfer_window
from cryodaq.app.transfer_window.background import Background
from cryodaq.domain.microscope import Share
from cryodaq.errors import LeaseLostError
from cryodaq.ledger import leases
from cryodaq.simulator.camera import GrowingTiff

EPU = "Session/Images-Disc1/GridSquare_1/Data/FoilHole_1_Data_2_{n}_20260101_1200{n:02}"


def exposure(n: int) -> str:
    return EPU.format(n=n)


def fractions(n: int) -> str:
    return f"{exposure(n)}_fractions.tiff"


def test_a_complete_exposure_arrives_whole_and_its_movie_is_registered_once(stage: Stage) -> None:
    stage.make_current("grid")
    with running(stage.transfer()) as window:
        stage.wait_for_scans()
        stage.write(fractions(1), movie_bytes())
        stage.write(f"{exposure(1)}.xml", b"<a/>")
        stage.write("Session/EpuSession.dm", b"living")
        until(lambda: len(stage.movies("grid")) == 1, "no movie")
        until(lambda: set(stage.states().values()) == {"verified"}, "not verified")
        summary = window.end()
    assert (stage.raw("grid") / fractions(1)).read_bytes() == movie_bytes()
    assert (stage.raw("grid") / f"{exposure(1)}.xml").read_bytes() == b"<a/>"
    assert summary.movies == 1
    assert summary.copied == 3
    (movie,) = stage.movies("grid").values()
    assert movie.state == "registered"
    assert movie.path == fractions(1)
    assert stage.decisions()[exposure(1).replace("Images-Disc1/", "")] == "current"
    assert not list(stage.storage.rglob("*.part"))


def test_a_movie_that_grows_page_by_page_is_left_until_it_is_complete(stage: Stage) -> None:
    stage.make_current("grid")
    path = stage.share / fractions(1)
    path.parent.mkdir(parents=True)
    with running(stage.transfer()), path.open("wb") as handle:
        growing = GrowingTiff(handle)
        for frame in frames(FRAMES - 1):
            growing.append(frame)
        until(lambda: stage.states().get(f"{fractions(1)}@1") == "held", "the short movie is not held")
        assert "is short: it has 3 frames where 4 are expected" in (stage.problem(fractions(1)) or "")
        until(lambda: "held" in stage.alarms(), "nobody was told")
        assert stage.movies("grid") == {}
        growing.append(frames(FRAMES)[-1])
        until(lambda: len(stage.movies("grid")) == 1, "no movie")
        until(lambda: "held" not in stage.alarms(), "the alarm stays")
    assert (stage.raw("grid") / fractions(1)).read_bytes() == path.read_bytes()


def test_exposures_around_a_switch_get_exactly_their_own_sample(stage: Stage) -> None:
    stage.make_current("first")
    stage.make_current("second")
    stage.make_current("first")
    with running(stage.transfer()):
        stage.wait_for_scans()
        stage.write(f"A/{fractions(1)}", movie_bytes())
        stage.wait_for_scans()
        stage.polled()
        stage.make_current("second")
        stage.polled()
        stage.polled()
        stage.wait_for_scans()
        stage.write(f"B/{fractions(2)}", movie_bytes(seed=2))
        stage.write(f"A/{exposure(1)}.xml", b"<late/>")  # a later file follows its exposure
        until(lambda: len(stage.movies("first")) == len(stage.movies("second")) == 1, "not both")
        until((stage.raw("first") / f"A/{exposure(1)}.xml").exists, "the late file is missing")
    assert [m.path for m in stage.movies("first").values()] == [f"A/{fractions(1)}"]
    assert [m.path for m in stage.movies("second").values()] == [f"B/{fractions(2)}"]
    assert not (stage.raw("second") / f"A/{exposure(1)}.xml").exists()


def test_standby_finishes_what_has_an_owner_and_quarantines_what_has_none(stage: Stage) -> None:
    stage.make_current("grid")
    path = stage.share / fractions(1)
    path.parent.mkdir(parents=True)
    with running(stage.transfer()), path.open("wb") as handle:
        growing = GrowingTiff(handle)
        for frame in frames(FRAMES - 1):
            growing.append(frame)
        until(lambda: "current" in stage.decisions().values(), "no owner")
        stage.logbook.standby("TEM1")
        stage.polled()
        stage.polled()
        stage.wait_for_scans()
        growing.append(frames(FRAMES)[-1])
        stage.write("Other/Images-Disc1/GridSquare_1/Data/FoilHole_9_Data_9_9_20260101_130000_fractions.tiff", b"II*")
        stage.write(f"Other/{fractions(2)}", movie_bytes())
        until(lambda: len(stage.movies("grid")) == 1, "the owned movie is not finished")
        until(lambda: "unassigned" in stage.alarms(), "nobody was told")
        until((stage.quarantine / "Other" / fractions(2)).exists, "not in quarantine")
    assert stage.alarms()["unassigned"].text.startswith("TEM1 is collecting and nothing is assigned: 2 movies, ")
    assert stage.quarantine.parent.stat().st_mode & 0o777 == 0o700


def test_the_same_base_name_in_two_folders_gives_two_runs(stage: Stage) -> None:
    stage.make_current("grid")
    with running(stage.transfer()):
        stage.wait_for_scans()
        stage.write("one/grid_00001.tif", movie_bytes())
        stage.write("two/grid_00001.tif", movie_bytes(seed=2))
        until(lambda: len(stage.movies("grid")) == 2, "not both")
    found = stage.movies("grid")
    assert set(found) == {"grid_00001@1", "grid_00001~2@1"}
    for movie in found.values():
        assert Path(movie.target).read_bytes() == (stage.share / movie.path).read_bytes()


def test_a_source_that_changed_after_its_copy_is_a_new_version_and_replaces_nothing(stage: Stage) -> None:
    stage.make_current("grid")
    with running(stage.transfer()):
        stage.wait_for_scans()
        path = stage.write("grid_00001.tif", movie_bytes())
        until(lambda: len(stage.movies("grid")) == 1, "no movie")
        path.write_bytes(movie_bytes(seed=2))
        until(lambda: len(stage.movies("grid")) == 2, "no second version")
    assert set(stage.movies("grid")) == {"grid_00001@1", "grid_00001@2"}
    assert (stage.raw("grid") / "grid_00001.tif").read_bytes() == movie_bytes()
    assert (stage.raw("grid") / "grid_00001.v2.tif").read_bytes() == movie_bytes(seed=2)


def test_a_replacement_of_the_same_size_and_time_is_noticed_and_a_touched_listing_is_not_a_change(
    stage: Stage,
) -> None:
    stage.make_current("grid")
    with running(stage.transfer()):
        stage.wait_for_scans()
        path = stage.write("grid_00001.jpg", b"\xff\xd8one\xff\xd9")
        same = stage.write("same_00002.jpg", b"\xff\xd8one\xff\xd9")
        until(lambda: list(stage.states().values()) == ["verified"] * 2, "not verified")
        for original, content in ((path, b"\xff\xd8two\xff\xd9"), (same, b"\xff\xd8one\xff\xd9")):
            other = stage.share / ".cryodaq-test"
            other.write_bytes(content)
            os.utime(other, ns=(original.stat().st_atime_ns, original.stat().st_mtime_ns))
            other.replace(original)
        until(lambda: stage.states().get("grid_00001.jpg@2") == "verified", "not noticed")
        stage.wait_for_scans()
    assert "same_00002.jpg@2" not in stage.states()
    assert (stage.raw("grid") / "grid_00001.v2.jpg").read_bytes() == b"\xff\xd8two\xff\xd9"


def test_living_files_are_copied_again_over_our_older_copy(stage: Stage) -> None:
    stage.make_current("grid")
    with running(stage.transfer()):
        stage.wait_for_scans()
        path = stage.write("session.log", b"line 1\n")
        copy = stage.raw("grid") / "session.log"
        until(copy.exists, "no copy")
        with path.open("ab") as handle:
            handle.write(b"line 2\n")
        until(lambda: copy.read_bytes() == b"line 1\nline 2\n", "not copied again")
    assert set(stage.states()) == {"session.log@1"}


def test_living_files_of_two_shares_have_names_of_their_own(stage: Stage, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / ".online").touch()
    stage.make_current("grid")
    transfer = stage.transfer()
    shares = (*transfer.microscope.shares, Share(root=PurePosixPath(other)))
    microscope = replace(transfer.microscope, shares=shares)
    with running(replace(transfer, following=replace(transfer.following, microscope=microscope))):
        stage.wait_for_scans()
        copies = [stage.raw("grid") / name for name in ("session.log", "session.v2.log")]
        stage.write("session.log", b"here\n")
        until(copies[0].exists, "no copy")
        (other / "session.log").write_bytes(b"there\n")
        until(copies[1].exists, "the other share's was not copied")
        (other / "session.log").write_bytes(b"there, and on\n")
        until(lambda: copies[1].read_bytes() == b"there, and on\n", "not copied again")
    assert copies[0].read_bytes() == b"here\n"


def test_empty_folders_are_made_where_their_session_has_one_owner(stage: Stage) -> None:
    stage.make_current("grid")
    with running(stage.transfer()):
        stage.wait_for_scans()
        stage.write("Night/Images-Disc1/GridSquare_1/notes.txt", b"words")
        (stage.share / "Night/Images-Disc1/GridSquare_2/Data").mkdir(parents=True)
        (stage.share / "Nobody/Images-Disc1/GridSquare_1").mkdir(parents=True)
        until((stage.raw("grid") / "Night/Images-Disc1/GridSquare_2/Data").is_dir, "not made")
    assert not (stage.raw("grid") / "Nobody").exists()


def test_a_frame_mdoc_makes_a_file_a_movie_whatever_its_name(stage: Stage) -> None:
    stage.make_current("grid")
    with running(stage.transfer()):
        stage.wait_for_scans()
        stage.write("frames/odd.tif", movie_bytes())
        text = "PixelSpacing = 1.0\n\n[FrameSet = 0]\nSubFramePath = X:\\frames\\odd.tif\nNumSubFrames = 4\n"
        stage.write("frames/odd.tif.mdoc", (text + "DateTime = 01-Jan-26 12:00:00\n").encode())
        until(lambda: len(stage.movies("grid")) == 1, "no movie")
    assert set(stage.movies("grid")) == {"odd@1"}


def test_truncated_and_empty_movies_are_held_with_a_sentence_and_stop_nothing(stage: Stage) -> None:
    stage.make_current("grid")
    with running(stage.transfer()):
        stage.wait_for_scans()
        stage.write("cut_00001.tif", movie_bytes()[:-50])
        stage.write("none_00002.tif", b"")
        stage.write("note.txt", b"")
        stage.write("good_00003.tif", movie_bytes())
        until(lambda: len(stage.movies("grid")) == 1, "the good one waits")
        until(lambda: stage.states()["cut_00001.tif@1"] == "held", "not held")
        until(lambda: stage.states()["none_00002.tif@1"] == "held", "not held")
        until((stage.raw("grid") / "note.txt").exists, "the empty note is not copied")
    assert "cut_00001.tif is not finished: " in (stage.problem("cut_00001.tif") or "")


def test_damaged_metadata_is_told_and_its_movie_goes(stage: Stage) -> None:
    stage.make_current("grid")
    with running(stage.transfer()):
        stage.wait_for_scans()
        stage.write(f"{exposure(1)}.xml", b"<MicroscopeImage><")
        stage.write(fractions(1), movie_bytes())
        until(lambda: len(stage.movies("grid")) == 1, "the movie waits")
        until(lambda: stage.alarms().get("held") is not None, "nobody was told")
        text = stage.alarms()["held"].text
    assert text.startswith("tem1: 1 other file cannot be copied; ")
    assert "it is not well-formed XML" in text


def test_an_mdoc_that_was_half_written_at_first_sight_still_makes_its_movie(stage: Stage) -> None:
    stage.make_current("grid")
    begin = "PixelSpacing = 1.0\n\n[FrameSet = 0]\nSubFramePath = X:\\frames\\strange name.tif\n"
    with running(stage.transfer()):
        stage.wait_for_scans()
        stage.write("frames/strange name.tif", movie_bytes())
        stage.write("frames/note.mdoc", begin.encode())
        until(lambda: stage.states().get("frames/note.mdoc@1") in {"copied", "verified"}, "the mdoc is not copied")
        assert stage.movies("grid") == {}
        end = "NumSubFrames = 4\nDateTime = 01-Jan-26 12:00:00\n"
        stage.write("frames/note.mdoc", (begin + end).encode())
        until(lambda: len(stage.movies("grid")) == 1, "no movie")
    assert set(stage.movies("grid")) == {"strange name@1"}


def test_a_second_window_goes_on_where_the_first_one_ended(stage: Stage) -> None:
    stage.make_current("grid")
    with running(stage.transfer()) as window:
        stage.write("grid_00001.tif", movie_bytes())
        until(lambda: len(stage.movies("grid")) == 1, "no movie")
        window.end()
    stage.write("grid_00002.tif", movie_bytes(seed=2))
    gone = stage.write("grid_00009.tif", b"II*")
    gone.unlink()
    with running(stage.transfer()) as window:
        until(lambda: len(stage.movies("grid")) == 2, "no second movie")
        until(lambda: set(stage.states().values()) == {"verified"}, "not verified")
        summary = window.end()
    assert summary.copied == 1
    assert summary.to_copy == 0


def test_a_crash_between_copy_and_ledger_converges(stage: Stage) -> None:
    sample = stage.make_current("grid")
    stage.write("grid_00001.tif", movie_bytes())
    with running(stage.transfer()) as window:
        until(lambda: len(stage.movies("grid")) == 1, "no movie")
        window.end()
    import sqlalchemy as sa

    with stage.engine.begin() as connection:  # what the ledger knew before the crash
        connection.execute(sa.text("delete from ledger.movie"))
        connection.execute(
            sa.text("update ledger.file set state = 'copying', target = null, xxh3_128 = null, copied_at = null")
        )
    (stage.raw("grid") / ".grid_00001.tif.deadbeef.part").write_bytes(b"half")
    with running(stage.transfer()):
        until(lambda: len(stage.movies("grid")) == 1, "no movie again")
    (movie,) = stage.movies("grid").values()
    assert movie.sample_id == sample
    assert [path.name for path in stage.raw("grid").glob("*") if path.is_file()] == ["grid_00001.tif"]
    assert not list(stage.raw("grid").glob(".*"))


def test_a_second_transferer_fences_the_first(stage: Stage) -> None:
    stage.make_current("grid")
    with running(stage.transfer()) as first:
        stage.wait_for_scans()
        with running(stage.transfer()):
            stage.write("grid_00001.tif", movie_bytes())
            until(lambda: first.failure, "the first one goes on")
            until(lambda: len(stage.movies("grid")) == 1, "no movie")
        assert isinstance(first.failure[0], LeaseLostError)
        first.failure.clear()
    assert list(stage.states()) == ["grid_00001.tif@1"]


def test_a_pass_gives_way_to_whoever_takes_the_lease(stage: Stage) -> None:
    stage.make_current("grid")

    def take_it() -> bool:
        with stage.engine.begin() as connection:
            leases.acquire(connection, "tem1", holder="somebody who assigns", at=datetime.now(UTC))
        return False

    summary = transfer_pass(stage.transfer(), 60.0, take_it)
    assert "tem1" in summary.ended_because
    assert summary.copied == 0


def test_a_missing_sentinel_is_an_alarm_and_no_empty_session(stage: Stage) -> None:
    stage.make_current("grid")
    with running(stage.transfer()):
        stage.write("grid_00001.tif", movie_bytes())
        until(lambda: len(stage.movies("grid")) == 1, "no movie")
        (stage.share / ".online").unlink()
        (stage.share / "grid_00001.tif").rename(stage.storage / "aside")
        until(lambda: "share" in stage.alarms(), "nobody was told")
        assert "is not mounted" in stage.alarms()["share"].text
        assert "camera server k3-one" in stage.alarms()["share"].text
        (stage.storage / "aside").rename(stage.share / "grid_00001.tif")
        (stage.share / ".online").touch()
        until(lambda: "share" not in stage.alarms(), "the alarm stays")
        stage.wait_for_scans()
    assert set(stage.states()) == {"grid_00001.tif@1"}


def test_the_elogbook_going_away_does_not_stop_copying(stage: Stage) -> None:
    stage.make_current("grid")
    with running(stage.transfer()):
        stage.wait_for_scans()
        stage.logbook.is_down = True
        until(lambda: "elogbook" in stage.alarms(), "nobody was told")
        stage.write("grid_00001.tif", movie_bytes())
        until(lambda: len(stage.movies("grid")) == 1, "copying stopped")
        assert "copying goes on for 20260101-CS01, sample grid" in stage.alarms()["elogbook"].text
        stage.logbook.is_down = False
        until(lambda: "elogbook" not in stage.alarms(), "the alarm stays")
    assert stage.decisions() == {"grid_00001": "last_known"}


def test_a_sample_without_folders_ends_the_window_at_once(stage: Stage) -> None:
    stage.make_current("grid")
    with running(stage.transfer()) as window:
        stage.wait_for_scans()
        stage.make_current("unprepared", prepared=False)
        window.thread.join(60)
        assert not window.thread.is_alive()
    assert "must be prepared" in window.summary[0].ended_because
    stage.prepare("unprepared")
    with running(stage.transfer()):
        stage.write("grid_00001.tif", movie_bytes())
        until(lambda: len(stage.movies("unprepared")) == 1, "no movie")


def test_a_stopped_window_ends_soon(stage: Stage) -> None:
    stage.make_current("grid")
    with running(stage.transfer()) as window:
        stage.wait_for_scans()
        assert window.end().ended_because == "it was told to stop"


def test_hooks_are_called_all_the_time(stage: Stage) -> None:
    stage.make_current("grid")
    calls: list[float] = []
    transfer_window(stage.transfer(on_tick=lambda: calls.append(time.monotonic())), 10.0, lambda: False)
    assert len(calls) >= 2


def test_a_copied_movie_and_its_metadata_call_the_hook_at_once(stage: Stage) -> None:
    """The hook's own turn comes once an hour here."""
    stage.make_current("grid")
    wanted = {f"{fractions(1)}@1", f"{exposure(1)}.xml@1"}
    seen: list[set[str]] = []

    def hook() -> None:
        states = stage.states()
        seen.append({name for name in wanted if states.get(name) in {"copied", "verified"}})

    def hourly(act: Callable[[], None], *, every_s: float, name: str) -> Background:
        return Background(act, every_s=3600.0 if name == "pump" else every_s, name=name)

    transfer = stage.transfer(on_tick=hook)
    transfer = replace(transfer, following=replace(transfer.following, background=hourly))
    with running(transfer) as window:
        stage.wait_for_scans()
        stage.write(fractions(1), movie_bytes())
        until(lambda: {f"{fractions(1)}@1"} in seen, "the hook was not called for the movie")
        stage.write(f"{exposure(1)}.xml", b"<a/>")
        until(lambda: wanted in seen, "the hook was not called for its metadata")
        window.end()


def test_a_name_that_another_file_has_is_said_and_nothing_is_replaced(stage: Stage) -> None:
    stage.make_current("grid")
    (stage.raw("grid") / "grid_00001.tif").write_bytes(b"somebody's file")
    with running(stage.transfer()):
        stage.write("grid_00001.tif", movie_bytes())
        until(lambda: stage.states().get("grid_00001.tif@1") == "held", "not held")
    assert "already exists and is another file" in (stage.problem("grid_00001.tif") or "")
    assert (stage.raw("grid") / "grid_00001.tif").read_bytes() == b"somebody's file"


def test_a_name_on_record_is_given_to_no_other_file_though_its_copy_is_away(stage: Stage) -> None:
    stage.make_current("grid")
    place = stage.raw("grid") / "grid_00001.v2.tif"
    with running(stage.transfer()):
        stage.wait_for_scans()
        stage.write("grid_00001.v2.tif", movie_bytes())
        until(lambda: stage.states().get("grid_00001.v2.tif@1") == "verified", "not copied", wait_s=60)
        second = stage.write("grid_00001.tif", movie_bytes(seed=2))
        until(lambda: stage.movies("grid"), "no movie")
        place.rename(stage.raw("grid") / "aside.tif")  # as a move that stopped half-way does
        second.write_bytes(movie_bytes(seed=3))
        until(lambda: stage.states().get("grid_00001.tif@2") == "held", "its second version is not held")
    assert "already exists and is another file" in (stage.problem("grid_00001.tif") or "")
    assert not place.exists()
    assert not list(stage.storage.rglob("*.part"))


@pytest.mark.parametrize("bad", ["grid_\x01_00001.tif", "a\\b_00001.tif"])
def test_a_name_that_cannot_be_used_is_said(stage: Stage, bad: str) -> None:
    stage.make_current("grid")
    with running(stage.transfer()):
        stage.write(bad, movie_bytes())
        until(lambda: "names" in stage.alarms(), "nobody was told")
    assert stage.states() == {}
