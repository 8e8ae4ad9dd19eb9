"""gRPC through the edge, both ends by grpcio: a server on a unix socket, and a client that calls it
by https. Exits with 0 when every call ended as it must, and says what did not.

usage: grpc_exchange.py SOCKET EDGE_PORT CA_FILE HOST
"""

import sys
import threading
from concurrent import futures

import grpc

LARGE = 3_000_000


class Service(grpc.GenericRpcHandler):
    def __init__(self):
        self.cancelled = threading.Event()

    def service(self, details):
        handlers = {
            "/t/Unary": grpc.unary_unary_rpc_method_handler(self.unary),
            "/t/Down": grpc.unary_stream_rpc_method_handler(self.down),
            "/t/Up": grpc.stream_unary_rpc_method_handler(self.up),
            "/t/Both": grpc.stream_stream_rpc_method_handler(self.both),
            "/t/Refuse": grpc.unary_unary_rpc_method_handler(self.refuse),
            "/t/Wait": grpc.unary_stream_rpc_method_handler(self.wait),
        }
        return handlers.get(details.method)

    def unary(self, request, context):
        context.set_trailing_metadata((("x-peer", dict(context.invocation_metadata())["x-mine"]),))
        return request[::-1]

    def down(self, request, context):
        for i in range(int(request)):
            yield b"%d" % i + b"." * 10_000

    def up(self, requests, context):
        return b"%d" % sum(len(request) for request in requests)

    def both(self, requests, context):
        for request in requests:
            yield b"re:" + request

    def refuse(self, request, context):
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, "not now: 100%")

    def wait(self, request, context):
        context.add_callback(self.cancelled.set)
        yield b"begun"
        self.cancelled.wait(20)


def check(what, got, wanted):
    if got != wanted:
        sys.exit(f"{what}: got {str(got)[:200]!r}, wanted {str(wanted)[:200]!r}")


def code_of(call):
    try:
        call()
    except grpc.RpcError as error:
        return error.code()
    return grpc.StatusCode.OK


def exchange(channel, service):
    mine = (("x-mine", "yes"),)
    unary = channel.unary_unary("/t/Unary")
    answer, call = unary.with_call(b"abc", metadata=mine, timeout=20)
    check("unary", answer, b"cba")
    check("trailers", dict(call.trailing_metadata()).get("x-peer"), "yes")
    check("large", len(unary(b"x" * LARGE, metadata=mine, timeout=20)), LARGE)
    parts = list(channel.unary_stream("/t/Down")(b"300", timeout=20))
    check("server streaming", [len(part) > 10_000 for part in parts], [True] * 300)
    total = channel.stream_unary("/t/Up")((b"y" * 20_000 for _ in range(200)), timeout=20)
    check("client streaming", total, b"4000000")

    # Each message waits for the answer to the one before it: neither side may be held back.
    turn = threading.Semaphore(1)

    def questions():
        for i in range(50):
            turn.acquire()
            yield b"%d" % i

    answers = []
    for part in channel.stream_stream("/t/Both")(questions(), timeout=20):
        answers.append(part)
        turn.release()
    check("both", answers, [b"re:%d" % i for i in range(50)])

    refused = channel.unary_unary("/t/Refuse").future(b"", timeout=20)
    check("refused", refused.code(), grpc.StatusCode.FAILED_PRECONDITION)
    check("its words", refused.details(), "not now: 100%")
    unknown = channel.unary_unary("/t/Unknown")
    check("unknown", code_of(lambda: unknown(b"", timeout=20)), grpc.StatusCode.UNIMPLEMENTED)

    waiting = channel.unary_stream("/t/Wait")(b"")
    check("begun", next(waiting), b"begun")
    waiting.cancel()
    check("the cancellation reached the server", service.cancelled.wait(20), True)

    with futures.ThreadPoolExecutor(16) as pool:
        sizes = [1 + (i * 7919) % 50_000 for i in range(400)]
        echo = lambda size: len(unary(b"z" * size, metadata=mine, timeout=20))
        check("many at once", list(pool.map(echo, sizes)), sizes)


def main():
    socket, port, ca_file, host = sys.argv[1:]
    service = Service()
    server = grpc.server(futures.ThreadPoolExecutor(8))
    server.add_generic_rpc_handlers((service,))
    server.add_insecure_port("unix:" + socket)
    server.start()
    with open(ca_file, "rb") as file:
        credentials = grpc.ssl_channel_credentials(file.read())
    options = (("grpc.ssl_target_name_override", host), ("grpc.default_authority", host))
    with grpc.secure_channel("127.0.0.1:" + port, credentials, options) as channel:
        exchange(channel, service)
    server.stop(0)
    with grpc.secure_channel("127.0.0.1:" + port, credentials, options) as channel:
        gone = channel.unary_unary("/t/Unary")
        code = code_of(lambda: gone(b"", metadata=(("x-mine", ""),), timeout=20))
        check("without a server", code, grpc.StatusCode.UNAVAILABLE)


if __name__ == "__main__":
    main()
