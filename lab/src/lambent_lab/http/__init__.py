"""A small HTTP/1.1 server for loopback: long polls, bodies streamed both ways, trailers."""

from lambent_lab.http.body import Body, BodyError
from lambent_lab.http.messages import Answer, BadBody, CutOff, Later, Request, Response, StreamedResponse
from lambent_lab.http.server import Handler, Server

__all__ = [
    "Answer",
    "BadBody",
    "Body",
    "BodyError",
    "CutOff",
    "Handler",
    "Later",
    "Request",
    "Response",
    "Server",
    "StreamedResponse",
]
