#!/usr/bin/env python3
"""report.html as people see it: opened in headless Chromium, its charts drawn, no error, nothing asked of a network, on phones too."""
import json
import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
import browser  # noqa: E402
import made_run  # noqa: E402
import runs  # noqa: E402
from training_case import TrainingCase  # noqa: E402

SCREENSHOTS = runs.BINARY.parent.parent / "screenshots"
WIDTHS = (360, 1400)

# What is wider than the window, except what scrolls by itself.
OVERFLOW = """[...document.querySelectorAll("body *")].filter(one => !one.closest(".scroll, nav, pre, .tip, .skip") && one.getBoundingClientRect().right > document.documentElement.clientWidth + 0.5)
  .map(one => one.tagName + "." + one.className + " " + one.textContent.slice(0, 40)).slice(0, 5)"""


def marks(page):
    """How many marks each drawn part of the page has, by its name."""
    return page.evaluate("Object.fromEntries([...document.querySelectorAll('[data-drawn=true]')].map(one => [one.id || 'nameless', Number(one.dataset.marks)]))")


class Pages(TrainingCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.browser = browser.Browser()
        cls.page = cls.browser.__enter__()

    @classmethod
    def tearDownClass(cls):
        cls.browser.__exit__()
        super().tearDownClass()

    def look(self, file, name, width=1400, dark=False):
        """Opens a page and holds it against what all pages must be."""
        page = self.page
        page.open(pathlib.Path(file), width=width, dark=dark)
        page.wait_for("document.documentElement.dataset.ready === 'true'")
        self.assertEqual(page.errors(), [])
        self.assertEqual(page.evaluate("document.documentElement.dataset.errors"), "0")
        self.assertEqual(page.requests(), [])
        self.assertLessEqual(page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"), 0, f"{name} at {width}")
        self.assertEqual(page.evaluate(OVERFLOW), [], f"{name} at {width}")
        self.assertEqual(page.evaluate("[...document.querySelectorAll('figure')].filter(one => one.dataset.drawn !== 'true' || !(one.dataset.marks > 0)).map(one => one.id)"), [])
        self.assertEqual(page.evaluate("[...document.querySelectorAll('.card')].filter(one => !one.textContent.trim()).length"), 0, "no empty box")
        self.assertEqual(page.evaluate("[...document.querySelectorAll('.plot')].filter(one => (one.getAttribute('aria-label') ?? '').length < 10).length"), 0, "every chart has words")
        page.screenshot(SCREENSHOTS / f"{name}-{width}{'-dark' if dark else ''}.png")
        return page

    def text(self):
        return self.page.evaluate("document.body.innerText")

    def test_a_trained_run(self):
        data = str(self.folder / "text.h5")
        config = self.config(data={"eval": data}, eval={"every_steps": 10})
        runs.succeed("train", config, ranks=2)
        self.assertIn('"state":"finished"', (self.run_dir / "report.html").read_text(), "in the page that the run wrote when it ended")
        shown = runs.succeed("report", self.run_dir).stdout
        report = json.loads((self.run_dir / "report.json").read_text())
        for expected in ("finished", report["verdict"]["text"], "forward", "backward", "slowest rank", "report.html"):
            self.assertIn(expected, shown)
        logged = runs.metrics(self.run_dir)
        for width in WIDTHS:
            self.look(self.run_dir / "report.html", "trained", width)
            drawn = marks(self.page)
            # The curves: a mark a logged step, and the events on them.
            self.assertGreaterEqual(drawn["chart-loss"], len(logged) + len(runs.lines(self.run_dir / "eval.jsonl")))
            self.assertLessEqual(drawn["chart-loss"], len(logged) + 20)
            self.assertGreaterEqual(drawn["chart-step"], len(logged))
            used = [name for name in logged[0]["phases"] if any(record["phases"][name]["mean"] > 0 for record in logged)]
            self.assertGreaterEqual(drawn["chart-phases"], len(used) * len(logged))
            self.assertEqual(drawn["table-ranks"], 2)
            self.assertEqual(drawn["table-phases"], len(logged[0]["phases"]))
            self.assertGreaterEqual(drawn["chart-memory"], 2 * len(logged))
            self.assertEqual(drawn["chart-resident"], len(logged))
        self.assertIn("All steps are done.", self.text())
        self.assertIn("finished", self.page.evaluate("document.getElementById('state').textContent"))
        self.assertIn(report["verdict"]["text"], self.text())
        if "history" in report:
            self.assertEqual(drawn["chart-heat"], 2 * len(report["history"]["steps"]))
        if report.get("units"):
            self.assertEqual(drawn["table-units"], len(report["units"]))
        self.assertEqual(drawn["table-sections"], len(report["sections"]))
        self.assertTrue({"load_batch", "evaluation", "save", "build_model"} <= {one["name"] for one in report["sections"]}, report["sections"])

    def test_everything_that_a_run_folder_can_hold(self):
        run = made_run.make(self.folder)
        runs.succeed("report", run)
        for width in WIDTHS:
            page = self.look(run / "report.html", "everything", width)
        drawn = marks(page)
        self.assertEqual(drawn["chart-heat"], 16 * 128)
        self.assertEqual(drawn["chart-slowest"], 128)
        self.assertEqual(drawn["chart-goodput"], 8)
        self.assertEqual(drawn["chart-comm"], 2)
        self.assertEqual(drawn["chart-kinds"], 7)
        self.assertEqual(drawn["table-operators"], 40)
        self.assertEqual(page.evaluate("document.querySelectorAll('#chart-loss [data-event=saved]').length"), 10)
        self.assertEqual(page.evaluate("document.querySelectorAll('#chart-loss [data-event=straggler]').length"), 1)
        self.assertNotIn("not recorded", self.text())
        for expected in ("STRAGGLER: rank 10 on node01", "Look at node01", "gradient's norm", "goodput 80 %", "all reduce"):
            self.assertIn(expected, self.text())
        self.assertIn("</script><script>throw 1</script>", page.evaluate("document.querySelector('#config pre').textContent"))
        self.look(run / "report.html", "everything", dark=True)
        self.assertGreater(len(page.print_pdf()), 20000)
        self.assertEqual(page.errors(), [])

    def test_pointer_keys_and_switches(self):
        run = made_run.make(self.folder, name="touched")
        runs.succeed("report", run)
        page = self.look(run / "report.html", "touched")
        tip = "document.querySelector('#chart-heat .tip')"
        page.evaluate("document.querySelector('#chart-heat .plot').focus()")
        for key in ("ArrowRight", "ArrowRight", "ArrowDown"):
            page.call("Input.dispatchKeyEvent", type="keyDown", key=key)
        self.assertIn("rank 1 on node00", page.evaluate(tip + ".textContent"))
        self.assertFalse(page.evaluate(tip + ".hidden"))
        page.call("Input.dispatchKeyEvent", type="keyDown", key="Escape")
        self.assertTrue(page.evaluate(tip + ".hidden"))
        place = page.evaluate("(one => { one.scrollIntoView({behavior: 'instant', block: 'center'}); const r = one.getBoundingClientRect(); return [r.left + r.width / 2, r.top + r.height / 2]; })(document.querySelector('#chart-phases .plot'))")
        page.call("Input.dispatchMouseEvent", type="mouseMoved", x=place[0], y=place[1])
        self.assertRegex(page.evaluate("document.querySelector('#chart-phases .tip').textContent"), r"step \d+.*backward")
        # A logarithmic axis has other marks, another phase other colours, another order other first rows.
        for name, act in (("#chart-loss svg", "document.querySelector('#chart-loss button').click()"),
                          ("#table-operators tbody", "document.querySelectorAll('#table-operators th button')[0].click()")):
            before = page.evaluate(f"document.querySelector('{name}').outerHTML")
            page.evaluate(act)
            self.assertFalse(page.evaluate(f"document.querySelector('{name}').outerHTML") == before, name)
        picture = "document.querySelector('#chart-heat canvas').toDataURL()"
        before = page.evaluate(picture)
        page.evaluate("(one => { one.value = 'forward'; one.dispatchEvent(new Event('change')); })(document.querySelector('#chart-heat select'))")
        self.assertFalse(page.evaluate(picture) == before, "another phase has other colours")
        page.evaluate("document.querySelector('#chart-loss details').open = true")
        page.wait_for("document.querySelectorAll('#chart-loss details td').length > 100")
        self.assertEqual(page.errors(), [])

    def test_hundreds_of_ranks_and_a_hundred_thousand_steps(self):
        run = made_run.make(self.folder, ranks=512, logged=4000, name="large")
        with open(run / "metrics.jsonl", encoding="utf-8") as file:
            short = [json.loads(line) for line in file]
        with open(run / "metrics.jsonl", "w", encoding="utf-8") as file:
            for step in range(1, 100_001):
                record = {**short[step % len(short)], "step": step}
                if step != 54_321:
                    del record["memory_kinds"]
                record["loss"] = 77.5 if step == 54_321 else min(record["loss"], 9)
                file.write(json.dumps(record, separators=(",", ":")) + "\n")
        runs.succeed("report", run)
        self.assertLess((run / "report.html").stat().st_size, 3 * 2**20)
        page = self.look(run / "report.html", "large")
        drawn = marks(page)
        self.assertLess(drawn["chart-loss"], 2100)
        self.assertGreater(drawn["chart-loss"], 500)
        self.assertEqual(page.evaluate("Math.max(...JSON.parse(document.getElementById('records').textContent).metrics.columns.loss)"), 77.5)
        self.assertEqual(page.evaluate("JSON.parse(document.getElementById('records').textContent).metrics.lines"), 100_000)
        self.assertEqual(drawn["table-ranks"], 512)
        self.assertEqual(drawn["chart-heat"] % 512, 0)
        self.assertIn("rank 341 on node42", page.evaluate("document.querySelector('#chart-slowest').textContent"))
        self.look(run / "report.html", "large", 360)

    def test_almost_nothing(self):
        run = made_run.make_tiny(self.folder)
        shown = runs.succeed("report", run).stdout
        self.assertIn("lost", shown)
        for width in WIDTHS:
            self.look(run / "report.html", "nothing", width)
        self.assertGreater(self.text().count("not recorded"), 10)
        self.assertIn("killed", self.text())

    def test_a_killed_run_without_its_report(self):
        run = made_run.make(self.folder, name="killed", logged=100)
        for name in ("report.json", "exit.json", "operators.json"):
            (run / name).unlink()
        with open(run / "metrics.jsonl", "a", encoding="utf-8") as file:
            file.write('{"schema":1,"step":101,"lo')
        shown = json.loads(runs.succeed("report", run, "--json").stdout)
        self.assertTrue(shown["estimated"])
        self.assertEqual(shown["metrics"]["lines"], 100)
        self.assertEqual(shown["unread"], [])
        page = self.look(run / "report.html", "killed")
        self.assertGreaterEqual(marks(page)["chart-loss"], 100)
        self.assertIn("estimated", self.text())

    def test_arguments(self):
        run = made_run.make(self.folder, name="argued", logged=50)
        runs.succeed("report", run, "--html", self.folder / "elsewhere.html")
        self.assertTrue((self.folder / "elsewhere.html").exists())
        self.assertFalse((run / "report.html").exists())
        missing = runs.trireme("report", self.folder / "absent")
        self.assertEqual(missing.returncode, 20)
        self.assertIn("hint:", missing.stderr)
        self.assertEqual(runs.trireme("report", self.folder / "absent", "--compare", run).returncode, 20)
        self.assertEqual(runs.trireme("report", run, "--hta", self.folder / "hta").returncode, 20)
        self.assertEqual(runs.trireme("report", run, "--tolerance", "0.1").returncode, 2)
        self.assertEqual(runs.trireme("report", run, "--compare", run).returncode, 0)

        slower = made_run.make(self.folder, name="slower", logged=50)
        report = json.loads((slower / "report.json").read_text())
        report["step_seconds"] = {key: value * 2 if isinstance(value, float) else value for key, value in report["step_seconds"].items()}
        (slower / "report.json").write_text(json.dumps(report))
        records = runs.metrics(slower)
        with open(slower / "metrics.jsonl", "w", encoding="utf-8") as file:
            for record in records:
                record["step_seconds"] *= 2
                for name in ("tokens_per_second", "samples_per_second"):
                    record[name] /= 2
                file.write(json.dumps(record) + "\n")
        compared = runs.trireme("report", slower, "--compare", run, "--json")
        self.assertEqual(compared.returncode, 1, compared.stderr)
        self.assertTrue(json.loads(compared.stdout)["regressed"])
        self.assertEqual(runs.trireme("report", slower, "--compare", run, "--tolerance", "9").returncode, 0)
        self.assertIn("1 if something regressed", runs.succeed("report", "--help").stdout)


if __name__ == "__main__":
    unittest.main(verbosity=2)
