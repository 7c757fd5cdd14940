"""A tone as a file, for phones without a sound card."""

import math
import struct
import wave

SECS = 20
RATE = 8000


def write_tone(path):
    """Writes a wav file that a phone can send as its microphone."""
    angles = (2 * math.pi * 440 * place / RATE for place in range(RATE))
    second = b"".join(struct.pack("<h", int(8000 * math.sin(angle))) for angle in angles)
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, RATE, 0, "NONE", ""))
        file.writeframes(second * SECS)
