"""Files that say which functions a lab serves: the lab's own, and SAM or CloudFormation templates."""

from lambent_lab.service.files.definition import Configuration, Definition
from lambent_lab.service.files.loading import find, load

__all__ = ["Configuration", "Definition", "find", "load"]
