"""A TCP proxy before each node, through which clients speak: it delays, delivers in odd pieces, and breaks off in the middle."""
import asyncio
import random
import threading

PIECE_MAX = 16384


class Proxy:
    """`nodes`: (own address, own port, target address, target port). Runs in a thread of its own."""

    def __init__(self, nodes, seed):
        self.nodes, self.chance = nodes, random.Random(seed)
        self.delay_max = 0.002  # seconds, for each piece that passes
        self.streams = set()
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)

    def __enter__(self):
        self.thread.start()
        for here, port, target, target_port in self.nodes:
            def meet(reader, writer, to=(target, target_port)):
                return self.serve(reader, writer, to)
            asyncio.run_coroutine_threadsafe(asyncio.start_server(meet, here, port), self.loop).result(10)
        return self

    def __exit__(self, *_):
        asyncio.run_coroutine_threadsafe(self.end(), self.loop).result(10)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()

    async def end(self):
        for end in list(self.streams):
            end.transport.abort()
        await asyncio.gather(*(asyncio.all_tasks() - {asyncio.current_task()}), return_exceptions=True)

    async def serve(self, reader, writer, to):
        try:
            there_reader, there_writer = await asyncio.wait_for(asyncio.open_connection(*to), 5)
        except (OSError, asyncio.TimeoutError):
            writer.transport.abort()
            return
        ends = {writer, there_writer}
        self.streams |= ends
        try:
            await asyncio.gather(self.pass_on(reader, there_writer), self.pass_on(there_reader, writer))
        except OSError:
            pass
        finally:
            self.streams -= ends
            for end in ends:
                end.transport.abort()

    async def pass_on(self, source, target):
        while piece := await source.read(self.chance.randint(1, PIECE_MAX)):
            await asyncio.sleep(self.chance.uniform(0, self.delay_max))
            target.write(piece)
            await target.drain()
        raise ConnectionResetError  # one side has ended: so does the other

    def slow_down(self, seconds):
        """The most that a piece waits from now on."""
        self.delay_max = seconds

    def break_off(self):
        """Every connection ends now, with whatever is on its way."""
        self.loop.call_soon_threadsafe(lambda: [end.transport.abort() for end in list(self.streams)])
