"""The table of operations, held against botocore's service model."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambent_lab.service.api import model, routes
from lambent_lab.service.serving import OPERATIONS


@pytest.mark.parametrize("route", routes.ROUTES, ids=lambda route: route.operation)
def test_each_route_is_the_one_of_awss_model(route: routes.Route) -> None:
    http = model.load()["operations"][route.operation]["http"]
    assert (route.method, route.path) == (http["method"], http["requestUri"])
    # AWS answers DeleteFunction 204, whatever the model has said at times.
    assert route.status == (204 if route.operation == "DeleteFunction" else http["responseCode"])


def test_each_route_has_its_operation() -> None:
    invocations = {"Invoke", "InvokeWithResponseStream"}
    assert {route.operation for route in routes.ROUTES} == OPERATIONS.keys() | invocations


NAMES = st.text(min_size=1, max_size=30).filter(lambda text: text.strip("/") != "")


@pytest.mark.parametrize("route", routes.ROUTES, ids=lambda route: route.operation)
@given(name=NAMES, other=NAMES)
def test_a_path_means_its_operation_with_any_parameters(route: routes.Route, name: str, other: str) -> None:
    values = {
        "{FunctionName}": name,
        "{Resource}": name,
        "{Name}": other,
        "{UUID}": other,
        "{StatementId}": other,
    }
    path, _, query = route.path.partition("?")
    for part, value in values.items():
        path = path.replace(part, quote(value, safe=""))
    found = routes.match(route.method, path, query)
    assert isinstance(found, routes.Match)
    assert found.route is route
    assert set(found.parameters.values()) <= {name, other}


def test_what_is_not_there() -> None:
    assert routes.match("PATCH", "/2015-03-31/functions") == frozenset({"GET", "POST"})
    assert routes.match("GET", "/2015-03-31/functions/a/b/c/d") == frozenset()
    assert routes.match("GET", "/2015-03-31/functions//configuration") == frozenset()
    assert model.operation_for("GET", "/2015-03-31/event-source-mappings/abc") == "GetEventSourceMapping"
    assert model.operation_for("GET", "/nothing") is None
    assert model.operation_for("GET", "/2018-10-31/layers") == "ListLayers"
    assert (
        model.operation_for("GET", "/2018-10-31/layers", "find=LayerVersion&Arn=a") == "GetLayerVersionByArn"
    )
    listed = model.operation_for("GET", "/2015-03-31/event-source-mappings/", "MaxItems=2")
    assert listed == "ListEventSourceMappings"


def test_a_query_tells_operations_of_one_path_apart() -> None:
    path = "/2019-09-30/functions/a/provisioned-concurrency"
    one, many = routes.match("GET", path, "Qualifier=1"), routes.match("GET", path, "List=ALL&MaxItems=2")
    assert isinstance(one, routes.Match)
    assert isinstance(many, routes.Match)
    assert one.route.operation == "GetProvisionedConcurrencyConfig"
    assert many.route.operation == "ListProvisionedConcurrencyConfigs"
