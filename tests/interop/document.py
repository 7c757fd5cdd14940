"""docs/phones.md: what the run has seen, without anything that differs from run to run."""

from pathlib import Path

import matrix
from reasons import REASONS, WHY

PATH = Path(__file__).resolve().parents[2] / "docs" / "phones.md"
# Which row of a tool stands for which scenario of the phones.
TOOLS = {
    ("sipp", "registers"): "40 users register",
    ("sipp", "calls, hangs up"): "100 calls at 25/s",
    ("sipp", "is called, the other hangs up"): "100 calls at 25/s",
    ("sipsak", "registers"): "registers",
    ("sipsak", "sends a MESSAGE"): "sends a MESSAGE",
}
HEAD = """\
# Phones and tools that have been tried

Written by `tests/interop/run`, which plays every cell and fails when this page would change.
All of them are Debian 12's packages or stand on PyPI; tests/interop/README.md says how they are
driven.

Each phone is Alice's. Bob's is PJSUA2 over UDP. In the rows "one of three" the other two phones
of Alice are of the other two makes, over the same transport.

"""


def text(verdicts):
    """The whole page."""
    return HEAD + phones(verdicts) + rest(verdicts)


def phones(verdicts):
    """Scenario by client and transport, and the reasons beneath."""
    columns = matrix.columns()
    columns += [(tool, transport) for tool in ("sipp", "sipsak") for transport in ("udp", "tcp")]
    lines = [cells("scenario", *(f"{client} {transport}" for client, transport in columns))]
    lines.append("|---" * (len(columns) + 1) + "|")
    for scenario in matrix.SCENARIOS:
        found = (verdict(verdicts, client, transport, scenario) for client, transport in columns)
        lines.append(cells(scenario, *found))
    for mark, words in WHY.items():
        lines += ["", f"[{mark}] {words}"]
    return "\n".join(lines) + "\n\n"


def verdict(verdicts, client, transport, scenario):
    """One cell: what was seen, or the mark of the reason why it is not played."""
    for key in ((client, scenario), (client, None)):
        if key in REASONS and (client, scenario) not in TOOLS:
            return f"[{REASONS[key]}]"
    return verdicts.get((client, transport, TOOLS.get((client, scenario), scenario)), "not run")


def rest(verdicts):
    """Every other row: a line for each scenario, with what it was played over."""
    columns, grouped = set(matrix.columns()), {}
    for (client, transport, scenario), found in sorted(verdicts.items()):
        if (client, transport) not in columns:
            grouped.setdefault((client, scenario, found), []).append(transport)
    lines = ["## Everything else that is played", ""]
    lines += [cells("client", "scenario", "over", "result"), "|---" * 4 + "|"]
    for (client, scenario, found), transports in grouped.items():
        lines.append(cells(client, scenario, ", ".join(transports), found))
    return "\n".join(lines) + "\n"


def cells(*words):
    """One line of a table."""
    return f"| {' | '.join(words)} |"


def written(verdicts):
    """Writes the page; true when it was already what it is now."""
    new = text(verdicts)
    same = PATH.exists() and PATH.read_text() == new
    PATH.write_text(new)
    return same
