from __future__ import annotations

import ast
from pathlib import Path

import pytest
from benchmarks.harness import peers_file, plan

BENCHMARKS = Path(__file__).resolve().parents[1]
PEERS = peers_file.read(BENCHMARKS / "peers.toml").peers
INTERFACE = {"start", "spans", "children", "flush", "recording"}

GOOD = """
schema = 1
python = ["3.13"]
runtime = ["awslambdaric==4.2.2"]
[[peer]]
name = "none"
title = "no tracing"
module = "none.py"
requirements = []
"""


def test_the_comparison_names_everyone() -> None:
    assert {one.name for one in PEERS} == {
        "none",
        "lambent",
        "lambda-otel-lite",
        "opentelemetry-sdk",
        "opentelemetry-api",
        "aws-xray-sdk",
        "datadog-lambda",
        "aws-opentelemetry-distro",
        "honeyhive",
    }


def test_what_is_left_out_is_a_measure_with_a_reason() -> None:
    known = {measure.name for measure in plan.MEASURES}
    for one in PEERS:
        assert set(one.without) <= known
        assert all(one.without.values())


@pytest.mark.parametrize("peer", PEERS, ids=lambda peer: peer.name)
def test_a_worker_has_the_interface_and_imports_nothing_before_the_clock(peer: peers_file.Peer) -> None:
    tree = ast.parse((BENCHMARKS / "peers" / peer.module).read_text(encoding="utf-8"))
    functions = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    assert functions >= INTERFACE
    imported = {
        name
        for node in tree.body
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [str(node.module)]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert imported <= {"__future__", "os", "sys", "benchmarks.worker", "benchmarks.worker.work"}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("requirements = []", 'requirements = ["x>=1"]'), "pin 'x>=1' as NAME==VERSION"),
        (("requirements = []", 'requirements = ["x @ https://example.com/x.whl"]'), "without an address"),
        (("awslambdaric==4.2.2", "awslambdaric"), "runtime: pin"),
        (('name = "none"', 'name = "other"'), "baseline `none` is missing"),
        (("requirements = []", "requirements = []\nversion = 2"), "unknown key 'version'"),
        (("schema = 1", "schema = 2"), "schema must be 1"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_with_the_reason(
    tmp_path: Path, change: tuple[str, str], said: str
) -> None:
    file = tmp_path / "peers.toml"
    file.write_text(GOOD.replace(*change), encoding="utf-8")
    with pytest.raises(peers_file.PeersFileError, match=said):
        peers_file.read(file)


def test_two_tools_of_one_name_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "peers.toml"
    file.write_text(GOOD + GOOD[GOOD.index("[[peer]]") :], encoding="utf-8")
    with pytest.raises(peers_file.PeersFileError, match="same name"):
        peers_file.read(file)
