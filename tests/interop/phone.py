"""One PJSUA2 phone without a sound card, driven by lines on stdin, telling events as JSON lines.

Commands: `call URI`, `hold`, `resume`, `stats`, `hangup`, `quit`, and
`when-called answer|ring|decline`.
"""

import argparse
import json
import os
import select

import pjsua2 as pj

TICK_MS = 20
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
        self.call = None
        self.when_called = "answer"
        self.ring_ticks = 0

    def onRegState(self, prm):
        tell("registration", code=prm.code, reason=prm.reason, expires=prm.expiration)

    def onIncomingCall(self, prm):
        self.call = Call(self, prm.callId)
        tell("incoming", source=self.call.getInfo().remoteUri)
        if self.when_called == "decline":
            self.answer(486)
            return
        self.answer(180)
        self.ring_ticks = RING_TICKS if self.when_called == "answer" else 0

    def answer(self, code):
        """Answers the call with this status code."""
        prm = pj.CallOpParam()
        prm.statusCode = code
        self.call.answer(prm)

    def tick(self):
        """Answers a call that has rung long enough."""
        if self.ring_ticks:
            self.ring_ticks -= 1
            if not self.ring_ticks and self.call.isActive():
                self.answer(200)

    def dial(self, uri):
        """Starts a call."""
        self.call = Call(self)
        self.call.makeCall(uri, pj.CallOpParam(True))

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


def obey(account, line):
    """Does one command; false ends the phone."""
    word, _, rest = line.partition(" ")
    if word == "call":
        account.dial(rest)
    elif word == "hangup":
        account.call.hangup(pj.CallOpParam(True))
    elif word == "hold":
        account.call.setHold(pj.CallOpParam(True))
    elif word == "resume":
        prm = pj.CallOpParam(True)
        prm.opt.flag = pj.PJSUA_CALL_UNHOLD
        account.call.reinvite(prm)
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
