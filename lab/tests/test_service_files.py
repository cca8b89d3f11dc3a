"""Files that say which functions there are: the lab's own, and templates."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from lambent_lab.errors import UsageError
from lambent_lab.function import FunctionSpec
from lambent_lab.service.files import Configuration, find, load, own, sam, yamls
from lambent_lab.service.files.intrinsics import NOTHING, Resolver
from lambent_lab.service.policy import Policy

BASE = Path("/work")
EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def parse(text: str) -> Configuration:
    return own.parse(yamls.parse(text, "file"), BASE)


def template(text: str, **options: Any) -> Configuration:
    document = yamls.parse(text, "template")
    assert isinstance(document, dict)
    return sam.parse(document, BASE, **options)


# -- the lab's own


def test_every_key_of_a_function() -> None:
    (one,) = parse(
        """
layers: {"arn:aws:lambda:us-east-1:1:layer:tools:3": tools}
functions:
  orders:
    code: ./orders
    handler: app.handler
    runtime: python3.12
    python: /usr/bin/python3
    memory: 256
    timeout: 2.5
    env: {A: b, N: 1, F: 1.5, "YES": true}
    layers: [common, "arn:aws:lambda:us-east-1:1:layer:tools:3"]
    extensions: [ext/agent]
    concurrency: {reserved: 5, provisioned: 2}
    events: {retries: 0, max_age: 600, on_failure: "arn:aws:lambda:us-east-1:123456789012:function:alarm",
      dead_letter: "arn:aws:sqs:us-east-1:123456789012:dead"}
    tmp: 1024
    network: private
    log_format: JSON
    application_log_level: DEBUG
    system_log_level: WARN
    initialization: snap-start
    freeze: false
    init_cpu: share
    bytecode: false
    description: takes orders
    tracing: Active
    alias: live
    tags: {team: a}
"""
    ).definitions
    assert one.options == {
        "name": "orders",
        "code": BASE / "orders",
        "handler": "app.handler",
        "runtime": "python3.12",
        "python": Path("/usr/bin/python3"),
        "memory_mb": 256,
        "timeout_s": 2.5,
        "env": {"A": "b", "N": "1", "F": "1.5", "YES": "true"},
        "layers": (BASE / "common", BASE / "tools"),
        "extensions": (BASE / "ext/agent",),
        "tmp_mb": 1024,
        "network": "private",
        "log_format": "JSON",
        "application_log_level": "DEBUG",
        "system_log_level": "WARN",
        "initialization": "snap-start",
        "freeze": False,
        "init_cpu": "share",
        "bytecode": False,
    }
    assert (one.reserved, one.provisioned, one.alias, one.tags) == (5, 2, "live", {"team": "a"})
    alarm = "arn:aws:lambda:us-east-1:123456789012:function:alarm"
    assert one.policy == Policy(retries=0, max_age_s=600, on_failure=alarm)
    assert one.about["DeadLetterConfig"] == {"TargetArn": "arn:aws:sqs:us-east-1:123456789012:dead"}
    assert one.about["Description"] == "takes orders"
    assert one.about["TracingConfig"] == {"Mode": "Active"}


def test_everything_that_a_function_has_can_be_written() -> None:
    fields = {field.name for field in dataclasses.fields(FunctionSpec)}
    assert {field for field, _, _ in own.KEYS.values() if field} == fields - {"name", "version"}


def test_the_examples_are_served() -> None:
    configuration = load(EXAMPLES / "lambent.yaml")
    assert [one.name for one in configuration.definitions] == ["hello", "orders", "shell"]
    for one in configuration.definitions:
        assert FunctionSpec(**one.options).timeout_s == 10


def test_defaults_are_shared_and_overridden() -> None:
    configuration = parse(
        """
defaults: {handler: app.handler, memory: 512, env: {A: a, B: b}, concurrency: {reserved: 3}}
functions:
  one: {code: one}
  two: {code: two, memory: 128, env: {B: mine}, concurrency: {provisioned: 1}}
"""
    )
    one, two = configuration.definitions
    assert (one.options["memory_mb"], two.options["memory_mb"]) == (512, 128)
    assert two.options["env"] == {"A": "a", "B": "mine"}
    assert (two.reserved, two.provisioned) == (3, 1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("functions: {a: {code: x, handler: y.z, memroy: 5}}", "'memroy': did you mean 'memory'?"),
        ("function: {}", "unknown key 'function': did you mean 'functions'?"),
        ("functions: {}", "has no functions"),
        ("functions: {a: {handler: y.z}}", "functions.a has no code"),
        ("functions: {a: {code: x}}", "functions.a has no handler"),
        ("functions: {a b: {code: x, handler: y.z}}", "cannot be called 'a b'"),
        ("functions: {a: {code: x, handler: y.z, memory: lots}}", "memory must be a whole number"),
        ("functions: {a: {code: x, handler: y.z, timeout: yes}}", "timeout must be a number"),
        ("functions: {a: {code: x, handler: y.z, freeze: 1}}", "functions.a.freeze must be true or false"),
        ("functions: {a: {code: x, handler: y.z, env: [1]}}", "functions.a.env must be a table"),
        ("functions: {a: {code: x, handler: y.z, env: {K: [1]}}}", "env.K must be text"),
        ("functions: {a: {code: x, handler: y.z, layers: x}}", "functions.a.layers must be a list"),
        ("functions: {a: {code: x, handler: y.z, layers: ['arn:x']}}", "arn:x is no folder"),
        ("functions: {a: {code: x, handler: y.z, concurrency: {reservd: 1}}}", "mean 'reserved'"),
        ("functions: {a: {code: x, handler: y.z, concurrency: {reserved: -1}}}", "cannot be -1"),
        ("functions: {a: {code: x, handler: y.z, events: {retry: 1}}}", "mean 'retries'"),
        ("functions: {a: {code: x, handler: y.z, events: {retries: 3}}}", "cannot be 3: choose 0 to 2"),
        ("functions: {a: {code: x, handler: y.z, events: {max_age: 5}}}", "choose 60 to 21600"),
        ("functions: {a: {code: x, handler: y.z, events: {on_failure: 5}}}", "a.events must be text"),
        ("functions: {a: {code: x, handler: y.z, tracing: on}}", "tracing must be text"),
        ("functions: {a: {code: x, handler: y.z, tracing: maybe}}", "choose Active or PassThrough"),
        ("functions: {a: {code: x, handler: y.z, alias: '1'}}", "alias cannot be '1'"),
        ("functions: {a: {code: 5, handler: y.z}}", "functions.a.code must be text, not 5"),
        ("functions: [a]", "functions must be a table"),
        ("- a", "must be a table"),
        ("functions: {a: {code: x}, a: {code: y}}", "the key 'a' is there twice"),
        ("functions: {a: [}", "is no YAML"),
        ("{[a]: b}", "a key must be text"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(text: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(text)
    assert message in str(caught.value)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats(-5, 5) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
KEYS = st.sampled_from([*own.KEYS, "functions", "defaults", "layers", "reserved", "provisioned", "x"])


@given(
    st.dictionaries(
        st.sampled_from(["functions", "defaults", "layers"]),
        VALUES
        | st.dictionaries(KEYS, VALUES, max_size=4)
        | st.dictionaries(st.text("ab", min_size=1), st.dictionaries(KEYS, VALUES, max_size=6), max_size=2),
    )
)
def test_any_document_is_understood_or_refused(document: object) -> None:
    try:
        configuration = own.parse(document, BASE)
    except UsageError as error:
        assert str(error).endswith((".", "?"))  # noqa: PT017 - either outcome is right
        return
    assert all({"name", "code", "handler"} <= one.options.keys() for one in configuration.definitions)


@given(st.text(max_size=200))
def test_any_text_is_yaml_or_refused(text: str) -> None:
    try:
        yamls.parse(text, "it")
    except UsageError as error:
        assert "it is no YAML" in str(error)  # noqa: PT017 - either outcome is right


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner, max_size=4),
    max_leaves=10,
)


@given(PLAIN)
def test_yaml_reads_what_yaml_writes(value: object) -> None:
    assert yamls.parse(yaml.safe_dump(value), "it") == value


# -- templates

SAM = """
AWSTemplateFormatVersion: 2010-09-09
Transform: AWS::Serverless-2016-10-31
Parameters:
  Stage: {Type: String, Default: dev}
  Memory: {Type: Number, Default: 256}
  Needed: {Type: String}
Mappings:
  Sizes: {dev: {tmp: 600}, prod: {tmp: 2000}}
Conditions:
  IsProd: !Equals [!Ref Stage, prod]
  NotProd: !Not [{Condition: IsProd}]
Globals:
  Function:
    Runtime: python3.11
    Timeout: 10
    Environment: {Variables: {STAGE: !Ref Stage, SHARED: a}}
    Layers: [!Ref Common]
    Tags: {team: a}
Resources:
  Common:
    Type: AWS::Serverless::LayerVersion
    Properties: {ContentUri: layer/, LayerName: common}
  Orders:
    Type: AWS::Serverless::Function
    Properties:
      FunctionName: !Sub "${Stage}-orders"
      CodeUri: orders/
      Handler: app.handler
      MemorySize: !Ref Memory
      EphemeralStorage: {Size: !FindInMap [Sizes, !Ref Stage, tmp]}
      Architectures: [arm64]
      ReservedConcurrentExecutions: !If [IsProd, 100, 5]
      AutoPublishAlias: live
      EventInvokeConfig:
        MaximumRetryAttempts: !If [IsProd, 2, 0]
        MaximumEventAgeInSeconds: 600
        DestinationConfig:
          OnSuccess: {Type: SQS}
          OnFailure: {Type: Lambda, Destination: !GetAtt Plain.Arn}
      DeadLetterQueue: {Type: SQS, TargetArn: !GetAtt Dead.Arn}
      ProvisionedConcurrencyConfig: {ProvisionedConcurrentExecutions: 1}
      Tracing: Active
      Policies: [!GetAtt Nothing.Known]
      Events: {Api: {Type: Api, Properties: {Path: /, Method: get}}}
      Environment:
        Variables:
          SHARED: mine
          TABLE: !Ref Table
          TABLE_ARN: !GetAtt Table.Arn
          OTHER: !Sub ["${AWS::Region}/${Name}/${!Literal}/${Orders.Arn}", {Name: !Join ["-", [a, b]]}]
          GONE: !If [IsProd, x, !Ref AWS::NoValue]
  Plain:
    Type: AWS::Lambda::Function
    Properties:
      Handler: index.handler
      Runtime: python3.11
      Role: arn:aws:iam::123456789012:role/plain
      Code: {ZipFile: "def handler(event, context): return 1"}
      TracingConfig: {Mode: PassThrough}
      DeadLetterConfig: {TargetArn: !ImportValue elsewhere}
      Tags: [{Key: a, Value: b}]
  PlainEvents:
    Type: AWS::Lambda::EventInvokeConfig
    Properties:
      FunctionName: !Ref Plain
      Qualifier: $LATEST
      MaximumRetryAttempts: 1
      DestinationConfig: {OnFailure: {Destination: !GetAtt Unknown.Thing}}
  Prod:
    Type: AWS::Serverless::Function
    Condition: IsProd
    Properties: {CodeUri: prod, Handler: a.b}
  Table:
    Type: AWS::DynamoDB::Table
    Properties: {TableName: !Sub "orders-${Stage}"}
  Dead:
    Type: AWS::SQS::Queue
"""


def test_a_sam_template() -> None:
    orders, plain = template(SAM).definitions
    assert orders.options == {
        "name": "dev-orders",
        "code": BASE / "orders",
        "handler": "app.handler",
        "runtime": "python3.11",
        "memory_mb": 256,
        "timeout_s": 10.0,
        "tmp_mb": 600,
        "layers": (BASE / "layer",),
        "env": {
            "STAGE": "dev",
            "SHARED": "mine",
            "TABLE": "orders-dev",
            "TABLE_ARN": "arn:aws:dynamodb:us-east-1:123456789012:table/orders-dev",
            "OTHER": "us-east-1/a-b/${Literal}/arn:aws:lambda:us-east-1:123456789012:function:dev-orders",
        },
    }
    assert (orders.reserved, orders.provisioned, orders.alias, orders.other_name) == (5, 1, "live", "Orders")
    assert orders.about["Architectures"] == ["arm64"]
    assert orders.about["TracingConfig"] == {"Mode": "Active"}
    dead = {"TargetArn": "arn:aws:sqs:us-east-1:123456789012:Dead"}
    assert orders.about["DeadLetterConfig"] == dead
    assert "DeadLetterConfig" not in plain.about, "it is not known before a deployment"
    assert orders.tags == {"team": "a"}
    arn = "arn:aws:lambda:us-east-1:123456789012:function:Plain"
    assert orders.policy == Policy(retries=0, max_age_s=600, on_failure=arn)
    assert plain.policy == Policy(retries=1)
    assert (plain.name, plain.source) == ("Plain", "def handler(event, context): return 1")
    assert (plain.options["handler"], plain.about["Role"]) == (
        "index.handler", "arn:aws:iam::123456789012:role/plain",
    )  # fmt: skip
    assert plain.tags == {"a": "b"}
    assert "timeout_s" not in plain.options  # Globals are SAM's


@pytest.mark.parametrize("role", ["!ImportValue shared", "!GetAtt Nested.Outputs.Role", "!Ref Needed", "5"])
def test_a_role_that_nobody_knows_yet_is_left_out(role: str) -> None:
    text = f"Parameters: {{Needed: {{Type: String}}}}\n{ONE.format(f'Role: {role}, CodeUri: code')}"
    (one,) = template(text).definitions
    assert "Role" not in one.about


def test_parameters_can_be_given() -> None:
    configuration = template(SAM, parameters={"Stage": "prod", "Memory": "1024"})
    orders, _, prod = configuration.definitions
    assert (orders.name, orders.options["memory_mb"], orders.options["tmp_mb"]) == ("prod-orders", 1024, 2000)
    assert (orders.reserved, orders.options["env"]["GONE"]) == (100, "x")
    assert (prod.name, prod.options["code"]) == ("Prod", BASE / "prod")


ONE = "Resources: {{F: {{Type: 'AWS::Serverless::Function', Properties: {{Handler: a.b, {}}}}}}}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (ONE.format("PackageType: Image"), "is a container image"),
        (ONE.format("CodeUri: s3://bucket/key"), "is not on this machine"),
        (ONE.format("CodeUri: {Bucket: a, Key: b}"), "is not on this machine"),
        (ONE.format("MemorySize: big"), "Resources.F.Properties.MemorySize must be a whole number"),
        (ONE.format("MemorySize: !Ref Size"), "refers to Size, which the template does not have"),
        (ONE.format("MemorySize: !ImportValue Size"), "uses Fn::ImportValue, which the lab cannot work out"),
        (ONE.format("Layers: ['arn:aws:lambda:us-east-1:1:layer:x:1']"), "--layer arn:aws"),
        (ONE.format("Environment: {Variables: {A: !GetAtt F.B}}"), "B of F is not known"),
        (ONE.format("Timeout: !If [Never, 1, 2]"), "the condition 'Never', which the template does not have"),
        (ONE.format("AutoPublishAlias: '1'"), "AutoPublishAlias cannot be '1'"),
        (ONE.format("FunctionName: !Ref F"), "nested too deeply, or refers to itself"),
        (ONE.format("FunctionName: a b"), "cannot be called 'a b'"),
        (ONE.format("Environment: {Variables: {A: !Select [4, [a, b]]}}"), "asks for item 4 of 2"),
        (ONE.format("Environment: {Variables: {A: !Join [a]}}"), "Fn::Join needs a list of 2"),
        ("Resources: {B: {Type: 'AWS::S3::Bucket'}}", "The template has no function"),
        ("Parameters: {P: {Type: String}}\n" + ONE.format("Runtime: !Ref P"), "--parameter P=VALUE"),
        (
            "Resources:\n  A: {Type: 'AWS::Lambda::Function', Properties: {Handler: a.b, FunctionName: x}}\n"
            "  B: {Type: 'AWS::Lambda::Function', Properties: {Handler: a.b, FunctionName: x}}",
            "Two functions are called x",
        ),
    ],
)  # fmt: skip
def test_what_a_template_cannot_say(text: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        template(text)
    assert message in str(caught.value)


def test_a_parameter_that_the_template_does_not_have() -> None:
    with pytest.raises(UsageError, match="did you mean 'Stage'"):
        template(SAM, parameters={"Stag": "x"})


def test_layers_of_other_accounts_are_named_by_the_user() -> None:
    arn = "arn:aws:lambda:us-east-1:580247275435:layer:LambdaInsightsExtension"
    text = ONE.format(f"Layers: ['{arn}:14']")
    (one,) = template(text, layers={arn: Path("/layers/insights")}).definitions
    assert one.options["layers"] == (Path("/layers/insights"),)


def test_globals_are_joined_as_sam_joins_them() -> None:
    shared = {"a": {"x": 1, "y": 2}, "l": [1], "s": 1, "r": {"Ref": "A"}}
    mine = {"a": {"y": 3}, "l": [2], "s": 2, "r": {"Ref": "B"}}
    assert sam.merged(shared, mine) == {"a": {"x": 1, "y": 3}, "l": [1, 2], "s": 2, "r": {"Ref": "B"}}


def test_short_and_long_forms_are_the_same() -> None:
    short = "a: !Sub '${X}'\nb: !GetAtt A.B.C\nc: !If [C, !Ref A, {Condition: D}]\nd: !Base64 x"
    assert yamls.parse(short, "it") == {
        "a": {"Fn::Sub": "${X}"},
        "b": {"Fn::GetAtt": ["A", "B.C"]},
        "c": {"Fn::If": ["C", {"Ref": "A"}, {"Condition": "D"}]},
        "d": {"Fn::Base64": "x"},
    }


def test_functions_of_cloudformation() -> None:
    resolver = Resolver(
        {
            "Parameters": {"L": {"Type": "CommaDelimitedList", "Default": "a, b"}, "B": {"Default": True}},
            "Conditions": {
                "Yes": {"Fn::Equals": ["1", 1]},
                "No": {"Fn::Not": [{"Condition": "Yes"}]},
                "Both": {"Fn::And": [{"Condition": "Yes"}, {"Condition": "No"}]},
                "One": {"Fn::Or": [{"Condition": "Yes"}, {"Condition": "No"}]},
                "Loop": {"Condition": "Loop"},
            },
            "Resources": {"Q": {"Type": "AWS::SQS::Queue"}, "T": {"Type": "AWS::SNS::Topic"}},
        }
    )
    expected: list[tuple[object, object]] = [
        ({"Fn::Select": ["1", {"Ref": "L"}]}, "b"),
        ({"Fn::Split": [",", "a,b"]}, ["a", "b"]),
        ({"Fn::Join": ["/", {"Fn::Split": ["-", "a-b"]}]}, "a/b"),
        ({"Fn::Base64": "x"}, "eA=="),
        ({"Ref": "B"}, "true"),
        ({"Ref": "Q"}, "Q"),
        ({"Ref": "T"}, "arn:aws:sns:us-east-1:123456789012:T"),
        ({"Fn::GetAtt": "Q.Arn"}, "arn:aws:sqs:us-east-1:123456789012:Q"),
        ({"Ref": "AWS::AccountId"}, "123456789012"),
        ([1, {"Ref": "AWS::NoValue"}], [1]),
        ({"Ref": "AWS::NoValue"}, NOTHING),
        ({"Fn::If": ["One", {"a": 1}, {"b": 2}]}, {"a": 1}),
    ]
    for value, wanted in expected:
        assert resolver.resolve(value, "here") == wanted
    assert [resolver.holds(name, "here") for name in ("Yes", "No", "Both", "One")] == [
        True,
        False,
        False,
        True,
    ]
    with pytest.raises(UsageError, match="refers to itself"):
        resolver.holds("Loop", "here")


JOINED = ["Fn::Sub", "Fn::Join", "Fn::Select", "Fn::Split", "Fn::Base64"]
CALLS = st.sampled_from(
    [*JOINED, "Ref", "Fn::If", "Fn::GetAtt", "Fn::FindInMap", "Fn::Equals", "Condition", "Fn::Other", "Key"]
)
LEAVES = st.sampled_from(
    ["A", "P", "R", "C", "${P}", "${R.Arn}", "${", "AWS::Region", "AWS::NoValue", 1, True, None]
)


@given(
    st.recursive(
        LEAVES,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(CALLS, inner, min_size=1, max_size=2),
        max_leaves=8,
    )
)
def test_any_value_is_worked_out_or_refused(value: object) -> None:
    resolver = Resolver(
        {
            "Parameters": {"P": {"Default": "p"}},
            "Conditions": {"C": {"Fn::Equals": ["a", "a"]}},
            "Resources": {"R": {"Type": "AWS::SQS::Queue"}},
        }
    )
    try:
        found = resolver.resolve(value, "here")
    except UsageError as error:
        assert str(error)  # noqa: PT017 - either outcome is right
        return
    if found is not NOTHING:
        json.dumps(found)  # plain values all the way down


# -- finding and loading


def test_files_are_found_and_told_apart(tmp_path: Path) -> None:
    assert find(tmp_path) is None
    (tmp_path / "template.yaml").write_text(ONE.format("CodeUri: code"))
    assert load(tmp_path / "template.yaml").definitions[0].options["code"] == tmp_path / "code"
    (tmp_path / "lambent.toml").write_text('[functions.a]\ncode = "x"\nhandler = "y.z"\n')
    assert find(tmp_path) == tmp_path / "lambent.toml"
    assert load(tmp_path / "lambent.toml").definitions[0].name == "a"
    (tmp_path / "lambent.toml").write_text("[functions")
    with pytest.raises(UsageError, match="is no TOML"):
        load(tmp_path / "lambent.toml")
    (tmp_path / "lambent.yaml").write_bytes(b"\xff")
    with pytest.raises(UsageError, match="it is not UTF-8"):
        load(tmp_path / "lambent.yaml")
    (tmp_path / "template.json").write_text("{")
    with pytest.raises(UsageError, match="is no JSON"):
        load(tmp_path / "template.json")
    with pytest.raises(UsageError, match="cannot be read: No such file"):
        load(tmp_path / "none.yaml")
    (tmp_path / "lambent.yaml").write_text("functions: {a: {code: x, handler: y.z}}")
    with pytest.raises(UsageError, match="is no template"):
        load(tmp_path / "lambent.yaml", parameters={"A": "b"})
