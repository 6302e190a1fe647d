"""The table must be able to say fail. Run: python3 -m unittest discover -s fstests/bench"""

import os
import tempfile
import unittest

import corpus
import figures
import table


def results(**samples):
    out = table.Results()
    for system, values in samples.items():
        for value in values:
            out.add(system, {"seq read warm": value})
    return out


class Verdicts(unittest.TestCase):
    def test_every_target_must_hold(self):
        self.assertEqual(results(lovage=[700], gocryptfs=[100], ext4=[1000]).verdict("seq read warm")[2], "pass")
        self.assertEqual(results(lovage=[500], gocryptfs=[100], ext4=[1000]).verdict("seq read warm")[2], "fail")
        self.assertEqual(results(lovage=[700], gocryptfs=[100], ext4=[9000]).verdict("seq read warm")[2], "fail")

    def test_what_was_not_measured_is_not_a_pass(self):
        self.assertEqual(results(gocryptfs=[100], ext4=[1]).verdict("seq read warm")[2], "not measured")
        self.assertEqual(results(lovage=[700], gocryptfs=[100]).verdict("seq read warm")[2], "not measured")

    def test_a_miss_stays_a_miss_beside_an_absent_peer(self):
        self.assertEqual(results(lovage=[1], gocryptfs=[100]).verdict("seq read warm")[2], "fail")

    def test_the_median_decides_and_the_spread_shows(self):
        found = results(lovage=[1, 700, 900], gocryptfs=[100], ext4=[1000])
        self.assertEqual(found.median("seq read warm", "lovage"), 700)
        self.assertEqual(found.verdict("seq read warm")[2], "pass")
        self.assertAlmostEqual(found.spread("seq read warm", "lovage"), 100 * 899 / 700)

    def test_bare_bounds_need_no_peer(self):
        out = table.Results()
        out.add("lovage", {"cp inside": 0.06})
        self.assertEqual(out.verdict("cp inside")[2], "fail")

    def test_every_row_has_as_many_cells_as_the_head(self):
        text = table.lines(results(lovage=[700], gocryptfs=[100], ext4=[1000]), ["lovage", "gocryptfs", "ext4"])
        self.assertEqual(len({line.count("|") for line in text}), 1)


class Reserving:
    """A system that reserves room while it runs and gives it back when it stops."""

    def __init__(self, folder):
        self.dir = self.store = folder
        self.start()

    def start(self):
        with open(os.path.join(self.store, "reserved"), "wb") as out:
            out.write(b"r" * (4 << 20))

    def stop(self):
        os.remove(os.path.join(self.store, "reserved"))


class Growth(unittest.TestCase):
    def test_room_reserved_ahead_is_not_counted_on_either_side(self):
        with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
            system = Reserving(folder)
            pieces = figures.unique_pieces(2 << 20, 1)
            grown = figures.growth(system, lambda: figures.prepared_write(os.path.join(folder, "new"), pieces))
            self.assertAlmostEqual(grown / (2 << 20), 1.0, delta=0.02)

    def test_a_value_that_cannot_be_is_an_error_and_not_a_pass(self):
        with self.assertRaises(RuntimeError):
            figures.plausible(0.784, "same data twice")
        self.assertEqual(figures.plausible(1.01, "same data twice"), 1.01)


class Content(unittest.TestCase):
    def test_generated_text_repeats_and_has_its_size(self):
        self.assertEqual(corpus.text(1, 5000), corpus.text(1, 5000))
        self.assertEqual(len(corpus.text(2, 1234)), 1234)

    def test_sizes_count_what_is_read_and_what_is_stored(self):
        with tempfile.TemporaryDirectory() as folder:
            with open(os.path.join(folder, "sparse"), "wb") as out:
                out.truncate(1 << 20)
            self.assertEqual(corpus.apparent(folder), 1 << 20)
            self.assertLess(corpus.stored(folder), 1 << 20)


if __name__ == "__main__":
    unittest.main()
