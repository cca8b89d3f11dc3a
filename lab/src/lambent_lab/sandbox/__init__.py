"""Boxes: one process tree held, frozen, limited and measured; and the file system it sees."""

from lambent_lab.sandbox.box import Box, BoxReport, Usage
from lambent_lab.sandbox.disks import Order
from lambent_lab.sandbox.furnish import Folders, Tmp
from lambent_lab.sandbox.make import forced_kind, make_box
from lambent_lab.sandbox.network import RUNTIME_API_PORT, Forwarding, Network
from lambent_lab.sandbox.process import Output, Process, describe_exit
from lambent_lab.sandbox.report import describe
from lambent_lab.sandbox.room import Room, make_room
from lambent_lab.sandbox.spawn import Child
from lambent_lab.sandbox.workspace import Workspace, workspace

__all__ = [
    "RUNTIME_API_PORT",
    "Box",
    "BoxReport",
    "Child",
    "Folders",
    "Forwarding",
    "Network",
    "Order",
    "Output",
    "Process",
    "Room",
    "Tmp",
    "Usage",
    "Workspace",
    "describe",
    "describe_exit",
    "forced_kind",
    "make_box",
    "make_room",
    "workspace",
]
