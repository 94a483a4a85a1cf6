"""One thread, with the streams of asyncio."""
import asyncio

from exchange import DEADLINE, process, ready, request


async def exchange(reader, writer):
    data, is_ended = b"", False
    while (complete := request(data, is_ended)) is None:
        chunk = await reader.read(1024)
        data, is_ended = data + chunk, not chunk
    writer.write(process(complete))
    await writer.drain()
    writer.write_eof()
    while await reader.read(65536):
        pass


async def serve(reader, writer):
    try:
        await asyncio.wait_for(exchange(reader, writer), DEADLINE)
    except (OSError, asyncio.TimeoutError):
        pass
    finally:
        writer.transport.abort() if writer.transport.get_write_buffer_size() else writer.close()


async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", 0, backlog=1024)
    ready(server.sockets[0])
    await server.serve_forever()


asyncio.run(main())
