"""A small HTTP/1.1 server for loopback: long polls, chunked bodies, trailers."""

from lambent_lab.http.messages import BadBody, Request, Response
from lambent_lab.http.server import Handler, Server

__all__ = ["BadBody", "Handler", "Request", "Response", "Server"]
