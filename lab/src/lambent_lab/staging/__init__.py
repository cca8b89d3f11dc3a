"""What a function is run with: an interpreter, the runtime client, the layer, a prepared copy of its code."""

from lambent_lab.staging.interpreter import Interpreter, inspect
from lambent_lab.staging.stage import Stage, stage

__all__ = ["Interpreter", "Stage", "inspect", "stage"]
