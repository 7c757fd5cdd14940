"""Why a client does not play a scenario. What stands here is not run; all the rest must pass."""

WHY = {
    "a": "SIPp is a script, not a phone: it plays the files in tests/interop/sipp under load. What"
    " else it could play would be our own words; the black-box tests' phone says those.",
    "b": "sipsak sends one request and waits for its answer: it has no dialog and takes no call.",
}

# By client and scenario; None for every scenario that the client has no row for.
REASONS = {
    ("sipp", None): "a",
    ("sipsak", None): "b",
}
