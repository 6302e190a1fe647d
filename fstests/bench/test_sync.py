"""What the groups for two machines compute. Run: python3 -m unittest discover -s fstests/bench"""

import os
import subprocess
import sys
import unittest

import machines
import standing
import syncing
import table
import wan


class Figures(unittest.TestCase):
    def test_every_group_says_what_it_is(self):
        for group in {**syncing.GROUPS, **standing.GROUPS, **wan.GROUPS}.values():
            self.assertTrue(set(getattr(group, "systems", ["lovage"])) <= {"lovage", "syncthing", "rsync"})

    def test_percentiles_are_samples(self):
        self.assertEqual(syncing.percentile([3, 1, 2], 0.5), 2)
        self.assertEqual(syncing.percentile(range(100), 0.95), 95)
        self.assertEqual(syncing.percentile([7], 0.95), 7)

    def test_a_rate_must_reach_its_share_of_iperf3(self):
        out = table.Results()
        out.add("lovage", {"WAN: pin / iperf3": 0.94})
        self.assertEqual(out.verdict("WAN: pin / iperf3")[2], "fail")


class Processes(unittest.TestCase):
    def test_the_time_of_children_that_ended_counts(self):
        child = subprocess.Popen([sys.executable, "-c", "import subprocess, sys\n"
                                  "subprocess.run([sys.executable, '-c', 'sum(range(10**7))'])\nprint('done', flush=True)\ninput()"],
                                 stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        try:
            self.assertEqual(child.stdout.readline().strip(), "done")
            self.assertGreater(machines.cpu_of(child.pid), 0.05)
            self.assertGreater(machines.memory_of(child.pid, "VmHWM"), 1)
            self.assertEqual(list(machines.family(child.pid)), [child.pid])
        finally:
            child.stdin.close()
            child.wait()
            child.stdout.close()

    def test_waiting_ends(self):
        with self.assertRaises(RuntimeError):
            machines.until("never", lambda: False, limit=0.05)
        self.assertLess(machines.until("at once", lambda: os.getpid() > 0), 1)


if __name__ == "__main__":
    unittest.main()
