"""The tiny frame of the Python suites: named tests, one line each."""
import os
import subprocess
import sys
import time
import traceback
import uuid

BOOTSTRAP = os.environ.get("BOOTSTRAP", "localhost:9092")
TESTS = []


def test(function):
    TESTS.append(function)
    return function


def ctl(action):
    subprocess.run(os.environ["BROKER_CTL"].split() + [action], check=True)


def name(prefix="t"):
    return f"{prefix}-{uuid.uuid4().hex[:10]}"


def eventually(check, seconds=30, what="the condition"):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = check()
        if value:
            return value
        time.sleep(0.05)
    raise AssertionError(f"{what} did not come true within {seconds} s")


def equal(got, want, what=""):
    if got != want:
        raise AssertionError(f"{what} is {got!r}, not {want!r}")


def main():
    only = sys.argv[1:]
    failed = 0
    for function in TESTS:
        if only and function.__name__ not in only:
            continue
        try:
            function()
            print("ok", function.__name__, flush=True)
        except Exception as error:
            failed += 1
            print("not ok", f"{function.__name__}: {error!r}", flush=True)
            for line in traceback.format_exc().splitlines()[-6:]:
                print("  ", line)
    sys.exit(1 if failed else 0)
