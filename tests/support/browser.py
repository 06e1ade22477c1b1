"""Headless Chromium over its DevTools protocol on a pipe: opens pages, reads what they show, tells their errors and what they ask for."""
import base64
import json
import os
import pathlib
import select
import shutil
import subprocess
import tempfile
import time

FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe", "--no-first-run", "--disable-extensions", "--disable-sync",
         "--disable-background-networking", "--disable-component-update", "--disable-default-apps", "--disable-dev-shm-usage", "--mute-audio")


def program():
    return next((path for path in map(shutil.which, ("chromium", "chromium-browser", "google-chrome")) if path), None)


class Browser:
    """One browser with one page; commands of the protocol by call()."""

    def __init__(self, timeout=60):
        self.timeout = timeout

    def __enter__(self):
        self.profile = tempfile.mkdtemp(prefix="trireme-browser-")
        reads, self.to_browser = os.pipe()
        self.from_browser, writes = os.pipe()
        # The protocol's ends are descriptors 3 and 4 of the browser.
        command = f'exec "$@" 3<&{reads} 4>&{writes}'
        self.process = subprocess.Popen(["bash", "-c", command, "browser", program(), *FLAGS, f"--user-data-dir={self.profile}", "about:blank"],
                                        pass_fds=(reads, writes), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                        env=dict(os.environ, HOME=self.profile))
        os.close(reads)
        os.close(writes)
        self.buffer, self.number, self.session, self.events = b"", 0, None, []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(domain + ".enable")
        return self

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        os.close(self.to_browser)
        os.close(self.from_browser)
        shutil.rmtree(self.profile, ignore_errors=True)

    def _receive(self, deadline):
        while b"\0" not in self.buffer:
            ready, _, _ = select.select([self.from_browser], [], [], max(0, deadline - time.monotonic()))
            data = os.read(self.from_browser, 1 << 20) if ready else b""
            if not data:
                raise AssertionError("the browser does not answer" if not ready else "the browser has gone")
            self.buffer += data
        message, self.buffer = self.buffer.split(b"\0", 1)
        message = json.loads(message)
        if "method" in message:
            self.events.append(message)
        return message

    def call(self, method, **parameters):
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self.to_browser, data):]
        deadline = time.monotonic() + self.timeout
        while True:
            answer = self._receive(deadline)
            if answer.get("id") == self.number:
                if "error" in answer:
                    raise AssertionError(f"{method}: {answer['error']}")
                return answer["result"]

    def evaluate(self, expression):
        """The value of a JavaScript expression in the page, or of what it promises."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise AssertionError(f"{expression[:200]}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def wait_for(self, expression):
        deadline = time.monotonic() + self.timeout
        while not (value := self.evaluate(expression)):
            if time.monotonic() > deadline:
                raise AssertionError(f"still not so: {expression[:200]}")
            time.sleep(0.05)
        return value

    def open(self, address, width=1400, height=900, dark=False):
        """Shows a page, in a window of this width; forgets what went before."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600)
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}])
        self.events.clear()
        if isinstance(address, pathlib.Path):
            address = address.resolve().as_uri()
        self.address = address
        self.call("Page.navigate", url=address)
        self.wait_for("document.readyState === 'complete' && location.href !== 'about:blank'")

    def errors(self):
        """What went to the console as an error, and exceptions nobody caught."""
        found = []
        for event in self.events:
            details = event["params"]
            if event["method"] == "Runtime.exceptionThrown":
                found.append(details["exceptionDetails"].get("exception", {}).get("description", details["exceptionDetails"]["text"]))
            elif event["method"] == "Runtime.consoleAPICalled" and details["type"] in ("error", "assert"):
                found.append(" ".join(str(one.get("value", one.get("description"))) for one in details["args"]))
            elif event["method"] == "Log.entryAdded" and details["entry"]["level"] == "error":
                found.append(details["entry"]["text"])
        return found

    def requests(self):
        """Addresses that the page asked for besides itself; what is part of the page (data:) is none."""
        asked = [event["params"]["request"]["url"] for event in self.events if event["method"] == "Network.requestWillBeSent"]
        return [address for address in asked if address.split("#")[0] != self.address.split("#")[0] and not address.startswith("data:")]

    def screenshot(self, path, whole=True):
        pathlib.Path(path).parent.mkdir(parents=True, exist_ok=True)
        answer = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        pathlib.Path(path).write_bytes(base64.b64decode(answer["data"]))

    def print_pdf(self):
        return base64.b64decode(self.call("Page.printToPDF", printBackground=True)["data"])
