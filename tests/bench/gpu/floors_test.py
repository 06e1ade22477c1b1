"""What the published anchors of the formulas say: GPT-2 on an H200 that multiplies at 790 TFLOP/s and moves 4.3 TB/s."""

import unittest

import floors

H200 = floors.Speeds.hardware(790e12, 4.3e12)
SMALL = floors.Gpt(layers=12, width=768, vocabulary=50257, length=1024, batch=64)
XL = floors.Gpt(layers=48, width=1600, vocabulary=50257, length=1024, batch=16)


class Floors(unittest.TestCase):
    def test_parameters(self):
        self.assertEqual(SMALL.parameters, 124439808)
        self.assertEqual(XL.parameters, 1557611200)

    def test_parts_of_the_small_model(self):
        expected = {  # TFLOP, GB, ms
            "QKV": (8.35, 14.6, 10.6),
            "attention projection": (2.79, 7.3, 3.5),
            "fc": (11.1, 18.3, 14.1),
            "fc projection": (11.1, 18.3, 14.1),
            "LM head": (15.2, 20.3, 19.2),
            "attention": (4.33, 16.9, 5.5),
            "residual and layer norm": (0, 20.2, 4.7),
            "gelu": (0, 9.6, 2.2),
            "cross-entropy": (0, 13.2, 3.1),
            "embedding, AdamW, norm, clear": (0, 4.6, 1.1),
        }
        for part in floors.parts(SMALL):
            flops, moved, milliseconds = expected.pop(part.name)
            self.assertAlmostEqual(part.flops / 1e12, flops, delta=0.005 * flops + 0.04, msg=part.name)
            self.assertAlmostEqual(part.bytes / 1e9, moved, delta=0.01 * moved, msg=part.name)
            self.assertAlmostEqual(1e3 * floors.seconds(SMALL, part, H200), milliseconds, delta=0.06, msg=part.name)
        self.assertFalse(expected)
        self.assertAlmostEqual(floors.model_flops(SMALL) / 1e12, 52.9, delta=0.1)

    def test_floors(self):
        self.assertAlmostEqual(1e3 * floors.floor(SMALL, H200), 78.0, delta=0.3)
        self.assertAlmostEqual(1e3 * floors.floor(XL, H200), 231, delta=4)
        library = floors.Speeds(650e12, 3.8e12, 290e12, 240e12)
        self.assertAlmostEqual(1e3 * floors.floor(SMALL, library), 104.4, delta=0.5)

    def test_memory_bounds_what_computes_little(self):
        slow = floors.Speeds.hardware(790e12, 1e9)
        moved = sum(part.bytes for part in floors.parts(SMALL))
        self.assertAlmostEqual(floors.floor(SMALL, slow), moved / 1e9, delta=1e-6)

    def test_ceilings_that_moved(self):
        first = {"gemm": 700.0, "copy": 4000.0}
        self.assertEqual(floors.agree(first, {"gemm": 690.0, "copy": 4100.0}), [])
        self.assertEqual(floors.agree(first, {"gemm": 660.0, "copy": 4000.0}), ["gemm"])
        self.assertEqual(floors.agree(first, {"gemm": 740.0, "copy": 3800.0}), ["gemm", "copy"])


if __name__ == "__main__":
    unittest.main()
