"""Kafka's own command line tools, run as people run them."""
import subprocess

from broker import LIBS


def tool(main_class, *args):
    """The finished process of a tool: its code, its output, its complaints."""
    return subprocess.run(["java", "-cp", f"{LIBS.parent}/tools-libs/*:{LIBS}/*:{LIBS.parent}/classes", main_class, *map(str, args)],
                          capture_output=True, text=True, timeout=120)


def said(main_class, *args):
    """What a tool says that succeeds."""
    done = tool(main_class, *args)
    assert done.returncode == 0, f"{main_class} {args}: {(done.stdout + done.stderr)[-800:]}"
    return done.stdout
