"""An HTTP API over a small SQLite database: one order by its number.

The database is made in /tmp, the only place where a Lambda function may write, when the environment
starts. Each lookup is a span; an unknown order is a 404, a number that is none a 400, and an order whose
record is damaged raises, as real ones do.
"""

import json
import os
import sqlite3
from pathlib import Path

import lambent

tracer = lambent.init(service_name="orders-api")

DATABASE = Path(os.environ.get("ORDERS_DATABASE", "/tmp/orders.db"))
ORDERS = [
    (1001, "ada", 3, '[{"sku": "book", "quantity": 2}, {"sku": "pen", "quantity": 1}]'),
    (1002, "grace", 1, '[{"sku": "lamp", "quantity": 1}]'),
    (1003, "edsger", 1, "[{"),
]


def connect():
    connection = sqlite3.connect(DATABASE)
    connection.execute("CREATE TABLE IF NOT EXISTS orders (id INTEGER PRIMARY KEY, customer, items, lines)")
    connection.executemany("INSERT OR REPLACE INTO orders VALUES (?, ?, ?, ?)", ORDERS)
    connection.commit()
    return connection


database = connect()


def load(number):
    with tracer.trace("SELECT orders", kind=lambent.SpanKind.CLIENT) as span:
        span.set_attributes(
            {"db.system.name": "sqlite", "db.query.text": "SELECT … FROM orders WHERE id = ?"}
        )
        row = database.execute(
            "SELECT id, customer, items, lines FROM orders WHERE id = ?", (number,)
        ).fetchone()
        span.set_attribute("db.response.returned_rows", 0 if row is None else 1)
        return row


@tracer.handler
def handler(event, context):
    text = (event.get("pathParameters") or {}).get("id", "")
    if not text.isdecimal() or len(text) > 18:
        return answer(400, {"error": f"an order's id is a number, not {text!r}"})
    row = load(int(text))
    if row is None:
        return answer(404, {"error": f"there is no order {text}"})
    with tracer.trace("render order", attributes={"order.id": row[0], "order.items": row[2]}):
        lines = json.loads(row[3])
        return answer(200, {"id": row[0], "customer": row[1], "items": row[2], "lines": lines})


def answer(status, body):
    return {"statusCode": status, "headers": {"content-type": "application/json"}, "body": json.dumps(body)}
