# GNU General Public License v3.0+ (see LICENSE)
"""A TCP proxy on loopback that delays what passes, or lets nothing pass, as a network does."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from types import TracebackType
from typing import Self

from tests.support.daemon import free_ports

PIECE = 65536
# Pieces that one direction of a connection holds; then the sender has to wait, as with a full socket buffer.
PIECES = 64


class Link:
    """The way to a port. Use it as a context manager.

    `delay` is the time in seconds that each piece of data needs in each direction. While `cut` is true, nothing passes: connections
    stay open and hang, as they do when packets are lost.
    """

    def __init__(self, target: int) -> None:
        (self.port,) = free_ports(1)
        self.target = target
        self.delay = 0.0
        self.cut = False
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._listening = threading.Event()

    def __enter__(self) -> Self:
        self._thread.start()
        if not self._listening.wait(10):
            raise RuntimeError(f"the proxy does not listen on port {self.port}")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._connection, "127.0.0.1", self.port))
        self._listening.set()
        self._loop.run_forever()
        server.close()
        tasks = asyncio.all_tasks(self._loop)
        for task in tasks:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        self._loop.close()

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, until it or the link ends."""
        with contextlib.suppress(asyncio.CancelledError):
            await self._both(reader, writer)

    async def _both(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Both directions of a connection."""
        await self._pass()
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            writer.transport.abort()
            return
        try:
            await asyncio.gather(self._direction(reader, back), self._direction(there, writer))
        finally:
            writer.transport.abort()
            back.transport.abort()

    async def _pass(self) -> None:
        while self.cut:
            await asyncio.sleep(0.05)

    async def _direction(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        pieces: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(PIECES)

        async def deliver() -> None:
            while True:
                due, piece = await pieces.get()
                await asyncio.sleep(max(0.0, due - self._loop.time()))
                await self._pass()
                if not piece:
                    writer.close()
                    return
                writer.write(piece)
                await writer.drain()

        delivery = asyncio.create_task(deliver())
        with contextlib.suppress(OSError):
            piece = b"..."
            while piece:
                piece = await reader.read(PIECE)
                put = asyncio.create_task(pieces.put((self._loop.time() + self.delay, piece)))
                await asyncio.wait([put, delivery], return_when=asyncio.FIRST_COMPLETED)
                if delivery.done():
                    put.cancel()
                    break
            await delivery
        delivery.cancel()
        # The other direction ends with it.
        writer.transport.abort()
