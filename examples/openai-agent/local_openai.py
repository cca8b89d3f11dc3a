"""A local server that speaks OpenAI's chat completions API, for running without a key and without a network.

    with serve() as base_url:
        client = openai.OpenAI(base_url=base_url, api_key="local")

It is no model: its answers follow from the request, always the same ones. Given tools it calls the first one
(the one that `tool_choice` names, if it names one), with the arguments that it finds in the last user's
message; given the results of tools it answers with them; given neither it repeats the question. A token is a
word.

Answered: `POST /v1/chat/completions` (tools, parallel calls, `n`, `max_tokens`, `stop` and streams with
`stream_options`), `POST /v1/embeddings`, `GET /v1/models`. Errors have OpenAI's form: 401 without a key, 404
for a model whose name holds "unknown", 429 and 500 for one whose name ends in these digits, 400 for a wrong
request.
"""

import hashlib
import json
import re
import sys
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

CREATED = 1_700_000_000
FINGERPRINT = "fp_local"
FAILURES = {
    "401": ("invalid_request_error", "invalid_api_key", "Incorrect API key provided."),
    "404": ("invalid_request_error", "model_not_found", "The model `{}` does not exist."),
    "429": ("requests", "rate_limit_exceeded", "Rate limit reached for {}."),
    "500": ("server_error", None, "The server had an error while processing your request."),
}


class RequestError(Exception):
    """A request that is answered with an error."""

    def __init__(self, status, message, kind="invalid_request_error", code=None, param=None):
        super().__init__(message)
        self.status = status
        self.body = {"error": {"message": message, "type": kind, "param": param, "code": code}}


def failure(status, subject=""):
    kind, code, message = FAILURES[status]
    return RequestError(int(status), message.format(subject), kind, code)


@contextmanager
def serve(delay=0.0, port=0):
    """Serve on the loopback until the block ends; gives the base URL. `delay`: seconds before each token."""

    class Handler(OpenAIHandler):
        pass

    Handler.delay = delay
    server = Server(("127.0.0.1", port), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True, name="local-openai")
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/v1"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def start(**options):
    """Serve for as long as the process lives, and return the base URL."""
    serving = serve(**options)
    _lasting.append(serving)
    return serving.__enter__()


_lasting = []


# What is answered.


def text_of(message):
    """The text of a message, whose content is a text or a list of parts."""
    content = message.get("content") or ""
    if isinstance(content, str):
        return content
    return " ".join(part.get("text", "") for part in content if isinstance(part, dict))


def tokens(text):
    return re.findall(r"\s*\S+", text)


def complete(request):
    """The choices of a request, each a message and why it ended, and the number of tokens read."""
    messages = request.get("messages")
    if not isinstance(messages, list) or not messages:
        raise RequestError(400, "Missing required parameter: 'messages'.", param="messages")
    read = sum(len(tokens(text_of(message))) + 3 for message in messages)
    question = next((text_of(m) for m in reversed(messages) if m.get("role") == "user"), "")
    choice = request.get("tool_choice") or "auto"
    offered = [tool["function"] for tool in request.get("tools") or () if tool.get("type") == "function"]
    results = []
    for message in reversed(messages):
        if message.get("role") != "tool":
            break
        results.insert(0, text_of(message))
    if offered and choice != "none" and (not results or choice != "auto"):
        message = {"role": "assistant", "content": None, "refusal": None}
        message["tool_calls"] = calls_of(offered, choice, question, request)
        finish = "tool_calls"
    else:
        text = f"Here is what I found: {'; '.join(results)}." if results else f"You said: {question}"
        text, finish = cut(text, request)
        message = {"role": "assistant", "content": text, "refusal": None}
    count = request.get("n") or 1
    return [(dict(message), finish) for _ in range(count)], read


def cut(text, request):
    """The text up to a stop sequence or the number of tokens allowed, and why it ended there."""
    stops = request.get("stop") or []
    for stop in [stops] if isinstance(stops, str) else stops:
        text = text.partition(stop)[0]
    limit = request.get("max_completion_tokens") or request.get("max_tokens")
    parts = tokens(text)
    if limit is not None and len(parts) > limit:
        return "".join(parts[:limit]), "length"
    return text, "stop"


def calls_of(offered, choice, question, request):
    named = choice["function"]["name"] if isinstance(choice, dict) else None
    wanted = [tool for tool in offered if named in {None, tool["name"]}]
    if not wanted:
        raise RequestError(400, f"Tool choice {named!r} is not among the tools.", param="tool_choice")
    found = arguments_for(wanted[0], question)
    if request.get("parallel_tool_calls") is False:
        found = found[:1]
    calls = []
    for arguments in found:
        written = json.dumps(arguments)
        identity = hashlib.sha256(f"{len(calls)}{wanted[0]['name']}{written}".encode()).hexdigest()[:24]
        function = {"name": wanted[0]["name"], "arguments": written}
        calls.append({"id": f"call_{identity}", "type": "function", "function": function})
    return calls


def arguments_for(tool, question):
    """Arguments for calls of a tool: one for each name in the question ("… in Oslo and in Rome?")."""
    properties = (tool.get("parameters") or {}).get("properties") or {}
    names = re.findall(r"\b[A-Z]\w+(?: [A-Z]\w+)*", question)[1:] or re.findall(r"\b[A-Z]\w+", question)
    numbers = re.findall(r"-?\d+(?:\.\d+)?", question)
    shared, text_property = {}, None
    for name, schema in properties.items():
        kind = schema.get("type", "string")
        if "enum" in schema:
            said = [value for value in schema["enum"] if str(value).lower() in question.lower()]
            shared[name] = (said or schema["enum"])[0]
        elif kind == "integer":
            shared[name] = int(float(numbers[0])) if numbers else 1
        elif kind == "number":
            shared[name] = float(numbers[0]) if numbers else 1.0
        elif kind == "boolean":
            shared[name] = True
        elif kind == "string" and text_property is None:
            shared[name], text_property = question, name
        else:
            shared[name] = {"array": [], "object": {}}.get(kind, "")
    if text_property is None or not names:
        return [shared]
    return [{**shared, text_property: name} for name in dict.fromkeys(names)]


def written_by(message):
    """How many tokens a message took to write."""
    calls = message.get("tool_calls") or ()
    return len(tokens(message["content"] or "")) + sum(
        len(tokens(call["function"]["arguments"])) + 1 for call in calls
    )


def usage_of(choices, read):
    wrote = sum(written_by(message) for message, _ in choices)
    return {
        "prompt_tokens": read,
        "completion_tokens": wrote,
        "total_tokens": read + wrote,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": 0,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def head_of(request, kind):
    digest = hashlib.sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()[:29]
    return {
        "id": f"chatcmpl-{digest}",
        "object": kind,
        "created": CREATED,
        "model": f"{request['model']}-local",
        "service_tier": "default",
        "system_fingerprint": FINGERPRINT,
    }


def completion(request):
    choices, read = complete(request)
    made = []
    for index, (message, finish) in enumerate(choices):
        told = {**message, "annotations": []}
        made.append({"index": index, "message": told, "logprobs": None, "finish_reason": finish})
    return head_of(request, "chat.completion") | {"choices": made, "usage": usage_of(choices, read)}


def chunks(request):
    """The chunks of a stream: a role, then words or parts of a tool's arguments, a finish, and the usage."""
    choices, read = complete(request)
    head = head_of(request, "chat.completion.chunk")
    with_usage = bool((request.get("stream_options") or {}).get("include_usage"))
    if with_usage:
        head["usage"] = None

    def chunk(index, delta, finish=None):
        choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish}
        return {**head, "choices": [choice]}

    for index, (message, finish) in enumerate(choices):
        calls = message.get("tool_calls") or []
        yield chunk(index, {"role": "assistant", "content": None if calls else "", "refusal": None})
        for part in tokens(message["content"] or ""):
            yield chunk(index, {"content": part})
        for number, call in enumerate(calls):
            function = {"name": call["function"]["name"], "arguments": ""}
            start = {"index": number, "id": call["id"], "type": "function", "function": function}
            yield chunk(index, {"tool_calls": [start]})
            for part in tokens(call["function"]["arguments"]):
                yield chunk(index, {"tool_calls": [{"index": number, "function": {"arguments": part}}]})
        yield chunk(index, {}, finish)
    if with_usage:
        yield {**head, "choices": [], "usage": usage_of(choices, read)}


def embeddings(request):
    given = request.get("input")
    inputs = [given] if isinstance(given, str) else given
    if not inputs:
        raise RequestError(400, "Missing required parameter: 'input'.", param="input")
    size = request.get("dimensions") or 8
    data = []
    for index, text in enumerate(inputs):
        digest = hashlib.sha256(str(text).encode()).digest()
        vector = [digest[i % 32] / 255 for i in range(size)]
        if request.get("encoding_format") == "base64":
            import base64
            import struct

            vector = base64.b64encode(struct.pack(f"<{size}f", *vector)).decode()
        data.append({"object": "embedding", "index": index, "embedding": vector})
    read = sum(len(tokens(str(text))) for text in inputs)
    usage = {"prompt_tokens": read, "total_tokens": read}
    return {"object": "list", "data": data, "model": f"{request['model']}-local", "usage": usage}


# How it is answered.


class Server(ThreadingHTTPServer):
    """A thread for each connection; one that breaks off is the client's business."""

    daemon_threads = True

    def handle_error(self, request, client_address):
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class OpenAIHandler(BaseHTTPRequestHandler):
    """One connection, kept for several requests."""

    protocol_version = "HTTP/1.1"
    delay = 0.0
    # Otherwise the client's delayed acknowledgements cost 40 ms a chunk.
    disable_nagle_algorithm = True

    def log_message(self, *arguments):
        """Say nothing: the function's log is the function's."""

    def do_GET(self):
        if self.path != "/v1/models":
            return self.send_json(404, RequestError(404, f"Unknown request URL: GET {self.path}.").body)
        model = {"id": "gpt-4o-mini", "object": "model", "created": CREATED, "owned_by": "local"}
        return self.send_json(200, {"object": "list", "data": [model]})

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        answer = {"/v1/chat/completions": completion, "/v1/embeddings": embeddings}.get(self.path)
        if answer is None:
            return self.send_json(404, RequestError(404, f"Unknown request URL: POST {self.path}.").body)
        try:
            request = self.checked(body)
            if request.get("stream") and answer is completion:
                return self.send_stream(chunks(request))
            document = answer(request)
        except RequestError as error:
            return self.send_json(error.status, error.body)
        except (KeyError, TypeError, AttributeError) as error:
            return self.send_json(400, RequestError(400, f"The request is not understood: {error!r}").body)
        usage = document["usage"]
        time.sleep(self.delay * (usage["total_tokens"] - usage["prompt_tokens"]))
        return self.send_json(200, document)

    def checked(self, body):
        if not self.headers.get("Authorization", "").removeprefix("Bearer").strip():
            raise failure("401")
        try:
            request = json.loads(body)
        except ValueError:
            raise RequestError(400, "We could not parse the JSON body of your request.") from None
        model = request.get("model") if isinstance(request, dict) else None
        if not isinstance(model, str):
            raise RequestError(400, "you must provide a model parameter")
        if "unknown" in model:
            raise failure("404", model)
        for status in ("429", "500"):
            if model.endswith(status):
                raise failure(status, model)
        return request

    def send_json(self, status, document):
        data = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.send_header("x-request-id", "req_local")
        self.end_headers()
        self.wfile.write(data)

    def send_stream(self, documents):
        first = next(documents)  # a wrong request is answered before the stream begins
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream; charset=utf-8")
        self.send_header("Transfer-Encoding", "chunked")
        self.send_header("x-request-id", "req_local")
        self.end_headers()
        try:
            self.send_event(json.dumps(first))
            for document in documents:
                time.sleep(self.delay)
                self.send_event(json.dumps(document))
            self.send_event("[DONE]")
            self.wfile.write(b"0\r\n\r\n")
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True  # who listened has heard enough

    def send_event(self, text):
        data = f"data: {text}\n\n".encode()
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()
