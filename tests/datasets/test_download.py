"""Downloads: against a server that cuts, changes, redirects, refuses and lies."""

import dataclasses
import gzip
import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from otolith.cli import console, main
from otolith.datasets import DATASETS, download
from otolith.datasets.card import Dataset, Remote
from otolith.datasets.download import DownloadProgress, accepted, fetch
from otolith.storage.files import sha256

DATA = np.random.default_rng(0).bytes(20_000)
HASH = hashlib.sha256(DATA).hexdigest()


class Site:
    """What the server holds, how it answers the next requests, and what it was asked.

    Answers: status, cut (bytes of the body until the line breaks), hold (until released), ranges (whether it knows them),
    tag and modified (of the file), length (declared), chunked, to (another path), type, code (Content-Encoding), span
    (Content-Range as claimed).
    """

    def __init__(self) -> None:
        self.files = {"/x.bin": DATA}
        self.answers: list[dict] = []
        self.always: dict = {"tag": '"one"'}
        self.asked: list[tuple[str, str | None, str | None]] = []
        self.release = threading.Event()
        site = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                site.answer(self, {**site.always, **(site.answers.pop(0) if site.answers else {})})

            def log_message(self, *_: object) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def answer(self, handler: BaseHTTPRequestHandler, how: dict) -> None:
        asked = handler.headers.get("Range")
        self.asked.append((handler.path, asked, handler.headers.get("If-Range")))
        assert handler.headers["Accept-Encoding"] == "identity"
        handler.close_connection = True
        status, body = how.get("status", 200), self.files.get(handler.path, b"")
        whole, headers = len(body), {}
        if "to" in how:
            status, headers["Location"] = 302, how["to"]
        elif handler.path not in self.files:
            status = 404
        version = how.get("tag") or how.get("modified")
        if status == 200 and asked and how.get("ranges", True) and handler.headers.get("If-Range", version) == version:
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
            status, body = (206, body[start:]) if start < whole else (416, b"")
            headers["Content-Range"] = how.get("span", f"bytes {start}-{whole - 1}/{whole}")
        if how.get("chunked"):
            headers["Transfer-Encoding"] = "chunked"
            body = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (body[:7000], body[7000:], b""))
        else:
            headers["Content-Length"] = str(how.get("length", len(body)))
        handler.send_response(status)
        for name, key in (
            ("ETag", "tag"),
            ("Last-Modified", "modified"),
            ("Content-Type", "type"),
            ("Content-Encoding", "code"),
        ):
            if how.get(key):
                handler.send_header(name, how[key])
        for name, value in {"Connection": "close", **headers}.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(body[: how.get("cut", len(body))])
        if how.get("hold"):
            handler.wfile.flush()
            self.release.wait(20)


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(download, "_WAITS_S", (0.0, 0.0, 0.0))
    monkeypatch.setattr(download, "_BLOCK", 1000)
    made = Site()
    yield made
    made.release.set()
    made.server.shutdown()
    made.server.server_close()


def corpus(*remotes: Remote, **changes: object) -> Dataset:
    return dataclasses.replace(DATASETS["synthetic"], remotes=remotes, terms="https://example.org/terms", **changes)


def one(site: Site, folder: Path, **known: object) -> list[DownloadProgress]:
    """Fetches x.bin; what is known of it are its size and hash unless said otherwise."""
    remote = Remote(site.url + "/x.bin", "x.bin", **{"bytes": len(DATA), "sha256": HASH, **known})
    return list(fetch(corpus(remote), folder, accept=True))


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} - {"LICENCE-ACCEPTED.json"}


def ranges(site: Site) -> list[str | None]:
    return [asked for _, asked, _ in site.asked]


UNKNOWN = {"bytes": None, "sha256": None}


def test_a_file_comes_whole_with_every_step_told_and_not_twice(site: Site, tmp_path: Path, capfd) -> None:
    steps = one(site, tmp_path)
    assert (tmp_path / "x.bin").read_bytes() == DATA and names(tmp_path) == {"x.bin"}
    assert [step.done for step in steps] == [*range(1000, 20_001, 1000), 20_000]
    assert {step.total for step in steps} == {20_000} and not any(step.note for step in steps)
    plain = tmp_path / "plain"
    plain.touch()
    assert (tmp_path / "x.bin").stat().st_mode == plain.stat().st_mode
    assert one(site, tmp_path) == [DownloadProgress("x.bin", 20_000, 20_000)]
    assert len(site.asked) == 1
    assert capfd.readouterr() == ("", "")  # pooch, too, says nothing


@pytest.mark.parametrize("known", [{}, UNKNOWN])
@pytest.mark.parametrize(
    "version", [{"tag": '"one"'}, {"tag": None, "modified": "Mon, 05 Jan 2026 10:00:00 GMT"}], ids=["tag", "date"]
)
def test_only_the_missing_bytes_are_asked_for(site: Site, tmp_path: Path, known: dict, version: dict) -> None:
    site.always = version
    site.answers = [{"cut": 12_000}, {"cut": 4_000}, {}]
    steps = one(site, tmp_path, **known)
    value = version["tag"] or version["modified"]
    assert site.asked == [("/x.bin", None, None)] + [("/x.bin", f"bytes={n}-", value) for n in (12_000, 16_000)]
    assert (tmp_path / "x.bin").read_bytes() == DATA
    notes = [step.note for step in steps if step.note]
    assert notes[:2] == [f"x.bin: the connection broke after {n} bytes; next try in 0 s" for n in ("12,000", "16,000")]


def test_what_came_is_kept_when_the_line_breaks_for_good_and_a_later_call_goes_on(site: Site, tmp_path: Path) -> None:
    site.always["status"] = 503
    site.answers = [{"status": 200, "cut": 5_000}]
    with pytest.raises(ConnectionError, match=r"answered 503 .*; 5,000 bytes are kept, and the same command continues"):
        one(site, tmp_path)
    assert ranges(site) == [None] + ["bytes=5000-"] * 3  # three waits, counted again after the first bytes came
    assert names(tmp_path) == {"x.bin.partial", "x.bin.partial.json"}
    site.always["status"] = 200
    one(site, tmp_path)
    assert ranges(site)[-1] == "bytes=5000-" and names(tmp_path) == {"x.bin"}


def test_tries_are_spaced_and_counted_anew_after_progress(site: Site, tmp_path: Path, monkeypatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr(download, "_WAITS_S", (1.0, 2.0))
    monkeypatch.setattr(download.time, "sleep", slept.append)
    site.answers = [{"status": 500}, {"status": 429}, {"cut": 3_000}, {"status": 408}, {"cut": 1_000}, {"status": 503}]
    one(site, tmp_path)
    assert slept == [1, 2, 1, 2, 1, 2]
    assert len(site.asked) == 7


def test_a_server_that_ignores_ranges_restarts_and_a_break_always_in_the_same_place_ends(site, tmp_path) -> None:
    site.always["ranges"] = False
    site.answers = [{"cut": 5_000}]
    one(site, tmp_path)
    assert ranges(site) == [None, "bytes=5000-"] and (tmp_path / "x.bin").read_bytes() == DATA
    (tmp_path / "x.bin").unlink()
    site.always["cut"] = 5_000
    with pytest.raises(ConnectionError, match="5,000 bytes are kept"):
        one(site, tmp_path)
    assert len(site.asked) == 2 + 4


@pytest.mark.parametrize("second", [{}, {"ranges": False}], ids=["with ranges", "without"])
def test_a_file_that_changed_between_two_tries_restarts(site: Site, tmp_path: Path, second: dict) -> None:
    site.answers = [{"cut": 5_000}, {"status": 404}]
    with pytest.raises(ConnectionError):
        one(site, tmp_path, **UNKNOWN)
    site.files["/x.bin"] = new = DATA[::-1]
    site.always["tag"] = '"two"'
    site.answers = [second]
    one(site, tmp_path, **UNKNOWN)
    assert site.asked[-1] == ("/x.bin", "bytes=5000-", '"one"')
    assert (tmp_path / "x.bin").read_bytes() == new


@pytest.mark.parametrize(
    "lie",
    [
        {"span": "bytes 0-19999/20000"},
        {"span": "bytes 5000-20000/20001"},
        {"span": ""},
        {"span": "bytes 5000-19999/*"},
        {"tag": '"two"', "modified": None},
    ],
)
def test_a_continuation_that_does_not_fit_restarts(site: Site, tmp_path: Path, lie: dict, monkeypatch) -> None:
    site.answers = [{"cut": 5_000}]
    if "tag" in lie:  # a server that ignores If-Range
        monkeypatch.setattr(site, "always", {"tag": '"one"'})
        site.answers.append({"status": 503})
        answer = site.answer

        def ignores(handler, how) -> None:
            del handler.headers["If-Range"]
            answer(handler, how)

        monkeypatch.setattr(site, "answer", ignores)
    site.answers.append(lie)
    steps = one(site, tmp_path, **UNKNOWN)
    assert any("the file has changed on the server; starting again" in step.note for step in steps)
    assert ranges(site)[-2:] == ["bytes=5000-", None]
    assert (tmp_path / "x.bin").read_bytes() == DATA


@pytest.mark.parametrize(("known", "second"), [({}, "bytes=5000-"), (UNKNOWN, None)])
def test_without_a_version_only_a_known_hash_lets_a_file_be_continued(site, tmp_path, known, second) -> None:
    site.always = {"tag": 'W/"one"'}  # weak: the same in meaning, perhaps not in bytes
    site.answers = [{"cut": 5_000}]
    one(site, tmp_path, **known)
    assert site.asked[1] == ("/x.bin", second, None)
    assert (tmp_path / "x.bin").read_bytes() == DATA


def test_a_partial_file_of_another_address_or_longer_than_the_file_is_not_continued(site: Site, tmp_path: Path) -> None:
    note = {"url": site.url + "/x.bin", "version": '"one"', "bytes": len(DATA)}
    for changes, data in (
        ({"url": "other"}, DATA[:50]),
        ({}, DATA + b"more"),
        (None, DATA[:50]),
    ):
        (tmp_path / "x.bin.partial").write_bytes(data)
        (tmp_path / "x.bin.partial.json").write_text(json.dumps(note | changes) if changes is not None else "[")
        one(site, tmp_path)
        assert ranges(site)[-1] is None and (tmp_path / "x.bin").read_bytes() == DATA
        (tmp_path / "x.bin").unlink()


def test_a_file_that_became_shorter_restarts(site: Site, tmp_path: Path) -> None:
    site.answers = [{"cut": 5_000}, {"status": 404}]
    with pytest.raises(ConnectionError):
        one(site, tmp_path, **UNKNOWN)
    site.files["/x.bin"] = DATA[:5_000]
    steps = one(site, tmp_path, **UNKNOWN)
    assert "the server has nothing after byte 5,000; starting again" in steps[0].note
    assert ranges(site)[-2:] == ["bytes=5000-", None] and (tmp_path / "x.bin").read_bytes() == DATA[:5_000]


def test_a_process_killed_while_it_starts_again_leaves_no_bytes_of_the_old_version(site, tmp_path, monkeypatch) -> None:
    site.answers = [{"cut": 5_000}, {"status": 404}]
    with pytest.raises(ConnectionError):
        one(site, tmp_path)
    site.always["tag"] = '"two"'

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(download, "write_text", killed)
    with pytest.raises(KeyboardInterrupt):
        one(site, tmp_path)
    assert names(tmp_path) == set()


def test_bytes_are_kept_as_they_lie_on_the_server(site: Site, tmp_path: Path) -> None:
    site.files["/x.bin"] = data = gzip.compress(DATA)
    site.always["code"] = "gzip"
    site.answers = [{"cut": 5_000}]
    one(site, tmp_path, **UNKNOWN)
    assert ranges(site) == [None, "bytes=5000-"] and (tmp_path / "x.bin").read_bytes() == data


def test_a_part_that_was_not_asked_for_is_a_beginning(site: Site, tmp_path: Path) -> None:
    site.answers = [{"status": 206, "cut": 5_000}]
    one(site, tmp_path)
    assert ranges(site) == [None, "bytes=5000-"] and (tmp_path / "x.bin").read_bytes() == DATA


def test_a_partial_file_that_is_whole_needs_no_request(site: Site, tmp_path: Path) -> None:
    note = {"url": site.url + "/x.bin", "version": '"one"', "bytes": len(DATA)}
    (tmp_path / "x.bin.partial").write_bytes(DATA)
    (tmp_path / "x.bin.partial.json").write_text(json.dumps(note))
    one(site, tmp_path)
    assert site.asked == [] and names(tmp_path) == {"x.bin"}


def test_a_length_that_promises_too_much_ends_in_an_error(site: Site, tmp_path: Path) -> None:
    site.always["length"] = 30_000
    with pytest.raises(ValueError, match=r"offers 30,000 bytes as 'x\.bin', expected 20,000: it is not the published"):
        one(site, tmp_path)
    assert names(tmp_path) == set()
    with pytest.raises(ConnectionError, match="could not be downloaded"):
        one(site, tmp_path, **UNKNOWN)
    assert "x.bin" not in names(tmp_path)
    assert "bytes=20000-" in ranges(site)


def test_a_length_that_promises_too_little_gives_no_file_that_is_known(site: Site, tmp_path: Path) -> None:
    site.always["length"] = 15_000
    with pytest.raises(ValueError, match=r"offers 15,000 bytes as 'x\.bin', expected 20,000"):
        one(site, tmp_path)
    with pytest.raises(ValueError, match="SHA256 hash of downloaded file"):
        one(site, tmp_path, bytes=None)
    assert names(tmp_path) == set()


def test_a_file_without_a_declared_length(site: Site, tmp_path: Path) -> None:
    site.always["chunked"] = True
    assert [step.total for step in one(site, tmp_path, **UNKNOWN)][:-1] == [None] * 20
    assert (tmp_path / "x.bin").read_bytes() == DATA
    (tmp_path / "x.bin").unlink()
    site.answers = [{"cut": 7_008}]  # after the first of two chunks
    assert one(site, tmp_path, **UNKNOWN)[-2] == DownloadProgress("x.bin", 20_000, 20_000)
    assert ranges(site)[2] == "bytes=7000-"
    with pytest.raises(ValueError, match=r"sends more than the 19,999 bytes of 'x\.bin'"):
        one(site, tmp_path / "other", bytes=19_999)
    with pytest.raises(ConnectionError, match="could not be downloaded"):
        one(site, tmp_path / "third", bytes=20_001)


def test_a_changed_file_on_the_server_is_refused_and_not_kept(site: Site, tmp_path: Path) -> None:
    site.files["/x.bin"] = DATA[::-1]
    with pytest.raises(ValueError) as caught:
        one(site, tmp_path)
    text = str(caught.value)
    assert "is not the expected file and was removed: SHA256 hash" in text and HASH in text
    assert "run again, or download it manually from computed (https://example.org/terms)" in text
    assert names(tmp_path) == set()


def test_a_file_of_another_size_is_refused_before_it_is_fetched(site: Site, tmp_path: Path) -> None:
    site.answers = [{"cut": 5_000}, {"type": "application/zip"}]
    with pytest.raises(ValueError, match="offers 20,000 bytes"):
        one(site, tmp_path, bytes=10_000)
    assert names(tmp_path) == set()


@pytest.mark.parametrize("status", [404, 403, 410])
def test_a_refusal_is_final_and_said_at_once(site: Site, tmp_path: Path, status: int) -> None:
    site.answers = [{"cut": 5_000}, {"status": status}]
    with pytest.raises(ConnectionError, match=rf"'x\.bin' could not be downloaded: http.* answered {status} "):
        one(site, tmp_path)
    assert len(site.asked) == 2 and "x.bin.partial" in names(tmp_path)
    one(site, tmp_path)
    assert ranges(site)[-1] == "bytes=5000-"


def test_a_web_page_in_place_of_the_file_costs_nothing_that_came(site: Site, tmp_path: Path) -> None:
    page = {"type": "text/html; charset=utf-8", "ranges": False}
    site.answers = [{"cut": 5_000}, page]
    with pytest.raises(ValueError, match=r"answered with a web page instead of 'x\.bin'; open it in a browser"):
        one(site, tmp_path, **UNKNOWN)
    one(site, tmp_path, **UNKNOWN)
    assert ranges(site)[-1] == "bytes=5000-" and (tmp_path / "x.bin").read_bytes() == DATA
    site.files["/x.html"], site.answers = b"<p>", [page]
    remote = Remote(site.url + "/x.html", "x.html")
    list(fetch(corpus(remote), tmp_path, accept=True))
    assert (tmp_path / "x.html").read_bytes() == b"<p>"


def test_redirects_are_followed_with_the_range(site: Site, tmp_path: Path) -> None:
    site.files = {"/mirror": DATA}
    site.answers = [{"to": "/mirror"}, {"cut": 5_000}, {"to": "/mirror"}]
    one(site, tmp_path)
    assert [(path, asked) for path, asked, _ in site.asked] == [
        ("/x.bin", None),
        ("/mirror", None),
        ("/x.bin", "bytes=5000-"),
        ("/mirror", "bytes=5000-"),
    ]
    assert (tmp_path / "x.bin").read_bytes() == DATA


def test_no_server_at_all(tmp_path: Path, site: Site, monkeypatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    site.server.shutdown()
    site.server.server_close()
    with pytest.raises(ConnectionError, match=r"'x\.bin' could not be downloaded from http.*; 0 bytes are kept"):
        one(site, tmp_path)


def test_a_silent_server_is_left(site: Site, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(download, "_TIMEOUT_S", 0.1)
    site.answers = [{"cut": 5_000, "hold": True}]
    one(site, tmp_path)
    assert ranges(site) == [None, "bytes=5000-"]


def test_a_first_download_without_a_hash_is_remembered_and_later_ones_must_equal_it(site, tmp_path: Path) -> None:
    other = "f" * 64 + "  another file\n"
    (tmp_path / "SHA256SUMS").write_text(other)
    assert one(site, tmp_path, **UNKNOWN)[-1].note == (
        f"x.bin: no hash is published; SHA-256 {HASH} is recorded in SHA256SUMS"
    )
    assert (tmp_path / "SHA256SUMS").read_text() == f"{other}{HASH}  x.bin\n"
    assert one(site, tmp_path, **UNKNOWN) == [DownloadProgress("x.bin", 20_000, 20_000)]
    path = tmp_path / "x.bin"
    path.write_bytes(DATA[::-1])
    with pytest.raises(
        ValueError, match=r"x\.bin' has SHA-256 .*of the first download, .*; move it away and run again"
    ):
        one(site, tmp_path, **UNKNOWN)
    assert path.read_bytes() == DATA[::-1]  # it may be the user's own
    path.unlink()
    site.files["/x.bin"] = DATA[::-1]
    with pytest.raises(ValueError, match=f"expected sha256:{HASH}"):
        one(site, tmp_path, **UNKNOWN)
    assert names(tmp_path) == {"SHA256SUMS"}
    (tmp_path / "SHA256SUMS").write_text(f"{other}{HASH[:-1]} x.bin\n")
    with pytest.raises(ValueError, match=r"line 2 of '.*SHA256SUMS' is not a SHA-256 and a name; correct or remove it"):
        one(site, tmp_path, **UNKNOWN)


def test_a_file_that_was_there_before_is_checked_and_left_alone(site: Site, tmp_path: Path) -> None:
    path = tmp_path / "x.bin"
    path.write_bytes(DATA[:-1])
    with pytest.raises(ValueError, match=r"x\.bin' has 19,999 bytes, expected 20,000; move it away and run again"):
        one(site, tmp_path, sha256=None)
    with pytest.raises(ValueError, match=r"x\.bin' has SHA-256 .*of the published file\); move it away and run again"):
        one(site, tmp_path)
    assert path.read_bytes() == DATA[:-1] and names(tmp_path) == {"x.bin"}
    path.write_bytes(DATA)
    one(site, tmp_path, sha256=None)
    assert (tmp_path / "SHA256SUMS").exists() and site.asked == []


def test_the_licence_must_be_accepted_once(site: Site, tmp_path: Path) -> None:
    dataset = corpus(Remote(site.url + "/x.bin", "x.bin", None, HASH))
    folder = tmp_path / "new"
    with pytest.raises(ValueError) as caught:
        list(fetch(dataset, folder))
    assert str(caught.value) == (
        f"{dataset.title} may be used under this licence: Apache-2.0; read computed (https://example.org/terms); run "
        "again with --accept-licence"
    )
    assert site.asked == [] and not folder.exists() and not accepted(dataset, folder)
    list(fetch(dataset, folder, accept=True))
    note = json.loads((folder / "LICENCE-ACCEPTED.json").read_text())
    assert note.pop("date") == time.strftime("%Y-%m-%d")
    assert note == {"dataset": "synthetic", "licence": "Apache-2.0", "terms": "https://example.org/terms"}
    assert accepted(dataset, folder)
    list(fetch(dataset, folder))  # not asked again
    for change in ({"licence": "research only"}, {"terms": "https://example.org/new"}, {"name": "other"}):
        assert not accepted(dataclasses.replace(dataset, **change), folder), "other terms are other terms"
    (folder / "LICENCE-ACCEPTED.json").write_text("[1")
    assert not accepted(dataset, folder)
    (folder / "LICENCE-ACCEPTED.json").write_text("[1]")
    assert not accepted(dataset, folder)


def test_a_corpus_that_cannot_be_downloaded_says_where_it_is(tmp_path: Path) -> None:
    dataset = corpus(expects="synthetic.zip")
    with pytest.raises(ValueError) as caught:
        list(fetch(dataset, tmp_path / "new", accept=True))
    assert "get it from computed (https://example.org/terms); expected synthetic.zip; then prepare it" in str(
        caught.value
    )
    assert not (tmp_path / "new").exists()
    with pytest.raises(ValueError, match="get it from computed; expected"):
        list(fetch(dataclasses.replace(dataset, terms=""), tmp_path, accept=True))


def packed(members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return file.getvalue()


def archive(site: Site, folder: Path, data: bytes, **known: object) -> list[DownloadProgress]:
    site.files["/x.zip"] = data
    return list(fetch(corpus(Remote(site.url + "/x.zip", "x.zip", **known)), folder, accept=True))


def test_an_archive_must_be_whole(site: Site, tmp_path: Path) -> None:
    good = packed({"a": DATA})
    for bad in (b"<html>Please sign in</html>", good[:-10]):
        with pytest.raises(
            ValueError, match=r"the download of http.* as 'x\.zip' is not .* removed: .*not a complete zip file"
        ):
            archive(site, tmp_path, bad)
        assert names(tmp_path) == set()
    archive(site, tmp_path, good)
    assert names(tmp_path) == {"x.zip", "SHA256SUMS"}


MEMBERS = {"Protocol/one.dat": DATA, "Protocol/two.dat": DATA[:500]}
KNOWN = {name: hashlib.sha256(data).hexdigest() for name, data in MEMBERS.items()}


@pytest.mark.parametrize("depth", [0, 1, 2])
def test_members_are_compared_with_the_published_ones_also_in_archives_in_archives(site, tmp_path, depth) -> None:
    def made(members: dict[str, bytes]) -> bytes:
        data = packed({f"Set/{name}": data for name, data in {**members, "notes.pdf": b"?"}.items()})
        for _ in range(depth):
            data = packed({"read me": b"", "Set.zip": data}, zipfile.ZIP_STORED)
        return data

    for name, data in (("Protocol/two.dat", DATA[:501]), ("Protocol/one.dat", DATA[::-1])):
        with pytest.raises(ValueError, match=f"removed: its member 'Set/{name}' is not the published file; run again"):
            archive(site, tmp_path, made(MEMBERS | {name: data}), members=KNOWN)
    with pytest.raises(ValueError, match=r"x\.zip\.partial' lacks Protocol/two\.dat;"):
        archive(site, tmp_path, made({"Protocol/one.dat": DATA, "MyProtocol/two.dat": DATA}), members=KNOWN)
    assert names(tmp_path) == set()
    archive(site, tmp_path, made(MEMBERS), members=KNOWN)
    assert names(tmp_path) == {"x.zip", "SHA256SUMS"}


def test_a_damaged_member_is_refused(site: Site, tmp_path: Path) -> None:
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):  # a wrong checksum, a stream that cannot be
        data = bytearray(packed(MEMBERS, method))
        data[46:60] = b"\xff" * 14  # where the first member's bytes begin
        with pytest.raises(ValueError, match=r"x\.zip\.partial' is damaged"):
            archive(site, tmp_path, bytes(data), members=KNOWN)
    with pytest.raises(ValueError, match=r"x\.zip\.partial' is damaged"):
        archive(site, tmp_path, packed({"Set.zip": b"no zip"}), members=KNOWN)
    assert names(tmp_path) == set()


def test_several_files_come_one_after_the_other_and_the_good_ones_stay(site: Site, tmp_path: Path) -> None:
    site.files["/y.bin"] = b"y" * 10
    dataset = corpus(Remote(site.url + "/x.bin", "x.bin", None, HASH), Remote(site.url + "/y.bin", "y.bin", None, HASH))
    with pytest.raises(ValueError, match=r"as 'y\.bin'"):
        list(fetch(dataset, tmp_path, accept=True))
    assert names(tmp_path) == {"x.bin"}


@pytest.mark.parametrize("links", [True, False])
def test_a_stop_while_the_hash_is_compared_keeps_what_came(site: Site, tmp_path: Path, monkeypatch, links) -> None:
    import pooch

    def stopped(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    def refused(*_: object) -> None:
        raise OSError("no links here")

    if not links:
        monkeypatch.setattr(download.os, "link", refused)
        one(site, tmp_path)
        assert (tmp_path / "x.bin").read_bytes() == DATA and names(tmp_path) == {"x.bin"}
        return
    monkeypatch.setattr(pooch.core, "hash_matches", stopped)
    with pytest.raises(KeyboardInterrupt):
        one(site, tmp_path)
    assert names(tmp_path) == {"x.bin.partial", "x.bin.partial.json"}
    monkeypatch.undo()
    one(site, tmp_path)
    assert len(site.asked) == 1 and (tmp_path / "x.bin").read_bytes() == DATA


def test_what_a_process_left_that_was_killed_after_the_last_step_is_cleared(site: Site, tmp_path: Path) -> None:
    for name in ("x.bin", "x.bin.partial", "x.bin.partial.json"):
        (tmp_path / name).write_bytes(DATA)
    one(site, tmp_path)
    assert names(tmp_path) == {"x.bin"}


KILLED = """
import dataclasses, sys
from pathlib import Path
from otolith.datasets import DATASETS
from otolith.datasets.card import Remote
from otolith.datasets.download import fetch
dataset = dataclasses.replace(DATASETS["synthetic"], remotes=(Remote(sys.argv[1], "x.bin"),))
for step in fetch(dataset, Path(sys.argv[2]), accept=True):
    print(step.done, flush=True)
"""


def test_a_killed_process_leaves_what_came_and_the_next_one_goes_on(site: Site, tmp_path: Path) -> None:
    site.files["/x.bin"] = data = DATA * 15
    site.answers = [{"cut": 200_000, "hold": True}]
    command = [sys.executable, "-c", KILLED, site.url + "/x.bin", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=dict(os.environ)) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if int(line) == 3 * 65_536:
                break
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert process.returncode == -signal.SIGKILL
    assert names(tmp_path) == {"x.bin.partial", "x.bin.partial.json"}
    assert (tmp_path / "x.bin.partial").stat().st_size == 3 * 65_536
    one(site, tmp_path, **UNKNOWN)
    assert site.asked[-1] == ("/x.bin", f"bytes={3 * 65_536}-", '"one"')
    assert (tmp_path / "x.bin").read_bytes() == data


def test_a_reader_of_steps_who_leaves_keeps_what_came(site: Site, tmp_path: Path) -> None:
    steps = fetch(corpus(Remote(site.url + "/x.bin", "x.bin", None, HASH)), tmp_path, accept=True)
    assert [next(steps).done for _ in range(3)][-1] == 3_000
    steps.close()
    one(site, tmp_path)
    assert ranges(site) == [None, "bytes=3000-"]


def test_the_cards_are_fit_to_download_from() -> None:
    for card in DATASETS.values():
        assert len({remote.name for remote in card.remotes}) == len(card.remotes)
        for remote in card.remotes:
            assert remote.url.startswith(("https://", "http://")) and Path(remote.name).name == remote.name
            hashes = [remote.sha256] * bool(remote.sha256) + list(remote.members.values())
            assert all(len(digest) == 64 and int(digest, 16) and digest == digest.lower() for digest in hashes)
            assert card.terms.startswith(("https://", "http://")), f"{card.name}: where is its licence read?"


@pytest.fixture
def otolith(site: Site, tmp_path: Path, capsys, monkeypatch):
    """Runs a command in an empty folder, with a small MotionSense on the server; returns (status, what it printed)."""
    header = ",".join(
        ["", *(f"{kind}.{axis}" for kind in ("gravity", "rotationRate", "userAcceleration") for axis in "xyz")]
    )
    rows = "".join(f"{step},0,0,1,0,0,0,0,0,0\n" for step in range(500))
    members = {f"A_DeviceMotion_data/dws_1/sub_{n}.csv": f"{header}\n{rows}".encode() for n in (1, 2)}
    site.files["/m.zip"] = packed(members)
    card = dataclasses.replace(
        DATASETS["motionsense"],
        remotes=(Remote(site.url + "/m.zip", "A_DeviceMotion_data.zip"),),
        terms="https://example.org/terms",
    )
    monkeypatch.setitem(DATASETS, "motionsense", card)
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["otolith", *words])
        monkeypatch.setattr(console.out, "width", 300)
        monkeypatch.setattr(console.notes, "width", 300)
        monkeypatch.setattr(console.errors, "width", 300)
        with pytest.raises(SystemExit) as ended:
            main.main()
        printed = capsys.readouterr()
        return int(ended.value.code or 0), printed.out + printed.err

    return run


COMMAND = ("prepare", "motionsense", "--jobs", "1", "--download")


def test_the_command_downloads_and_prepares(site: Site, otolith) -> None:
    status, text = otolith(*COMMAND)
    assert status == 1 and "MotionSense may be used under this licence: MIT" in text and site.asked == []
    assert "run again with --accept-licence" in text
    site.answers = [{"cut": 1_000}]
    status, text = otolith(*COMMAND, "--accept-licence")
    assert status == 0 and "2 recordings of 2 people" in text
    assert "the connection broke after 1,000 bytes; next try in 0 s" in text and "is recorded in SHA256SUMS" in text
    assert names(Path("data/.downloads/motionsense")) == {"A_DeviceMotion_data.zip", "SHA256SUMS"}
    status, text = otolith(*COMMAND)
    assert status == 0 and len(site.asked) == 2
    assert otolith(*COMMAND, "--source", "mine", "--accept-licence")[0] == 0
    assert names(Path("mine")) == {"A_DeviceMotion_data.zip", "SHA256SUMS"}
    status, text = otolith("prepare", "synthetic", "--download")
    assert status == 1 and "has no automatic download: get it from computed" in text


@pytest.mark.parametrize(("typed", "status"), [("y\n", 0), ("n\n", 1)])
def test_a_terminal_is_asked_for_the_licence(site: Site, otolith, monkeypatch, typed: str, status: int) -> None:
    terminal = io.StringIO(typed)
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stdin", terminal)
    found, text = otolith(*COMMAND)
    assert found == status and "read GitHub mmalekzadeh/motion-sense (https://example.org/terms)" in text
    assert "Do you accept it?" in text
    assert len(site.asked) == (status == 0)
    for words in ([COMMAND] if status == 0 else []) + [("prepare", "synthetic", "--download")]:
        assert "Do you accept" not in otolith(*words)[1]


def test_ctrl_c_keeps_the_partial_file(site: Site, otolith, monkeypatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    site.answers = [{"cut": 1_000}]
    with monkeypatch.context() as patch:
        patch.setattr(download.time, "sleep", interrupted)
        status, text = otolith(*COMMAND, "--accept-licence")
    assert status == 130 and "the same command continues where this one stopped" in text
    folder = Path("data/.downloads/motionsense")
    assert names(folder) == {"A_DeviceMotion_data.zip.partial", "A_DeviceMotion_data.zip.partial.json"}
    status, text = otolith(*COMMAND)
    assert status == 0 and ranges(site)[-1] == "bytes=1000-"
    assert sha256(folder / "A_DeviceMotion_data.zip") == hashlib.sha256(site.files["/m.zip"]).hexdigest()


def test_help_imports_no_network() -> None:
    code = "import sys, otolith.cli.main; print(sorted({'requests', 'pooch', 'urllib3', 'pandas'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
