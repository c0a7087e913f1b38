"""Turns the lights off after a speaker that could not do it itself: `python -m device.panel.off [SETTINGS]`.

The speaker's service runs it after the speaker. Raspberry Pi's kernels leave a pin as it was driven when the process
that drove it dies (raspberrypi/linux, pull requests 6117 and 6150: persist_gpio_outputs of pinctrl-bcm2835 and
pinctrl-rp1; mainline makes it an input), and APA102 hold their colour until they are told another. For the same reason
a pin that is left low stays low. Little is imported, and no gpiozero, whose import takes longer than all of this: a
restart waits for it.
"""

import sys
from pathlib import Path

from device.config import Panel, load
from device.panel.gpio import header_chip, import_lgpio


def turn_off(panel: Panel) -> str:
    """Turn the lights off; a sentence that says which, or nothing where there are none.

    Raises:
        HardwareError: they cannot be reached.
    """
    if panel.lights == "none":
        return ""
    if panel.lights == "apa102":
        from device.panel.apa102 import Strip

        Strip(panel.apa102, panel.spi).close()
        return f"Lights off: APA102 at {panel.spi}."
    pins = panel.leds if panel.lights == "leds" else panel.rgb
    lgpio = import_lgpio()
    chip = lgpio.gpiochip_open(header_chip(lgpio))
    kept = []
    for pin in pins:
        try:
            lgpio.gpio_claim_output(chip, pin, 0)
        except lgpio.error as error:  # the others can still be turned off
            kept.append(f"pin {pin}: {str(error).strip(chr(39))}")
    lgpio.gpiochip_close(chip)
    return f"Lights not off: {', '.join(kept)}." if kept else f"Lights off: pins {', '.join(map(str, pins))}."


def main(arguments: list[str]) -> None:
    """Do it and say so in one line, if there are lights.

    Never fails: the service has ended, and this must not be what is told of it.
    """
    try:
        said = turn_off(load(Path(arguments[0]) if arguments else None).panel)
    except Exception as error:
        said = f"Lights not off: {error}"
    if said:
        sys.stdout.write(" ".join(said.split()) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
