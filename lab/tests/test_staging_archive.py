"""Code packages: what is unpacked, and what is refused, and that nothing is written outside."""

from __future__ import annotations

import io
import json
import stat
import subprocess
import sys
import warnings
import zipfile
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lambent_lab.environment import Environment
from lambent_lab.errors import UsageError
from lambent_lab.function import FunctionSpec
from lambent_lab.staging import MAX_UNZIPPED, CodeSizeExceededError, unpack
from lambent_lab.staging.archive import extract

if TYPE_CHECKING:
    from pathlib import Path

SOURCE = "def handler(event, context):\n    return [event, __file__]\n"


def entry(name: str, mode: int = stat.S_IFREG | 0o644, **fields: Any) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.create_system = 3
    info.external_attr = mode << 16
    for key, value in fields.items():
        setattr(info, key, value)
    return info


def zipped(*entries: tuple[zipfile.ZipInfo | str, bytes | str]) -> bytes:
    stream = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        warnings.simplefilter("ignore")  # of names that are there twice
        for name, data in entries:
            archive.writestr(name, data)
    return stream.getvalue()


def link(name: str, target: str) -> tuple[zipfile.ZipInfo, str]:
    return entry(name, stat.S_IFLNK | 0o777), target


def below(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_files_folders_modes_times_and_links(tmp_path: Path) -> None:
    data = zipped(
        (entry("bin/tool", stat.S_IFREG | 0o755), "#!/bin/sh\n"),
        (entry("bin/", stat.S_IFDIR | 0o700), ""),
        (entry("./app.py", stat.S_IFREG | 0o600, date_time=(2024, 5, 6, 7, 8, 10)), SOURCE),
        ("lib/empty", b""),
        link("tool", "bin/tool"),
        link("lib/up", "../app.py"),
        link("here", "."),
    )
    assert extract(data, tmp_path) == len("#!/bin/sh\n") + len(SOURCE) + len("bin/tool../app.py.")
    assert below(tmp_path) == ["app.py", "bin", "bin/tool", "here", "lib", "lib/empty", "lib/up", "tool"]
    assert (tmp_path / "tool").read_text() == "#!/bin/sh\n"
    assert (tmp_path / "lib/up").read_text() == SOURCE
    assert stat.S_IMODE((tmp_path / "bin/tool").stat().st_mode) == 0o755
    # Not readable for others in the zip; docs/design says why it is here.
    assert stat.S_IMODE((tmp_path / "app.py").stat().st_mode) == 0o644
    assert (tmp_path / "app.py").stat().st_mtime == 1714979290


@pytest.mark.parametrize(
    ("entries", "named", "why"),
    [
        ([("../evil", "x")], "../evil", "leads out"),
        ([("a/../../evil", "x")], "a/../../evil", "leads out"),
        ([("a/..", "x")], "a/..", "leads out"),
        ([("/etc/evil", "x")], "/etc/evil", "absolute"),
        ([("C:/evil", "x")], "C:/evil", "absolute"),
        ([("c:evil", "x")], "c:evil", "absolute"),
        ([("a\\..\\evil", "x")], "a\\\\..\\\\evil", "backslashes"),
        ([link("out", "/etc/passwd")], "out", "leads out"),
        ([link("out", "../secret")], "out", "leads out"),
        ([link("a", "."), link("out", "a/../secret")], "out", "leads out"),
        ([link("d", "deep/er"), ("deep/er/f", "x"), link("out", "d/../../../x")], "out", "leads out"),
        ([link("out", "nowhere/../../x")], "out", "leads out"),
        ([link("a", "b"), ("a/f", "x"), ("b/g", "x")], "a", "a file and a folder"),
        ([("b/g", "x"), ("a/f", "x"), link("a", "b")], "a", "a file and a folder"),
        ([("a", "x"), ("a/b", "x")], "a", "a file and a folder"),
        ([("a/", ""), ("a", "x")], "a", "a file and a folder"),
        ([("a", "x"), ("./a", "y")], "./a", "twice"),
        ([link("a", "b"), ("a", "x")], "a", "twice"),
        ([link("a", "b"), link("b", "a")], "a", "circles"),
        ([(entry("pipe", stat.S_IFIFO | 0o644), "")], "pipe", "no regular file"),
        ([(entry("disk", stat.S_IFBLK | 0o644), "")], "disk", "no regular file"),
        ([(entry("p", compress_type=zipfile.ZIP_BZIP2), "x")], "p", "compression method 12"),
        ([link("long", "a" * 5000)], "long", "too long"),
        ([("n/" * 3000 + "f", "x")], "n/n/n", "too long"),
        ([("n" * 300, "x")], "nnn", "cannot be made"),
        ([(".", "x")], ".", "no name"),
    ],
)
def test_entries_that_climb_or_trick_are_refused_by_name(
    entries: list[tuple[Any, Any]], named: str, why: str, tmp_path: Path
) -> None:
    folder = tmp_path / "in" / "side"
    folder.mkdir(parents=True)
    with pytest.raises(UsageError, match=why) as caught:
        extract(zipped(*entries), folder, name="bundle.zip")
    text = str(caught.value)
    assert text.startswith(f"bundle.zip is refused: its entry '{named}")
    assert "\n" not in text
    assert [path.name for path in tmp_path.iterdir()] == ["in"]
    assert [path.name for path in (tmp_path / "in").iterdir()] == ["side"]


def test_a_name_is_not_cut_at_a_nul(tmp_path: Path) -> None:
    data = zipped(("app.pyXevil", SOURCE)).replace(b"app.pyXevil", b"app.py\0evil")
    with pytest.raises(UsageError, match="NUL"):
        extract(data, tmp_path)


def test_the_same_name_twice_is_refused(tmp_path: Path) -> None:
    data = zipped(("app.py", "good"), ("app.py", "bad"))
    with pytest.raises(UsageError, match=r"'app\.py' is there twice"):
        extract(data, tmp_path)


def test_encrypted_entries_are_refused(tmp_path: Path) -> None:
    data = bytearray(zipped(("secret.py", SOURCE)))
    data[6] |= 1  # the flags of the local header, and those of the directory
    data[data.index(b"PK\x01\x02") + 8] |= 1
    with pytest.raises(UsageError, match=r"'secret\.py' is encrypted"):
        extract(bytes(data), tmp_path)


@pytest.mark.parametrize("size", [MAX_UNZIPPED + 1, 2 * MAX_UNZIPPED])
def test_what_says_that_it_is_too_large_is_refused_before_anything_is_written(
    size: int, tmp_path: Path
) -> None:
    data = bytearray(zipped(("app.py", SOURCE), ("bomb", b"x")))
    place = data.rindex(b"PK\x01\x02") + 24
    data[place : place + 4] = size.to_bytes(4, "little")
    with pytest.raises(CodeSizeExceededError, match=f"smaller than {MAX_UNZIPPED} bytes"):
        extract(bytes(data), tmp_path)
    assert below(tmp_path) == []


def test_a_bomb_that_lies_about_its_size_is_stopped(tmp_path: Path) -> None:
    data = bytearray(zipped(("bomb", b"\0" * 1_000_000)))
    for mark, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        place = data.index(mark) + offset
        data[place : place + 4] = (10).to_bytes(4, "little")
    with pytest.raises(UsageError, match="'bomb'"):
        extract(bytes(data), tmp_path)
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 10


def test_a_direct_upload_has_a_limit_of_its_own() -> None:
    with pytest.raises(CodeSizeExceededError, match="direct upload"):
        unpack(bytes(52_428_801))


@pytest.mark.parametrize("data", [b"", b"no zip", b"PK\x05\x06" + b"\0" * 10])
def test_what_is_no_zip_file_is_refused(data: bytes) -> None:
    with pytest.raises(UsageError, match="The zip file") as caught:
        unpack(data)
    assert "\n" not in str(caught.value)


def test_an_empty_zip_file_holds_no_code() -> None:
    with pytest.raises(UsageError, match="holds no code"):
        unpack(b"PK\x05\x06" + b"\0" * 18)


names = st.lists(
    st.sampled_from(["..", ".", "", "a", "b", "C:", "a\\..", "~", "app.py", "\u00e9", "x" * 80]),
    min_size=1,
    max_size=4,
).map("/".join)
kinds = st.sampled_from([stat.S_IFREG | 0o644, stat.S_IFREG | 0o4777, stat.S_IFLNK | 0o777, stat.S_IFDIR, 0])
contents = st.one_of(names.map(str.encode), st.binary(max_size=20))


@settings(deadline=None, max_examples=300)
@given(
    entries=st.lists(st.tuples(names, kinds, contents), max_size=8),
    hurt=st.lists(st.tuples(st.integers(0, 2**16), st.integers(0, 255)), max_size=3),
)
def test_no_zip_file_writes_outside(
    entries: list[tuple[str, int, bytes]],
    hurt: list[tuple[int, int]],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    data = bytearray(zipped(*[(entry(name, mode), content) for name, mode, content in entries]))
    for place, value in hurt:
        data[place % len(data)] = value
    top = tmp_path_factory.mktemp("zip")
    folder = top / "middle" / "target"
    folder.mkdir(parents=True)
    (top / "middle" / "a").write_text("mine")
    (top / "app.py").write_text("mine")
    refused = None
    try:
        extract(bytes(data), folder)
    except UsageError as error:
        refused = str(error)
    assert "\n" not in (refused or "")
    assert below(top)[:2] == ["app.py", "middle"]
    assert sorted(path.name for path in (top / "middle").iterdir()) == ["a", "target"]
    assert (top / "middle" / "a").read_text() == (top / "app.py").read_text() == "mine"
    for path in folder.rglob("*"):
        if refused is not None and path.is_symlink():
            continue  # perhaps not judged yet: whoever called drops the folder
        assert path.resolve().is_relative_to(folder)
        assert not path.lstat().st_mode & 0o7000


@settings(deadline=None, max_examples=60)
@given(files=st.dictionaries(st.from_regex(r"[a-c]{1,3}\.(py|txt)", fullmatch=True), st.binary(max_size=300)))
def test_what_is_zipped_is_what_is_unpacked(
    files: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("zip")
    extract(zipped(*files.items()), folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == files


def test_the_same_bytes_are_unpacked_once() -> None:
    data = zipped(("app.py", SOURCE))
    folder = unpack(data)
    assert unpack(data) == folder
    assert unpack(zipped(("app.py", SOURCE + "#"))) != folder
    assert (folder / "app.py").read_text() == SOURCE


async def answer(code: Path, handler: str = "app.handler") -> Any:
    spec = FunctionSpec(name="packed", code=code, handler=handler, timeout_s=30, memory_mb=512)
    async with Environment(spec) as environment:
        result = await environment.invoke(b'"hi"')
        assert result.status == "success", (result.payload, result.log)
        return json.loads(result.payload)


@pytest.mark.parametrize(("mode", "told"), [(0o600, True), (0o640, True), (0o644, False), (0, False)])
async def test_a_file_that_lambda_could_not_read_is_told(mode: int, told: bool, tmp_path: Path) -> None:
    path = tmp_path / "bundle.zip"
    # 0x20 is the archive flag of Windows: without any attribute zipfile would write 0o600.
    path.write_bytes(zipped((entry("app.py", external_attr=mode << 16 | 0x20), SOURCE)))
    spec = FunctionSpec(name="packed", code=path, handler="app.handler", timeout_s=30)
    async with Environment(spec) as environment:
        assert (await environment.invoke(b"1")).status == "success"
        found = [text for text in environment.box.cannot if text.startswith("package: app.py in bundle.zip")]
    assert bool(found) is told


async def test_a_zip_file_runs(tmp_path: Path) -> None:
    path = tmp_path / "bundle.zip"
    path.write_bytes(zipped(("app.py", SOURCE)))
    event, file = await answer(path)
    assert event == "hi"
    assert file.endswith("/app.py")
    path.write_bytes(zipped(("app.py", SOURCE.replace("[event", "['new'"))))
    assert (await answer(path))[0] == "new"


def wheel(name: str, *entries: tuple[zipfile.ZipInfo | str, bytes | str]) -> bytes:
    meta = f"{name}-1.0.dist-info"
    return zipped(
        *entries,
        (f"{meta}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n"),
        (f"{meta}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"),
    )


async def test_a_wheel_runs(tmp_path: Path) -> None:
    path = tmp_path / "shop-1.0-py3-none-any.whl"
    path.write_bytes(wheel("shop", ("shop/__init__.py", ""), ("shop/app.py", SOURCE)))
    assert (await answer(path, "shop.app.handler"))[0] == "hi"


@pytest.mark.parametrize("packed", [False, True])
async def test_wheels_at_the_top_are_unpacked_beside_the_code(tmp_path: Path, packed: bool) -> None:
    code = tmp_path / "code"
    code.mkdir()
    script = "#!python -s\r\nprint('x')\n"
    files = {
        "app.py": "import json, os\nfrom one import name\nfrom two import both\nimport deep\n"
        "def handler(event, context):\n"
        "    tool = open('bin/tool').readline()\n"
        "    found = [name, both, deep.x, tool, os.access('bin/tool', os.X_OK), sorted(os.listdir('.'))]\n"
        "    return found\n",
        "own.py": "x = 'mine'",
    }
    one = wheel("one", ("one.py", "name = 'one'"), ("shared/n.py", "x = 1"), ("own.py", "x = 'theirs'"))
    two = wheel(
        "two",
        ("two-1.0.data/purelib/two.py", "both = 'two'"),
        ("two-1.0.data/platlib/deep.py", "x = 'deep'"),
        (entry("two-1.0.data/scripts/tool", stat.S_IFREG | 0o755), script),
        ("two-1.0.data/data/share/note", "x"),
        ("shared/n.py", "x = 2"),
    )
    for name, text in files.items():
        (code / name).write_text(text)
    (code / "one-1.0-py3-none-any.whl").write_bytes(one)
    (code / "two-1.0-py3-none-any.whl").write_bytes(two)
    target = code
    if packed:
        target = tmp_path / "bundle.zip"
        target.write_bytes(zipped(*[(path.name, path.read_bytes()) for path in code.iterdir()]))
    found = await answer(target)
    assert found[:5] == ["one", "two", "deep", "#!/usr/bin/env python3 -s\n", True]
    assert [name for name in found[5] if not name.startswith(("__", "one-", "two-"))] == [
        *("app.py", "bin", "deep.py", "one.py", "own.py", "share", "shared", "two.py")
    ]
    folder = unpack(target)
    assert (folder / "own.py").read_text() == "x = 'mine'"
    assert (folder / "shared/n.py").read_text() == "x = 2"
    assert (folder / "share/note").read_text() == "x"
    assert not list(folder.glob("*.whl"))
    assert not list(folder.glob("*.data"))


def test_a_wheel_is_unpacked_as_pip_does(tmp_path: Path) -> None:
    path = tmp_path / "shop-1.0-py3-none-any.whl"
    points = (
        "[console_scripts]\nrun-shop = shop:main\nother.tool = shop.deep:App.run\n"
        "[shop.plugins]\nx = shop:y\n"
    )
    path.write_bytes(
        wheel(
            "shop",
            ("shop/__init__.py", "def main():\n    return 3\n"),
            ("shop/data.bin", bytes(range(256))),
            ("shop-1.0.data/purelib/pure.py", "x = 1"),
            ("shop-1.0.data/platlib/plat.py", "x = 2"),
            ("shop-1.0.data/scripts/tool", "#!python\nprint(1)\n"),
            ("shop-1.0.data/data/share/note", "x"),
            ("shop-1.0.dist-info/entry_points.txt", points),
            ("shop-1.0.dist-info/RECORD", ""),
        )
    )
    target = tmp_path / "pip"
    options = ["--no-deps", "--no-compile", "--no-index", "--disable-pip-version-check"]
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "-q", *options, "--target", target, path],
        check=True,
        capture_output=True,
    )
    pips = {"INSTALLER", "REQUESTED", "RECORD", "direct_url.json"}
    folder = unpack(path)

    def content(root: Path) -> dict[str, tuple[bytes, int]]:
        return {
            str(file.relative_to(root)): (
                b"" if file.parent.name == "bin" else file.read_bytes(),
                stat.S_IMODE(file.stat().st_mode) & 0o111,
            )
            for file in root.rglob("*")
            if file.is_file() and file.name not in pips
        }

    assert content(folder) == content(target)
    assert "bin/run-shop" in content(folder)
    environment = {"PYTHONPATH": str(folder), "PATH": str(tmp_path)}
    ran = subprocess.run([sys.executable, folder / "bin" / "run-shop"], env=environment, check=False)
    assert ran.returncode == 3


@pytest.mark.parametrize("name", ["../../evil", "/evil", "a b", "-x", ""])
def test_names_of_scripts_do_not_climb(name: str, tmp_path: Path) -> None:
    path = tmp_path / "shop-1.0-py3-none-any.whl"
    points = f"[console_scripts]\n{name} = shop:main\nok = shop:main\nbad = shop:main();evil\n"
    path.write_bytes(wheel("shop", ("shop.py", ""), ("shop-1.0.dist-info/entry_points.txt", points)))
    folder = unpack(path)
    assert [file.name for file in folder.rglob("*") if file.parent.name == "bin"] in (["ok"], [])
    assert not list(folder.parent.glob("evil"))


def test_a_wheel_with_a_link_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "shop-1.0-py3-none-any.whl"
    path.write_bytes(zipped(("app.py", SOURCE), link("a", "app.py")))
    with pytest.raises(UsageError, match=r"shop-1.0-py3-none-any.whl is refused: its entry 'a'"):
        unpack(path)


def test_wheels_never_follow_links_of_the_code_around_them(tmp_path: Path) -> None:
    inner = wheel("pkg", ("pkg/file.py", "x = 'wheel'"))
    data = zipped(("real/file.py", "x = 'zip'"), link("pkg", "real"), ("pkg-1.0-py3-none-any.whl", inner))
    folder = unpack(data)
    assert (folder / "real/file.py").read_text() == "x = 'zip'"
    assert (folder / "pkg/file.py").read_text() == "x = 'zip'"
