"""Carries out the commands of docs/first-hour.md and compares what they print."""

import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
# The namespaces are those of the phones' suite.
sys.path.append(str(HERE.parent / "interop"))

from office import Office

ROOT = HERE.parents[1]
PAGE = ROOT / "docs" / "first-hour.md"
BLOCK_SECS = 60
# The first build of a fresh machine compiles every dependency.
INSTALL_SECS = 1500
FENCE = re.compile(r"^```(\w+) ?(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Failed(Exception):
    """A task that did not go as the page says."""


def tasks():
    """Title and blocks of each task; a block is its language, its place and its text."""
    for section in PAGE.read_text().split("\n## ")[1:]:
        yield section.splitlines()[0], FENCE.findall(section)


def pattern(line):
    """A line of the page as an expression: `...` is anything, spaces are any spaces."""
    parts = [re.escape(part.strip()) for part in line.split("...")]
    return re.compile(r"\s*" + ".*".join(parts).replace(r"\ ", r"\s+"))


def compare(expected, printed):
    """Fails on the first expected line that no printed line matches."""
    for line in filter(None, expected.splitlines()):
        if not any(pattern(line).match(one) for one in printed.splitlines()):
            raise Failed(f"no line like {line!r} in:\n{printed}")


class Tour:
    """The folders and the environment of the commands."""

    def __init__(self, folder, network):
        self.network = network
        self.folder = folder
        bin_folder = folder / "installed" / "bin"
        self.environment = dict(
            os.environ,
            CARGO_INSTALL_ROOT=str(folder / "installed"),
            PATH=f"{bin_folder}:{HERE}:{os.environ['PATH']}",
        )
        # The page starts in the checkout; other places have folders of their own.
        self.at = {"": ROOT}
        self.left = []

    def start(self, place, text, log):
        """Starts one block at its place."""
        folder = self.at.setdefault(place, self.folder / place)
        folder.mkdir(exist_ok=True)
        where = self.folder / "where"
        script = f"trap 'pwd > {where}' EXIT\n{text}"
        prefix = self.network.prefix(place or "server")
        # Installing fetches crates, which the namespaces cannot.
        prefix = prefix if "cargo" not in text else ()
        with log.open("w") as output:
            process = subprocess.Popen(
                [*prefix, "bash", "-euo", "pipefail", "-c", script],
                cwd=folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.left.append(process.pid)
        return process

    def run(self, place, text):
        """One block of commands; what it printed."""
        log = self.folder / f"block-{len(self.left)}"
        process = self.start(place, text, log)
        try:
            code = process.wait(INSTALL_SECS if "cargo" in text else BLOCK_SECS)
        except subprocess.TimeoutExpired as error:
            raise Failed(f"still running:\n{text}\n{log.read_text()}") from error
        printed = log.read_text(errors="replace")
        if code:
            raise Failed(f"exit code {code}:\n{text}\n{printed}")
        if where := (self.folder / "where").read_text().strip():
            self.at[place] = Path(where)
        return printed

    def task(self, blocks):
        """The blocks of one task, each expectation against what was printed before it."""
        printed = ""
        for language, place, text in blocks:
            if language == "sh":
                if place == "" and self.at[""] == ROOT and "cargo" not in text:
                    self.at[""] = self.folder
                printed += self.run(place, text)
            else:
                compare(text, printed)
                self.remember(printed)
                printed = ""

    def remember(self, printed):
        """The passwords that were printed, as a reader would note them."""
        lines = printed.splitlines()
        for user in ("101", "102"):
            said = f"added {user}@sip.example.org; this password is shown once:"
            if said in lines:
                others = [line for line in lines if re.fullmatch(r"\w{16,}", line)]
                self.environment[f"PASSWORD_{user}"] = others[int(user) - 101]

    def stop(self):
        """Ends whatever the blocks left running."""
        for pid in self.left:
            try:
                os.killpg(pid, 15)
            except ProcessLookupError:
                pass


def main():
    """Every task in order; the first that fails ends the tour."""
    done = 0
    with tempfile.TemporaryDirectory() as folder, Office() as network:
        tour = Tour(Path(folder), network)
        try:
            for title, blocks in tasks():
                begun = time.monotonic()
                tour.task(blocks)
                done += 1
                print(f"{time.monotonic() - begun:7.1f} s  {title}", flush=True)
        except Failed as failure:
            server = [path for path in Path(folder).rglob("rempart.log")]
            log = server[0].read_text()[-3000:] if server else ""
            sys.exit(f"task {title}: {failure}\nthe server's log ends:\n{log}")
        finally:
            tour.stop()
    print(f"{done} of 10 tasks done")
    sys.exit(0 if done == 10 else 1)


if __name__ == "__main__":
    main()
