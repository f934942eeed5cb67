"""What `python -m vllm...` is in tests without vLLM: a program that takes the same command and serves a made-up model.

It serves health, models and chat from the standard library, starts a child in a session of its own as servers do, and
refuses whoever does not bring its key. It is no engine: it says "one two".
"""

import json
import os
import signal
import stat
import subprocess
import sys
import tempfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

METRICS = {
    'num_requests_running{engine="0"}': "1.0",
    'num_requests_waiting{engine="0"}': "2.0",
    'kv_cache_usage_perc{engine="0"}': "0.25",
    'prefix_cache_queries_total{engine="0"}': "100.0",
    'prefix_cache_hits_total{engine="0"}': "75.0",
    'inter_token_latency_seconds_sum{engine="0"}': "3.0",
    'inter_token_latency_seconds_count{engine="0"}': "300.0",
}


def stand_in(folder: Path, how: str = "well") -> Path:
    """Write a program to be named as a `python`; it behaves `well`, `dies` at once, or is never `healthy`."""
    program = folder / "python"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -I {Path(__file__)} {how} "$@"\n', encoding="utf-8")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return program


def model_folder(folder: Path) -> Path:
    """Make what looks like a folder of a model."""
    (folder / "m").mkdir()
    (folder / "m" / "config.json").write_text("{}", encoding="utf-8")
    return folder / "m"


class _Handler(BaseHTTPRequestHandler):
    how = "well"

    def do_GET(self) -> None:
        if self.path == "/health":
            return self._say(200 if self.how != "unhealthy" else 503, "text/plain", "")
        if self.path == "/metrics":
            lines = [f"vllm:{name} {value}" for name, value in METRICS.items()]
            return self._say(200, "text/plain", "\n".join(["# HELP of no use", "python_info 1", *lines]))
        if not self._is_let_in():
            return self._say(401, "application/json", "{}")
        model = sys.argv[sys.argv.index("--served-model-name") + 1]
        self._say(200, "application/json", json.dumps({"data": [{"id": model, "max_model_len": 64}]}))

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        if not self._is_let_in():
            return self._say(401, "application/json", "{}")
        chunks = [{"choices": [{"index": 0, "delta": {"content": "one two"}}]}]
        chunks += [{"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}]
        body = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks) + "data: [DONE]\n\n"
        self._say(200, "text/event-stream", body)

    def log_message(self, format: str, *args: object) -> None:
        return None

    def _is_let_in(self) -> bool:
        return self.headers["authorization"] == f"Bearer {os.environ['VLLM_API_KEY']}"

    def _say(self, status: int, kind: str, body: str) -> None:
        data = body.encode()
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def main() -> None:
    """Serve as the command line says."""
    how = sys.argv[1]
    if how == "dies":
        sys.exit("no model of this kind")
    signal.signal(signal.SIGTERM, lambda number, frame: os._exit(0))
    child = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"], start_new_session=True)
    print(f"child {child.pid}", flush=True)
    Path(tempfile.gettempdir(), "left behind").touch()
    _Handler.how = how
    port = int(sys.argv[sys.argv.index("--port") + 1])
    ThreadingHTTPServer(("127.0.0.1", port), _Handler).serve_forever()


if __name__ == "__main__":
    main()
