"""A ``RunServer`` on a loop of its own, as another host would run it."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

from mrkernel.shuffle.serving import RunServer

TOKEN = b"t" * 32


class RunHost:
    """Serves a directory until it is closed."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._live()))
        self._thread.start()
        self._ready.wait()

    async def _live(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        server = RunServer(self.directory, TOKEN)
        server.listen(0, "127.0.0.1")
        self.address = server.address
        self._ready.set()
        await self._stop.wait()
        server.stop()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()
