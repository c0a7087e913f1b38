"""What is known of each sound board: data for install.sh, for the unit that sets the mixer, for `earshot check`. Pure.

To add a board, copy the entry that is most like yours, change what differs, and try `sudo ./install.sh --board NAME`. If
Raspberry Pi OS has no overlay for it, put the source of one into overlays/. What nobody knows for sure is said in a comment.

Not here, as only kernel modules from outside the tree run them: ReSpeaker 4-Mic and 6-Mic arrays, AIY Voice Bonnet, WhisPlay.
Nor the first ReSpeaker 2-Mic HAT and its clones (Keyestudio KS0314): WM8960 with a 24 MHz crystal, while the overlay
wm8960-soundcard counts on 12.288 MHz. Its parameter `mclk`, of August 2026 (raspberrypi/linux #7577), may do; nobody tried.
"""

from dataclasses import dataclass
from typing import Literal

Mixer = tuple[tuple[str, str], ...]


@dataclass(frozen=True, kw_only=True)
class Board:
    """A board, or a kind of boards."""

    name: str
    """What `--board` and /etc/earshot/board call it."""
    title: str
    """Its name in the shop."""
    about: str
    """One line for those who choose."""
    overlays: tuple[str, ...] = ()
    """Lines of config.txt, dtparam before dtoverlay. Overlays called earshot-NAME are made from overlays/earshot-NAME.dts."""
    cards: tuple[str, ...] = ()
    """ALSA ids under which its sound card is known, the usual one first; empty: the card is looked for at installation."""
    rate: int = 0
    """Hertz at which it sounds best. Capture and playback of an I2S board share one rate. 0: depends on the card."""
    channels: int | None = None
    """Channels of capture, which `hw:` insists on; None: read from the card at installation."""
    channel: int = 0
    """The one to hear."""
    mixer: Mixer = ()
    """Controls that its driver leaves too quiet, muted or unconnected, and their values as `amixer cset` takes them."""
    button: int | None = None
    """BCM pin that the button connects to ground; None: it has none."""
    lights: Literal["leds", "rgb", "apa102", "none"] = "none"
    """The kind of lights: three lamps, one of three colours, APA102 on SPI."""
    pins: tuple[int, ...] = ()
    """BCM pins of leds (listening, speaking, tool) or of rgb (red, green, blue)."""
    apa102: int = 0
    """How many APA102 there are on SPI0, chip select 0."""
    cancels_echo: bool = False
    """Whether it takes what its own speaker plays out of what its microphones hear. Ours is off then."""
    usb: tuple[str, ...] = ()
    """vendor:product, in hexadecimal, by which it is recognised."""
    hats: tuple[str, ...] = ()
    """Product names in the EEPROM of a HAT, by which it is recognised."""

    @property
    def sources(self) -> tuple[str, ...]:
        """Which of our overlays it needs: names of files in overlays/, without .dts."""
        names = (
            line.removeprefix("dtoverlay=").split(",")[0] for line in self.overlays if line.startswith("dtoverlay=")
        )
        return tuple(name for name in names if name.startswith("earshot-"))

    def settings(self, microphone: str, speaker: str, channels: int) -> dict[str, dict[str, object]]:
        """What belongs into earshot.toml, by section and name. The first two are ALSA PCM names; `channels` of capture."""
        own = {"rate": self.rate, "channels": channels, "channel": min(self.channel, channels - 1)}
        ear = {"device": microphone, **own, "echo_cancellation": not self.cancels_echo}
        return {"microphone": ear, "speaker": {"device": speaker, "rate": self.rate}, "panel": self.panel()}

    def panel(self) -> dict[str, object]:
        """The section of button and lights."""
        panel: dict[str, object] = {"button": "none" if self.button is None else self.button, "lights": self.lights}
        own = {"leds": self.pins, "rgb": self.pins, "apa102": self.apa102}
        return panel | ({self.lights: own[self.lights]} if self.lights in own else {})


# From the vendor's wm8960_asound.state. The driver itself connects neither microphones to ADC nor DAC to amplifier.
_WM8960: Mixer = (
    ("Left Boost Mixer LINPUT1 Switch", "on"),
    ("Right Boost Mixer RINPUT1 Switch", "on"),
    ("Left Input Mixer Boost Switch", "on"),
    ("Right Input Mixer Boost Switch", "on"),
    ("Left Input Boost Mixer LINPUT1 Volume", "3"),
    ("Right Input Boost Mixer RINPUT1 Volume", "3"),
    ("Capture Switch", "on"),
    ("Capture Volume", "39"),
    ("Left Output Mixer PCM Playback Switch", "on"),
    ("Right Output Mixer PCM Playback Switch", "on"),
    ("Playback Volume", "100%"),
    ("Speaker Playback Volume", "109"),
    ("Speaker DC Volume", "4"),
    ("Speaker AC Volume", "4"),
    ("Headphone Playback Volume", "109"),
)

# The driver starts with HP DAC at -23.5 dB and PGA too low for a wake word; louder values from PiCompose's image for this HAT.
# It connects the inputs by itself (Line1 to PGA). On which output the speaker socket hangs is not documented: so all of them.
_AIC3104: Mixer = (
    ("PCM Playback Volume", "100%"),
    ("HP DAC Playback Volume", "100%"),
    ("Line DAC Playback Volume", "100%"),
    ("HP Playback Volume", "100%"),
    ("HP Playback Switch", "on"),
    ("Line Playback Volume", "100%"),
    ("Line Playback Switch", "on"),
    ("PGA Capture Volume", "80%"),
    ("PGA Capture Switch", "on"),
)

# From Raspberry Pi's state file (Pi-Codec, Codec_Zero_OnboardMIC_record_and_SPK_playback.state): the microphone on the board
# (Mic 2) to both channels, both DACs to the loudspeaker (Lineout).
_DA7212: Mixer = (
    ("Onboard MIC Switch", "on"),
    ("Mic 2 Amp Source MUX", "Differential"),
    ("Mic 2 Volume", "5"),
    ("Mic 2 Switch", "on"),
    ("Mixin Left Mic 2 Switch", "on"),
    ("Mixin Right Mic 2 Switch", "on"),
    ("Mixin PGA Volume", "7"),
    ("Mixin PGA Switch", "on"),
    ("ADC Volume", "114"),
    ("ADC Switch", "on"),
    ("DAI Left Source MUX", "ADC Left"),
    ("DAI Right Source MUX", "ADC Right"),
    ("DAC Left Source MUX", "DAI Input Left"),
    ("DAC Right Source MUX", "DAI Input Right"),
    ("Mixout Left DAC Left Switch", "on"),
    ("Mixout Right DAC Right Switch", "on"),
    ("DAC Mono Switch", "on"),
    ("DAC Volume", "112"),
    ("Lineout Volume", "48"),
    ("Lineout Switch", "on"),
)

_ALL = (
    Board(
        name="mems-amp",
        title="Two I2S MEMS microphones and a MAX98357A amplifier",
        about="wired by hand as overlays/earshot-mems-amp.dts draws it, with button and lamps of earshot-panel.dts",
        overlays=("dtoverlay=earshot-mems-amp", "dtoverlay=earshot-panel"),
        cards=("sndrpigooglevoi",),
        # The codec driver google,voicehat, which the overlay uses, knows nothing but S32_LE, stereo, 48 kHz; no mixer.
        rate=48_000,
        channels=2,
        button=17,
        lights="leds",
        pins=(5, 6, 13),
    ),
    Board(
        name="voicehat",
        title="Google AIY Voice HAT (version 1)",
        about="two microphones, amplifier and button",
        overlays=("dtoverlay=earshot-voicehat",),
        cards=("sndrpigooglevoi",),
        rate=48_000,
        channels=2,
        button=23,
        # One lamp in the button, on GPIO25: too few for `leds`. The EEPROM is as dumped in shivasiddharth/custom-voice-hat #3.
        hats=("Google AIY audioHAT Board v1",),
    ),
    Board(
        name="respeaker-2mic-v2",
        title="ReSpeaker 2-Mics Pi HAT v2.0",
        about="two microphones, socket for a speaker, button, three colour lamps; not the first version",
        overlays=("dtoverlay=earshot-respeaker-2mic-v2",),
        cards=("seeed2micvoicec",),
        rate=48_000,
        channels=2,
        mixer=_AIC3104,
        button=17,
        # On some clones GPIO12 switches the lamps' power, active low (example of wyoming-satellite). Nothing here does that.
        lights="apa102",
        apa102=3,
    ),
    Board(
        name="waveshare-wm8960",
        title="Waveshare WM8960 Audio HAT",
        about="two microphones, amplifier for two speakers",
        # "No MCLK configured" in the kernel's log: an overlay from before September 2024 (raspberrypi/linux #6387).
        overlays=("dtoverlay=wm8960-soundcard",),
        cards=("wm8960soundcard",),
        rate=48_000,
        channels=2,
        mixer=_WM8960,  # and a button, on a pin that is not verified
    ),
    Board(
        name="voice-bonnet",
        title="Adafruit Voice Bonnet",
        about="two microphones, amplifier for two speakers, button",
        # Adafruit's installer builds the driver of Waveshare's board; that the overlay of that one does is not verified.
        overlays=("dtoverlay=wm8960-soundcard",),
        cards=("wm8960soundcard",),
        rate=48_000,
        channels=2,
        mixer=_WM8960,
        button=17,
        # Three DotStars (APA102), but on GPIO5 and 6, which no SPI controller reaches.
    ),
    Board(
        name="codec-zero",
        title="Raspberry Pi Codec Zero (IQaudio Pi-CodecZero)",
        about="one microphone, small amplifier, button",
        # No overlay: the firmware loads it as the EEPROM tells. Its product name is not known: recognised by its card.
        cards=("Zero", "IQaudIOCODEC"),
        rate=48_000,
        channels=2,
        mixer=_DA7212,
        button=27,
        # Two lamps, green on GPIO23 and red on GPIO24: too few for `leds` and `rgb`.
    ),
    Board(
        name="respeaker-usb",
        title="ReSpeaker USB Mic Array v2.0 (XVF3000)",
        about="four microphones on USB; the speaker goes into its own socket",
        # The firmware has 1 channel or 6, of which 0 is the cleaned one.
        cards=("ArrayUAC10",),
        rate=16_000,
        cancels_echo=True,  # what is played through its 3.5 mm socket
        usb=("2886:0018",),
    ),
    Board(
        name="respeaker-xvf3800",
        title="reSpeaker XVF3800 USB 4-Mic Array",
        about="four microphones on USB; the speaker goes into its own socket",
        # Channel 0 is made for calls, 1 for speech recognition; which of them hears a wake word better is not known.
        cards=("Array",),
        rate=16_000,
        cancels_echo=True,
        usb=("2886:001a",),
    ),
    Board(
        name="panel",
        title="Button and three lamps, with any sound card",
        about="wired by hand as overlays/earshot-panel.dts draws it",
        overlays=("dtoverlay=earshot-panel",),
        button=17,
        lights="leds",
        pins=(5, 6, 13),
    ),
    Board(
        name="usb",
        title="USB speakerphone, or microphone and speaker on USB",
        about="whatever sounds on USB; most speakerphones cancel their echo, sound adapters do not",
    ),
    Board(
        name="other",
        title="Any other sound card",
        about="whatever this machine has, without button and lights",
    ),
)

BOARDS: dict[str, Board] = {board.name: board for board in _ALL}
