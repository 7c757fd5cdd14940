"""One PJSUA2 phone without a sound card, driven by lines on stdin, telling events as JSON lines.

Commands: `call URI`, `answer`, `hold`, `resume`, `stats`, `hangup`, `message URI TEXT`, `quit`, and
`when-called answer|ring|decline`. A phone that is in a call is busy.
"""

import argparse
import json
import os
import select

import pjsua2 as pj

TICK_MS = 20
PJ_EINVALIDOP = 70013
# A phone that rings for a moment before it answers shows a 180 to the caller.
RING_TICKS = 10
STATUS = {
    pj.PJSUA_CALL_MEDIA_ACTIVE: "active",
    pj.PJSUA_CALL_MEDIA_LOCAL_HOLD: "holding",
    pj.PJSUA_CALL_MEDIA_REMOTE_HOLD: "held",
}


def tell(event, **facts):
    """Writes one event for the driver."""
    print(json.dumps({"event": event, **facts}), flush=True)


def status(code):
    """The parameters of an answer."""
    prm = pj.CallOpParam()
    prm.statusCode = code
    return prm


class Call(pj.Call):
    """A call with a tone as its microphone, so that media really flows."""

    def __init__(self, account, call_id=pj.PJSUA_INVALID_ID):
        super().__init__(account, call_id)
        self.tone = None

    def onCallState(self, prm):
        info = self.getInfo()
        tell("call", state=info.stateText, code=info.lastStatusCode, reason=info.lastReason)

    def onCallMediaState(self, prm):
        # The list lives in `info`: without the name it would be freed under the loop.
        info = self.getInfo()
        for index, media in enumerate(info.media):
            if media.type == pj.PJMEDIA_TYPE_AUDIO:
                tell("media", status=STATUS.get(media.status, "none"))
                if media.status == pj.PJSUA_CALL_MEDIA_ACTIVE and self.tone is None:
                    self.hum(index)

    def hum(self, index):
        """Sends a tone for as long as the call lasts."""
        self.tone = pj.ToneGenerator()
        self.tone.createToneGenerator(8000, 1)
        note = pj.ToneDesc()
        note.freq1, note.on_msec, note.off_msec = 440, 1000, 0
        notes = pj.ToneDescVector()
        notes.append(note)
        self.tone.play(notes, True)
        self.tone.startTransmit(self.getAudioMedia(index))


class Account(pj.Account):
    """A registered user that takes one call at a time."""

    def __init__(self):
        super().__init__()
        self.call = self.refused = None
        self.change = None
        self.buddies = []
        self.when_called = "answer"
        self.ring_ticks = 0

    def onRegState(self, prm):
        tell("registration", code=prm.code, reason=prm.reason, expires=prm.expiration)

    def onInstantMessage(self, prm):
        tell("message", text=prm.msgBody)

    def onInstantMessageStatus(self, prm):
        tell("message-sent", code=prm.code)

    def onIncomingCall(self, prm):
        if self.call and self.call.isActive():
            # Kept, since Python would end a call that nobody holds.
            self.refused = pj.Call(self, prm.callId)
            self.refused.answer(status(486))
            return
        self.call = Call(self, prm.callId)
        tell("incoming", source=self.call.getInfo().remoteUri)
        if self.when_called == "decline":
            self.answer(486)
            return
        self.answer(180)
        self.ring_ticks = RING_TICKS if self.when_called == "answer" else 0

    def answer(self, code):
        """Answers the call with this status code."""
        self.call.answer(status(code))

    def begin(self, change):
        """Sends a re-INVITE, or keeps it until one that is under way is done.

        PJSUA2 sends some by itself, to settle on one codec, and refuses another meanwhile.
        """
        try:
            change(self.call)
            self.change = None
        except pj.Error as error:
            if error.status != PJ_EINVALIDOP:
                raise
            self.change = change

    def tick(self):
        """Sends what had to wait, and answers a call that has rung long enough."""
        if self.change:
            self.begin(self.change)
        if self.ring_ticks:
            self.ring_ticks -= 1
            if not self.ring_ticks and self.call.isActive():
                self.answer(200)

    def dial(self, uri):
        """Starts a call."""
        self.call = Call(self)
        self.call.makeCall(uri, pj.CallOpParam(True))

    def message(self, uri, text):
        """Sends a MESSAGE."""
        config = pj.BuddyConfig()
        config.uri = uri
        buddy = pj.Buddy()
        buddy.create(self, config)
        self.buddies.append(buddy)
        prm = pj.SendInstantMessageParam()
        prm.content = text
        buddy.sendInstantMessage(prm)

    def stats(self):
        """Tells the RTP packets sent and received so far."""
        rtcp = self.call.getStreamStat(0).rtcp
        tell("stats", sent=rtcp.txStat.pkt, received=rtcp.rxStat.pkt)


def endpoint(options):
    """PJSUA2 with one transport, no threads of its own, and a null sound device."""
    made = pj.Endpoint()
    made.libCreate()
    config = pj.EpConfig()
    config.uaConfig.threadCnt = 0
    config.uaConfig.mainThreadOnly = True
    config.logConfig.level = 5
    config.logConfig.consoleLevel = 0
    config.logConfig.filename = options.log
    config.medConfig.noVad = True
    # The null device is the clock of all media: an idle phone must keep it.
    config.medConfig.sndAutoCloseTime = -1
    made.libInit(config)
    transport = pj.TransportConfig()
    transport.boundAddress = options.bind
    kind = pj.PJSIP_TRANSPORT_TCP if options.transport == "tcp" else pj.PJSIP_TRANSPORT_UDP
    made.transportCreate(kind, transport)
    made.audDevManager().setNullDev()
    made.libStart()
    return made


def account_config(options):
    """The user, by domain through an outbound proxy, or by the server's address alone."""
    config = pj.AccountConfig()
    place = f"{options.server};transport={options.transport}"
    config.idUri = f"sip:{options.user}@{options.domain or options.server}"
    config.regConfig.registrarUri = f"sip:{options.domain or place}"
    config.regConfig.timeoutSec = 300
    if options.domain:
        config.sipConfig.proxies.append(f"sip:{place};lr")
    credentials = pj.AuthCredInfo("digest", "*", options.user, 0, options.password)
    config.sipConfig.authCreds.append(credentials)
    config.mediaConfig.transportConfig.boundAddress = options.bind
    return config


def hold(call):
    """Puts the other side on hold."""
    call.setHold(pj.CallOpParam(True))


def resume(call):
    """Talks to the other side again."""
    prm = pj.CallOpParam(True)
    prm.opt.flag = pj.PJSUA_CALL_UNHOLD
    call.reinvite(prm)


def obey(account, line):
    """Does one command; false ends the phone."""
    word, _, rest = line.partition(" ")
    if word == "call":
        account.dial(rest)
    elif word == "answer":
        account.answer(200)
    elif word == "hangup":
        account.call.hangup(pj.CallOpParam(True))
    elif word == "hold":
        account.begin(hold)
    elif word == "resume":
        account.begin(resume)
    elif word == "message":
        account.message(*rest.split(" ", 1))
    elif word == "stats":
        account.stats()
    elif word == "when-called":
        account.when_called = rest
        tell("when-called", manner=rest)
    return word != "quit"


def lines():
    """The complete lines that stdin has now; None at its end."""
    if not select.select([0], [], [], 0)[0]:
        return []
    data = os.read(0, 4096)
    return data.decode().splitlines() if data else None


def main():
    """Registers, then obeys until `quit` or the end of stdin."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("user", "password", "server", "log"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--domain", default="")
    parser.add_argument("--transport", choices=("udp", "tcp"), default="udp")
    parser.add_argument("--bind", default="127.0.0.1")
    options = parser.parse_args()
    made = endpoint(options)
    account = Account()
    account.create(account_config(options))
    going = True
    while going:
        made.libHandleEvents(TICK_MS)
        account.tick()
        commands = lines()
        going = commands is not None and all(obey(account, line) for line in commands)
    account.shutdown()
    made.libDestroy()
    # A call or a tone that Python frees after the library is gone would abort the process.
    os._exit(0)


if __name__ == "__main__":
    try:
        main()
    except pj.Error as error:
        tell("error", reason=error.info())
        os._exit(1)
