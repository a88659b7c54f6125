"""Pictures of video files: the right one at every time, however it is reached, and files that are damaged."""

import pickle
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("av")
from clips import grey, write_video
from otolith.formats.video import extent, frames_at, video_stream
from otolith.storage.files import sha256


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """4 s of ten pictures a second, each brighter by 6 than the one before."""
    return write_video(tmp_path_factory.mktemp("video") / "clip.mp4", [grey(6 * i) for i in range(40)])


def numbers(pictures: list[np.ndarray]) -> list[int]:
    return [round(float(picture.mean()) / 6) for picture in pictures]


@pytest.mark.parametrize(
    "times",
    [
        [0.0],
        [0.05, 0.1, 0.1, 0.19, 0.2],
        [0.35, 1.71, 3.95],
        [3.95],
        np.arange(0, 4, 0.1).round(3).tolist(),
        sorted(np.random.default_rng(0).uniform(0, 4, 25).tolist()),
    ],
)
def test_the_picture_is_the_last_that_began(clip: Path, times: list[float]) -> None:
    pictures = list(frames_at(clip, times))
    assert numbers(pictures) == [int(time * 10 + 1e-4) for time in times]
    assert all(picture.shape == (32, 48, 3) and picture.dtype == np.uint8 for picture in pictures)


def test_footage_lies_on_the_recordings_clock_and_pickles(clip: Path) -> None:
    shown = pickle.loads(pickle.dumps(video_stream(clip, offset_s=-1.5)))
    assert shown.key == sha256(clip)
    assert (shown.start_s, shown.stop_s) == pytest.approx((-1.5, 2.5))
    assert numbers(list(shown.frames([-1.5, 0.0, 2.0]))) == [0, 15, 35]
    assert extent(clip) == pytest.approx((0, 4, 10))
    assert list(frames_at(clip, [])) == []


def test_times_outside_or_out_of_order_are_refused(clip: Path) -> None:
    with pytest.raises(ValueError, match=r"has no frame at 9\.00 s; its frames run from 0\.00 to 4\.00 s"):
        list(frames_at(clip, [1.0, 9.0]))
    with pytest.raises(ValueError, match="no frame at -2"):
        list(frames_at(clip, [-2.0]))
    with pytest.raises(ValueError, match="do not ascend"):
        list(frames_at(clip, [1.0, 0.5]))
    assert numbers(list(frames_at(clip, [4.2]))) == [39]  # the last picture is held for a moment


def test_files_that_are_missing_damaged_or_none_are_named(clip: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no video file at"):
        extent(tmp_path / "gone.mp4")
    for content in (b"", b"not a video at all", clip.read_bytes()[:400]):
        (tmp_path / "bad.mp4").write_bytes(content)
        with pytest.raises(ValueError, match=r"bad\.mp4' \(\d+ bytes\) cannot be opened as a video: .*; copy it again"):
            extent(tmp_path / "bad.mp4")
    playlist = f"#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\n{clip}\n#EXT-X-ENDLIST\n"
    (tmp_path / "list.mp4").write_text(playlist)
    with pytest.raises(ValueError, match="cannot be opened as a video"):  # no file may make FFmpeg open another
        extent(tmp_path / "list.mp4")


def test_a_file_whose_pictures_are_overwritten_is_refused(clip: Path, tmp_path: Path) -> None:
    data = bytearray(clip.read_bytes())
    begin = data.index(b"mdat") + 4
    stop = data.index(b"moov", begin) - 4
    middle = (begin + stop) // 2
    data[middle:stop] = bytes(stop - middle)
    (tmp_path / "half.mp4").write_bytes(data)
    with pytest.raises(ValueError, match=r"half\.mp4'"):
        list(frames_at(tmp_path / "half.mp4", [0.0, 3.9]))


def test_a_file_without_pictures_says_what_it_holds(tmp_path: Path) -> None:
    import av

    path = tmp_path / "sound.mp4"
    with av.open(str(path), "w") as container:
        sound = container.add_stream("aac", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 8000
        for packet in [*sound.encode(frame), *sound.encode()]:
            container.mux(packet)
    with pytest.raises(ValueError, match="has no video; it holds audio"):
        extent(path)


def test_pictures_are_turned_upright(tmp_path: Path) -> None:
    import av

    picture = grey(0)
    picture[:16, :24] = 255  # bright at the upper left
    path = tmp_path / "turned.mp4"
    with av.open(str(path), "w") as container:
        video = container.add_stream("mpeg4", rate=10)
        video.height, video.width, video.pix_fmt = 32, 48, "yuv420p"
        if not hasattr(video, "set_display_rotation"):
            pytest.skip("this PyAV does not write how a file is to be turned")
        video.set_display_rotation(90)  # a quarter turn against the clock
        for packet in [*video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")), *video.encode()]:
            container.mux(packet)
    (turned,) = frames_at(path, [0.0])
    assert turned.shape == (48, 32, 3)
    assert turned[30:, :10].mean() > 200 > 50 > turned[:20, :10].mean()  # bright at the lower left


@pytest.mark.parametrize("name", ["karma", "max-heromode"])
def test_real_clips_are_the_same_sought_or_decoded_through(shared_data: Path, name: str) -> None:
    import av

    path = shared_data / "gopro" / f"{name}.mp4"
    with av.open(str(path)) as container:
        every = [(frame.time, frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)]
    begins = np.array([time for time, _ in every])
    times = np.sort(np.random.default_rng(1).uniform(0, extent(path).stop_s, 12)).tolist()
    for time, picture in zip(times, frames_at(path, times), strict=True):
        np.testing.assert_array_equal(picture, every[np.searchsorted(begins, time, side="right") - 1][1])
