"""Fails unless every test of a CTest JUnit file ran and passed. usage: no_skips.py FILE"""
import sys
import xml.etree.ElementTree as ElementTree


def main():
    cases = list(ElementTree.parse(sys.argv[1]).getroot().iter("testcase"))
    not_run = [case.get("name") for case in cases if case.get("status") != "run"]
    for name in not_run:
        print(f"did not run or did not pass: {name}")
    print(f"{len(cases) - len(not_run)} of {len(cases)} tests ran and passed")
    return 1 if not_run or not cases else 0


if __name__ == "__main__":
    sys.exit(main())
