"""A chat-completions server that costs next to no CPU: its answers take 0.2 s + Exp(0.2 s), foretold by the question.

    python benchmarks/generation/latency_server.py [--latency 0]

Prints its port, and serves until it is killed. Written on asyncio's protocols alone, so that clients meet a server
and not each other's share of a core; every client that asks the same question waits the same time.
"""

import argparse
import asyncio
import json
import math
import zlib

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s"
STEPS = "\n\n".join(
    f"Step {k}: She eats {k} of them for breakfast, so {20 - k} - {k} = {20 - 2 * k} are left for the day."
    for k in range(1, 6)
)


def latency_s(question: str, mean_s: float) -> float:
    """`mean_s` + Exp(`mean_s`), a function of the question."""
    share = (zlib.crc32(question.encode()) + 0.5) / 2**32
    return mean_s - mean_s * math.log(share)


class Connection(asyncio.Protocol):
    """One client's connection: answers calls in turn."""

    def __init__(self, mean_s: float) -> None:
        self.mean_s = mean_s
        self.received = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.received += data
        while (end := self.received.find(b"\r\n\r\n")) >= 0:
            head = bytes(self.received[:end]).lower()
            at = head.find(b"\r\ncontent-length:")
            length = 0 if at < 0 else int(head[at + 17 :].split(b"\r\n", 1)[0])
            if len(self.received) < end + 4 + length:
                return
            body = bytes(self.received[end + 4 : end + 4 + length])
            del self.received[: end + 4 + length]
            if not head.startswith(b"post "):
                self.transport.write(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n")
                continue
            question = str((json.loads(body).get("messages") or [None])[-1])
            if self.mean_s:
                asyncio.get_running_loop().call_later(latency_s(question, self.mean_s), self.answer, question)
            else:
                self.answer(question)

    def answer(self, question: str) -> None:
        number = zlib.crc32(question.encode()) % 1000
        message = {"role": "assistant", "content": f"{STEPS}\n\n# Answer\n\n{number}"}
        body = {
            "id": "c",
            "object": "chat.completion",
            "created": 1,
            "model": "m",
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 60, "completion_tokens": 150, "total_tokens": 210},
        }
        content = json.dumps(body).encode()
        self.transport.write(HEAD % (len(content), content))


async def serve(mean_s: float) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(mean_s), "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--latency", type=float, default=0.2)
    asyncio.run(serve(parser.parse_args().latency))
