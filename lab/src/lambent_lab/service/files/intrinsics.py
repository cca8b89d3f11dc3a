"""CloudFormation's intrinsic functions, as far as they can be known without deploying anything.

Rules
- Parameters have the value given, or their default; pseudo parameters are those of the lab's account.
- A Ref of another resource is its name, if the template gives it one, and else its logical id; its ARN is
  made from that, for the kinds of resources below.
- What cannot be known is an error that says where it stands; only what is asked for is looked at.
"""

from __future__ import annotations

import base64
import re
import uuid
from typing import TYPE_CHECKING, Any

from lambent_lab.environ import ACCOUNT, REGION
from lambent_lab.errors import UsageError
from lambent_lab.service.files import definition as read

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

NOTHING = object()
"""What `AWS::NoValue` stands for: the property is not there."""

_PSEUDO: Mapping[str, object] = {
    "AWS::AccountId": ACCOUNT,
    "AWS::NoValue": NOTHING,
    "AWS::NotificationARNs": [],
    "AWS::Partition": "aws",
    "AWS::Region": REGION,
    "AWS::StackId": f"arn:aws:cloudformation:{REGION}:{ACCOUNT}:stack/lambent/{uuid.UUID(int=0)}",
    "AWS::StackName": "lambent",
    "AWS::URLSuffix": "amazonaws.com",
}

_NAMES = {
    "AWS::DynamoDB::Table": "TableName",
    "AWS::Events::EventBus": "Name",
    "AWS::IAM::Role": "RoleName",
    "AWS::Kinesis::Stream": "Name",
    "AWS::Lambda::Function": "FunctionName",
    "AWS::S3::Bucket": "BucketName",
    "AWS::SNS::Topic": "TopicName",
    "AWS::SQS::Queue": "QueueName",
    "AWS::Serverless::Function": "FunctionName",
    "AWS::Serverless::LayerVersion": "LayerName",
    "AWS::Lambda::LayerVersion": "LayerName",
    "AWS::Serverless::SimpleTable": "TableName",
    "AWS::Serverless::StateMachine": "Name",
    "AWS::StepFunctions::StateMachine": "StateMachineName",
}
"""The property that names a resource."""

_ARNS = {
    "AWS::DynamoDB::Table": "dynamodb:{region}:{account}:table/{name}",
    "AWS::Events::EventBus": "events:{region}:{account}:event-bus/{name}",
    "AWS::IAM::Role": "iam::{account}:role/{name}",
    "AWS::Kinesis::Stream": "kinesis:{region}:{account}:stream/{name}",
    "AWS::Lambda::Function": "lambda:{region}:{account}:function:{name}",
    "AWS::S3::Bucket": "s3:::{name}",
    "AWS::SNS::Topic": "sns:{region}:{account}:{name}",
    "AWS::SQS::Queue": "sqs:{region}:{account}:{name}",
    "AWS::Serverless::Function": "lambda:{region}:{account}:function:{name}",
    "AWS::Serverless::SimpleTable": "dynamodb:{region}:{account}:table/{name}",
    "AWS::Serverless::StateMachine": "states:{region}:{account}:stateMachine:{name}",
    "AWS::StepFunctions::StateMachine": "states:{region}:{account}:stateMachine:{name}",
    "AWS::Serverless::LayerVersion": "lambda:{region}:{account}:layer:{name}:1",
    "AWS::Lambda::LayerVersion": "lambda:{region}:{account}:layer:{name}:1",
}
_REF_IS_ARN = {"AWS::SNS::Topic", "AWS::Serverless::LayerVersion", "AWS::Lambda::LayerVersion"}
_MAX_DEPTH = 50


class Resolver:
    """Resolves values of one template. `given` are parameters' values."""

    def __init__(self, template: Mapping[str, Any], given: Mapping[str, str] | None = None) -> None:
        self._parameters = read.table(template.get("Parameters"), "Parameters")
        self._conditions = read.table(template.get("Conditions"), "Conditions")
        self._mappings = read.table(template.get("Mappings"), "Mappings")
        self._resources = read.table(template.get("Resources"), "Resources")
        self._given = dict(given or {})
        for name in self._given:
            if name not in self._parameters:
                raise read.unknown(name, self._parameters, "--parameter")
        self._functions: dict[str, Callable[[Any, str, int], object]] = {
            "Ref": self._ref,
            "Condition": self._condition,
            "Fn::Base64": lambda value, where, depth: base64.b64encode(
                self._text(value, where, depth).encode()
            ).decode(),
            "Fn::Equals": self._equals,
            "Fn::And": lambda value, where, depth: all(self._truths(value, where, depth)),
            "Fn::Or": lambda value, where, depth: any(self._truths(value, where, depth)),
            "Fn::Not": lambda value, where, depth: not all(self._truths(value, where, depth)),
            "Fn::FindInMap": self._find_in_map,
            "Fn::GetAtt": self._get_att,
            "Fn::If": self._if,
            "Fn::Join": self._join,
            "Fn::Select": self._select,
            "Fn::Split": self._split,
            "Fn::Sub": self._sub,
        }

    def resolve(self, value: object, where: str, depth: int = 0) -> Any:
        """Return a value with its functions worked out. Raises UsageError when one cannot be."""
        if depth > _MAX_DEPTH:
            raise UsageError(f"{where} is nested too deeply, or refers to itself.")
        if isinstance(value, list):
            items = [self.resolve(item, where, depth + 1) for item in value]
            return [item for item in items if item is not NOTHING]
        if not isinstance(value, dict):
            return value
        if len(value) == 1:
            ((name, argument),) = value.items()
            function = self._functions.get(name)
            if function is not None:
                return function(argument, where, depth + 1)
            if isinstance(name, str) and name.startswith("Fn::"):
                raise UsageError(f"{where} uses {name}, which the lab cannot work out: write the value.")
        resolved = {key: self.resolve(item, f"{where}.{key}", depth + 1) for key, item in value.items()}
        return {key: item for key, item in resolved.items() if item is not NOTHING}

    def holds(self, name: object, where: str) -> bool:
        """Tell whether a condition of the template holds."""
        return self._condition(name, where, 0)

    # -- names

    def name_of(self, logical: str, depth: int = 0) -> str:
        """Return a resource's name: the one the template gives it, or its logical id."""
        resource = read.table(self._resources.get(logical), f"Resources.{logical}")
        properties = read.table(resource.get("Properties"), f"Resources.{logical}.Properties")
        key = _NAMES.get(str(resource.get("Type")))
        if key is None or key not in properties:
            return logical
        named = self.resolve(properties[key], f"Resources.{logical}.Properties.{key}", depth + 1)
        return logical if named is NOTHING else read.text(named, f"Resources.{logical}.Properties.{key}")

    def arn_of(self, logical: str, where: str, depth: int = 0) -> str:
        """Return a resource's ARN."""
        kind = str(read.table(self._resources.get(logical), f"Resources.{logical}").get("Type"))
        form = _ARNS.get(kind)
        if form is None:
            raise UsageError(f"{where}: the ARN of {logical} ({kind}) is not known before it is deployed.")
        return "arn:aws:" + form.format(region=REGION, account=ACCOUNT, name=self.name_of(logical, depth))

    def _ref(self, name: object, where: str, depth: int) -> object:
        if not isinstance(name, str):
            raise UsageError(f"{where}: Ref needs a name, not {read.shown(name)}.")
        if name in _PSEUDO:
            return _PSEUDO[name]
        if name in self._parameters:
            return self._parameter(name, where)
        if name in self._resources:
            kind = str(read.table(self._resources[name], f"Resources.{name}").get("Type"))
            if kind in _REF_IS_ARN:
                return self.arn_of(name, where, depth)
            return self.name_of(name, depth)
        known = [*self._parameters, *self._resources]
        raise UsageError(f"{where} refers to {name}, which the template does not have: {', '.join(known)}.")

    def _parameter(self, name: str, where: str) -> object:
        about = read.table(self._parameters[name], f"Parameters.{name}")
        if name not in self._given and "Default" not in about:
            raise UsageError(
                f"{where} needs the parameter {name}, which has no default: --parameter {name}=VALUE."
            )
        value = self._given.get(name, about.get("Default"))
        kind = str(about.get("Type", "String"))
        if kind == "CommaDelimitedList" or kind.startswith("List<"):
            return [part.strip() for part in str(value).split(",")] if not isinstance(value, list) else value
        if isinstance(value, bool):
            return "true" if value else "false"
        return str(value) if isinstance(value, (int, float)) else value

    def _get_att(self, value: object, where: str, depth: int) -> object:
        parts = value.split(".", 1) if isinstance(value, str) else value
        if not isinstance(parts, list) or len(parts) < 2 or not all(isinstance(p, str) for p in parts):
            raise UsageError(f"{where}: Fn::GetAtt needs a resource and an attribute.")
        logical, attribute = parts[0], ".".join(parts[1:])
        if logical not in self._resources:
            raise UsageError(f"{where} refers to {logical}, which the template does not have.")
        if attribute in {"Arn", "TopicArn", "LayerVersionArn"}:
            return self.arn_of(logical, where, depth)
        if attribute in {"QueueName", "TopicName", "Name"}:
            return self.name_of(logical, depth)
        raise UsageError(
            f"{where}: {attribute} of {logical} is not known before it is deployed: write a value."
        )

    # -- text and lists

    def _text(self, value: object, where: str, depth: int) -> str:
        resolved = self.resolve(value, where, depth)
        if isinstance(resolved, bool):
            return "true" if resolved else "false"
        if not isinstance(resolved, (str, int, float)):
            raise UsageError(f"{where} must come to text, not {read.shown(resolved)}.")
        return str(resolved)

    def _list(self, value: object, where: str, depth: int) -> list[Any]:
        return read.items(self.resolve(value, where, depth), where)

    def _pair(self, value: object, where: str, name: str, count: int = 2) -> list[Any]:
        if not isinstance(value, list) or len(value) != count:
            raise UsageError(f"{where}: {name} needs a list of {count}, not {read.shown(value)}.")
        return value

    def _join(self, value: object, where: str, depth: int) -> str:
        separator, parts = self._pair(value, where, "Fn::Join")
        items = [self._text(item, where, depth) for item in self._list(parts, where, depth)]
        return self._text(separator, where, depth).join(items)

    def _split(self, value: object, where: str, depth: int) -> list[str]:
        separator, text = self._pair(value, where, "Fn::Split")
        by = self._text(separator, where, depth)
        if not by:
            raise UsageError(f"{where}: Fn::Split needs a separator.")
        return self._text(text, where, depth).split(by)

    def _select(self, value: object, where: str, depth: int) -> object:
        index, items = self._pair(value, where, "Fn::Select")
        at = read.integer(self.resolve(index, where, depth), where)
        found = self._list(items, where, depth)
        if not 0 <= at < len(found):
            raise UsageError(f"{where}: Fn::Select asks for item {at} of {len(found)}.")
        return found[at]

    def _sub(self, value: object, where: str, depth: int) -> str:
        own: dict[str, Any] = {}
        if isinstance(value, list):
            value, own = self._pair(value, where, "Fn::Sub")
            own = read.table(own, where)
        template = read.text(value, where)

        def replaced(match: re.Match[str]) -> str:
            name = match[1].strip()
            if name.startswith("!"):
                return f"${{{name[1:]}}}"
            if name in own:
                return self._text(own[name], where, depth)
            reference = {"Fn::GetAtt": name} if "." in name else {"Ref": name}
            return self._text(reference, where, depth)

        return re.sub(r"\$\{([^}]*)\}", replaced, template)

    # -- conditions and maps

    def _find_in_map(self, value: object, where: str, depth: int) -> object:
        keys = [self._text(key, where, depth) for key in self._pair(value, where, "Fn::FindInMap", 3)]
        found: Any = self._mappings
        for key in keys:
            if not isinstance(found, dict) or key not in found:
                raise UsageError(f"{where}: Mappings has no {'.'.join(keys)}.")
            found = found[key]
        return found

    def _condition(self, name: object, where: str, depth: int) -> bool:
        if not isinstance(name, str) or name not in self._conditions:
            raise UsageError(
                f"{where} names the condition {read.shown(name)}, which the template does not have."
            )
        if depth > _MAX_DEPTH:
            raise UsageError(f"Conditions.{name} refers to itself.")
        return self._truth(self._conditions[name], f"Conditions.{name}", depth + 1)

    def _truth(self, value: object, where: str, depth: int) -> bool:
        found = self.resolve(value, where, depth)
        if isinstance(found, bool):
            return found
        if found in {"true", "false"}:
            return bool(found == "true")
        raise UsageError(f"{where} must come to true or false, not {read.shown(found)}.")

    def _truths(self, value: object, where: str, depth: int) -> list[bool]:
        return [self._truth(item, where, depth) for item in read.items(value, where)]

    def _equals(self, value: object, where: str, depth: int) -> bool:
        one, other = self._pair(value, where, "Fn::Equals")
        return self._text(one, where, depth) == self._text(other, where, depth)

    def _if(self, value: object, where: str, depth: int) -> object:
        name, then, otherwise = self._pair(value, where, "Fn::If", 3)
        return self.resolve(then if self._condition(name, where, depth) else otherwise, where, depth)
