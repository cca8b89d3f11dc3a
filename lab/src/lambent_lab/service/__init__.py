"""The Lambda service: functions, and invocations of them."""

from lambent_lab.service.function import Function
from lambent_lab.service.lab import Lab
from lambent_lab.service.result import Report, Result

__all__ = ["Function", "Lab", "Report", "Result"]
