"""What a function is run with: an interpreter, the runtime client, the layer, a prepared copy of its code."""

from lambent_lab.staging.archive import MAX_UNZIPPED, MAX_ZIPPED, CodeSizeExceededError
from lambent_lab.staging.interpreter import Interpreter, inspect
from lambent_lab.staging.package import unpack
from lambent_lab.staging.runtimes import Runtime
from lambent_lab.staging.stage import BOOTSTRAP, Stage, stage

__all__ = [
    "BOOTSTRAP",
    "MAX_UNZIPPED",
    "MAX_ZIPPED",
    "CodeSizeExceededError",
    "Interpreter",
    "Runtime",
    "Stage",
    "inspect",
    "stage",
    "unpack",
]
