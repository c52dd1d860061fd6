"""The include checker itself: good samples pass, each kind of bad sample is named."""
import pathlib
import tempfile
import unittest

from check_includes import stray_sources, violations


def tree(files):
    folder = tempfile.TemporaryDirectory()
    for name, text in files.items():
        path = pathlib.Path(folder.name) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder


class CheckIncludes(unittest.TestCase):
    def found(self, files):
        with tree(files) as root:
            return violations(root)

    def test_downward_and_own_includes_pass(self):
        self.assertEqual(self.found({
            "src/base/error.hpp": "#include <string>\n",
            "kernels/rope.hpp": '#include "base/error.hpp"\n',
            "src/model/block.hpp": '#include "kernels/rope.hpp"\n',
            "src/model/block.cpp": '#include "model/block.hpp"\n'}), [])

    def test_upward_include_is_named_with_its_line(self):
        found = self.found({
            "src/model/block.hpp": "",
            "kernels/rope.cpp": '#include <vector>\n#include "model/block.hpp"\n'})
        self.assertEqual(len(found), 1)
        self.assertTrue(found[0].startswith("kernels/rope.cpp:2:"), found)

    def test_same_floor_include_is_refused(self):
        self.assertEqual(len(self.found({
            "src/data/packs.hpp": "", "src/model/block.cpp": '#include "data/packs.hpp"\n'})), 1)

    def test_spelling_without_room_is_refused(self):
        self.assertEqual(len(self.found({
            "src/base/error.hpp": "", "src/base/log.cpp": '#include "error.hpp"\n'})), 1)

    def test_missing_file_is_refused(self):
        self.assertEqual(len(self.found({"src/base/log.cpp": '#include "base/nowhere.hpp"\n'})), 1)

    def test_source_outside_every_room_is_found(self):
        with tree({"src/attic/old.cpp": "", "src/main.cpp": ""}) as root:
            self.assertEqual(stray_sources(root), ["src/attic/old.cpp"])


if __name__ == "__main__":
    unittest.main()
