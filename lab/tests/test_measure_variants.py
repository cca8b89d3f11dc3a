"""What `--variants` and `--baseline` mean, and folders of revisions."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lambent_lab import report
from lambent_lab.commands.axes import Variants
from lambent_lab.commands.inputs import locate
from lambent_lab.errors import UsageError
from lambent_lab.measure import read
from lambent_lab.measure.revisions import Revisions
from lambent_lab.measure.target import digest_of
from lambent_lab.measure.variants import MODE_VARIABLE, Asked, compare

if TYPE_CHECKING:
    from lambent_lab.measure.variants import Comparison


@pytest.fixture(autouse=True)
def bundles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "app.py").write_text(f"# {name}\n")
    monkeypatch.chdir(tmp_path)


def compared(
    *variants: str, target: str | None = "one/app.handler", baseline: str | None = None
) -> Comparison:
    def revision(code: Path, name: str) -> tuple[Path, str]:
        return code / name, f"commit-{name}"

    asked = Asked(target=target, env={"A": "1"}, locate=locate, revision=revision, reach={})
    return compare(asked, variants, baseline)


def test_modes_are_the_same_bundle_told_by_one_variable_against_untraced() -> None:
    found = compared("off", "sync", "async", "finalize", "auto", "on")
    assert (found.baseline.label, found.baseline.mode) == ("untraced", "off")
    assert found.baseline.env == {"A": "1", "OTEL_SDK_DISABLED": "true"}
    assert list(found.variants) == ["sync", "async", "finalize", "auto", "on"]
    for mode in ("sync", "async", "finalize", "auto"):
        side = found.variants[mode]
        assert side.env == {"A": "1", MODE_VARIABLE: mode}
        assert (side.code, side.handler, side.mode) == (found.baseline.code, found.baseline.handler, mode)
    assert found.variants["on"].env == {"A": "1"}


def test_one_variant_alone_is_the_candidate() -> None:
    found = compared("off", "async")
    assert list(found.variants) == ["candidate"]
    assert found.variants["candidate"].label == "async"


def test_other_targets_are_compared_with_the_target_as_it_is() -> None:
    found = compared("two/app.handler", "again=two/app.handler")
    assert (found.baseline.text, found.baseline.label, found.baseline.switch) == (
        "one/app.handler",
        "on",
        None,
    )
    assert list(found.variants) == ["two/app.handler", "again"]
    assert found.variants["again"].code == Path("two")


def test_other_sdks_beside_off_are_compared_with_untraced() -> None:
    found = compared("off", "on", "other=two/app.handler")
    assert found.baseline.mode == "off"
    assert {name: side.text for name, side in found.variants.items()} == {
        "on": "one/app.handler",
        "other": "two/app.handler",
    }


def test_without_a_target_the_first_is_the_baseline() -> None:
    found = compared("old=one/app.handler", "new=two/app.handler", target=None)
    assert (found.baseline.label, found.baseline.text) == ("old", "one/app.handler")
    assert found.variants["candidate"].label == "new"


def test_of_two_revisions_the_first_is_the_baseline() -> None:
    found = compared("git:HEAD~1", "mine=git:HEAD")
    assert (found.baseline.label, found.baseline.code) == ("git:HEAD~1", Path("one/HEAD~1"))
    assert found.variants["candidate"].label == "mine"
    assert found.variants["candidate"].text == "one/app.handler@commit-HEAD"


def test_one_revision_is_compared_with_the_folder_as_it_is() -> None:
    found = compared("git:HEAD~1")
    assert found.baseline.code == Path("one")
    assert found.variants["candidate"].code == Path("one/HEAD~1")


@pytest.mark.parametrize(
    ("text", "env"),
    [
        ("LOG_LEVEL=debug", {"LOG_LEVEL": "debug"}),
        (
            "OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:1",
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"},
        ),
        ("loud=LOG_LEVEL=debug", {"LOG_LEVEL": "debug"}),
        ("small=sync", {MODE_VARIABLE: "sync"}),
    ],
)
def test_variables_and_names(text: str, env: dict[str, str]) -> None:
    side = compared(text, baseline="on").variants["candidate"]
    assert side.env == {"A": "1", **env}
    assert side.label == (text.partition("=")[0] if text.islower() or text.startswith("loud") else text)


def test_places_outside_the_lab_stand_beside_it() -> None:
    found = compared("docker:image:1", "prod=aws:hello:live", "rie=http://localhost:9000")
    assert {name: (side.kind, side.text) for name, side in found.variants.items()} == {
        "docker:image:1": ("docker", "docker:image:1"),
        "prod": ("aws", "aws:hello:live"),
        "rie": ("http", "http://localhost:9000"),
    }


def test_a_named_baseline_is_taken() -> None:
    found = compared("off", "async", baseline="sync")
    assert (found.baseline.label, found.baseline.mode) == ("sync", "sync")
    assert found.variants["off"].mode == "off"


def test_secrets_are_no_names() -> None:
    found = compared("API_KEY=sesame", "sync")
    assert "API_KEY=***" in found.variants
    assert found.variants["API_KEY=***"].env["API_KEY"] == "sesame"


@pytest.mark.parametrize(
    ("variants", "arguments", "message"),
    [
        ((), {}, "names none"),
        (("off",), {}, "All variants are the baseline"),
        (("sync", "sync"), {}, "Two variants are called sync"),
        (("baseline=sync", "async"), {}, "called baseline"),
        (("one/app.handler",), {"target": None}, "nothing to compare with"),
        (("sync", "async"), {"target": None}, "name it"),
        (("git:HEAD",), {"target": "aws:hello"}, "no folder"),
        (("nowhere/app.handler",), {}, "does not exist"),
        (("docker:", "sync"), {}, "names no function"),
        (("asnyc",), {}, r"'asnyc' is no variant: did you mean async\? It is one of off, on, sync"),
    ],
)
def test_what_cannot_be_compared_is_refused(
    variants: tuple[str, ...], arguments: dict[str, str | None], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        compared(*variants, **arguments)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("off,sync , async,", ("off", "sync", "async")),
        ("A=1,2,sync", ("A=1,2", "sync")),
        ("A=tracecontext,b3,B=2", ("A=tracecontext,b3", "B=2")),
        ("one/app.handler,git:HEAD", ("one/app.handler", "git:HEAD")),
    ],
)
def test_a_list_is_split_at_commas_that_begin_a_variant(text: str, parts: tuple[str, ...]) -> None:
    assert Variants().convert(text, None, None) == parts


def git(folder: Path, *arguments: str) -> None:
    who = ("-c", "user.email=a@example.org", "-c", "user.name=a", "-c", "commit.gpgsign=false")
    subprocess.run(["git", "-C", str(folder), *who, *arguments], check=True, capture_output=True)


def test_a_revision_is_what_was_committed_and_leaves_the_repository_alone(tmp_path: Path) -> None:
    code = tmp_path / "repository" / "deep"
    code.mkdir(parents=True)
    git(tmp_path / "repository", "init")
    (code / "app.py").write_text("first")
    git(code, "add", ".")
    git(code, "commit", "-m", "first")
    (code / "app.py").write_text("second")
    git(code, "commit", "-am", "second")
    (code / "app.py").write_text("not committed")
    with Revisions() as revisions:
        first, commit = revisions.folder(code, "HEAD~1")
        second, _ = revisions.folder(code, "HEAD")
        assert (first / "app.py").read_text() == "first"
        assert (second / "app.py").read_text() == "second"
        assert len(commit) == 12
        assert revisions.folder(code, commit)[0] == first
        for name, message in (("nothing", "no revision"), ("", "no revision"), ("--help", "no revision")):
            with pytest.raises(UsageError, match=message):
                revisions.folder(code, name)
        with pytest.raises(UsageError, match="is in no git repository"):
            revisions.folder(tmp_path / "one", "HEAD")
    assert not first.exists()
    assert (code / "app.py").read_text() == "not committed"
    assert not list((tmp_path / "repository" / ".git").glob("worktrees/*"))


def test_equal_files_have_equal_digests(tmp_path: Path) -> None:
    (tmp_path / "copy").mkdir()
    (tmp_path / "copy" / "app.py").write_text("# one\n")
    assert digest_of(tmp_path / "copy") == digest_of(tmp_path / "one")
    (tmp_path / "copy" / "__pycache__").mkdir()
    (tmp_path / "copy" / "__pycache__" / "app.pyc").write_text("made")
    (tmp_path / "copy" / ".lambent").mkdir()
    (tmp_path / "copy" / ".lambent" / "traces.db").write_text("made")
    # What a run writes beside the code is no change of it: --resume would refuse its own file.
    stored = Path(__file__).parent / "data" / "performance-results.json"
    results = read(stored)
    (tmp_path / "copy" / "old.json").write_bytes(stored.read_bytes())
    (tmp_path / "copy" / "new.json").write_text(report.render(results, "json"))
    (tmp_path / "copy" / "page.html").write_text(report.render(results, "html"))
    assert digest_of(tmp_path / "copy") == digest_of(tmp_path / "one")
    (tmp_path / "copy" / "app.py").rename(tmp_path / "copy" / "other.py")
    assert digest_of(tmp_path / "copy") not in {digest_of(tmp_path / "one"), digest_of(tmp_path / "two")}
    assert digest_of(tmp_path / "one" / "app.py") is not None
