"""What phones do with each other. The names stand in docs/phones.md."""

import time
from pathlib import Path

from deadline import Failure, remaining

TALK_SECS = 1
RINGING_SECS = 0.5
# How long the server lets a phone ring in the rows of `matrix.py`.
ANSWER_SECS = 4


def connect(caller, callee):
    """One phone calls the other, who rings and answers."""
    callee.when_called("answer")
    caller.call(callee.uri)
    callee.expect("incoming")
    for phone in (caller, callee):
        phone.expect("call", state="CONFIRMED")


def end(phone, other):
    """One side hangs up, and both know it."""
    phone.hangup()
    for side in (phone, other):
        side.ended(200)


def heard(*phones):
    """Each PJSUA2 phone has sent and received media."""
    time.sleep(remaining(TALK_SECS))
    for phone in phones:
        phone.say("stats")
        stats = phone.expect("stats")
        if not (stats["sent"] and stats["received"]):
            raise Failure(f"{phone.user}: no media: {stats['sent']} out, {stats['received']} in")


def talk(caller, callee, ending, watched):
    """A call with media that `ending` ends; `watched` are those that count packets."""
    connect(caller, callee)
    if watched:
        heard(*watched)
    end(ending, callee if ending is caller else caller)


def hold_and_resume(holder, held):
    """Requests inside the dialog; each command returns when the holder's phone has done it."""
    for command, theirs in ((holder.hold, "held"), (holder.resume, "active")):
        command()
        held.expect("media", status=theirs)


def give_up(caller, callee):
    """The caller hangs up before the other answers: CANCEL."""
    callee.when_called("ring")
    caller.call(callee.uri)
    callee.expect("incoming")
    caller.expect("call", state="EARLY")
    caller.hangup()
    for phone in (caller, callee):
        phone.ended(487)


def declined(caller, callee):
    """The called phone rejects: busy, or the decline that some phones send instead."""
    callee.when_called("decline")
    caller.call(callee.uri)
    caller.ended(486, 603)
    callee.expect("call", state="DISCONNECTED")


def busy(caller, callee, third):
    """A third phone calls one that is talking, and hears that it is busy."""
    connect(caller, callee)
    third.call(callee.uri)
    third.ended(486)
    end(caller, callee)


def no_answer(caller, callee):
    """The server ends what rings too long."""
    callee.when_called("ring")
    caller.call(callee.uri)
    callee.expect("incoming")
    caller.ended(408, 480, secs=ANSWER_SECS + 4)
    callee.ended(487)


def one_answers(caller, answering, ringing):
    """Several phones of one user ring, one answers, and the others stop ringing."""
    for phone in ringing:
        phone.when_called("ring")
    answering.when_called("ring")
    caller.call(answering.uri)
    for phone in (answering, *ringing):
        phone.expect("incoming")
    time.sleep(remaining(RINGING_SECS))
    answering.answer()
    for phone in (caller, answering):
        phone.expect("call", state="CONFIRMED")
    for phone in ringing:
        # 200 is PJSUA2's word for a call that another phone took (RFC 3326).
        phone.ended(487, 200)
    end(caller, answering)


def message(sender, receiver, text):
    """A MESSAGE arrives with its words."""
    sender.message(receiver.uri, text)
    receiver.received(text)


def pair_hold(alice, bob, _media):
    """Both sides send requests inside the dialog: Bob holds and resumes, Alice ends."""
    connect(alice, bob)
    hold_and_resume(bob, alice)
    end(alice, bob)


PAIR = [
    ("caller hangs up", lambda a, b, media: talk(a, b, a, (a, b) if media else ())),
    ("callee hangs up", lambda a, b, media: talk(a, b, b, (a, b) if media else ())),
    ("call the other way", lambda a, b, _: talk(b, a, a, ())),
    ("hold and resume", pair_hold),
    ("cancel while ringing", lambda a, b, _: give_up(a, b)),
    ("callee is busy", lambda a, b, _: declined(a, b)),
]


def new_line_folder(folder, user):
    """A place for one phone's files."""
    number = sum(1 for _ in Path(folder).glob(f"{user}-*"))
    path = Path(folder) / f"{user}-{number}"
    path.mkdir()
    return path
