"""A real reverse proxy in front of a relay, set up as docs/relay.md says."""

import asyncio
import shutil
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.certificates import Certificate

NGINX = shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")

_SERVER = """
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log {folder}/nginx-error.log;
events {{ worker_connections 64; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port} ssl;
        ssl_certificate {certificate.path};
        ssl_certificate_key {certificate.key_path};
{location}
    }}
}}
"""
_DOC = Path(__file__).parents[1] / "docs" / "relay.md"


def location(port: int) -> str:
    """Return what the documentation says, for a relay that listens on ``port``."""
    text = _DOC.read_text(encoding="utf-8")
    begin = text.index("    location / {")
    end = text.index("}\n```", begin)
    return text[begin:end].replace("4002", str(port))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@asynccontextmanager
async def nginx(folder: Path, inner_port: int, certificate: Certificate) -> AsyncGenerator[int]:
    """Run nginx with TLS in front of ``inner_port``; the value is its own port."""
    assert NGINX is not None
    port = _free_port()
    text = _SERVER.format(
        folder=folder, port=port, certificate=certificate, location=location(inner_port)
    )
    config = folder / "nginx.conf"
    config.write_text(text)
    process = await asyncio.create_subprocess_exec(
        NGINX, "-c", str(config), "-p", str(folder), "-e", str(folder / "nginx-error.log")
    )
    try:
        async with asyncio.timeout(10):
            while True:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                except ConnectionRefusedError:
                    assert process.returncode is None, (folder / "nginx-error.log").read_text()
                    await asyncio.sleep(0.02)
                else:
                    writer.close()
                    break
        yield port
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()
