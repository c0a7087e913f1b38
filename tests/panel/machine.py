"""What stands for the hardware: lgpio on a machine whose GPIO chips a test chooses, and an SPI bus with APA102 on it."""

import threading
import time
import types


class Lgpio(types.ModuleType):
    """The module, as far as it is used, over chips that are in memory. `chips` has the label of each, by number."""

    SET_PULL_NONE, SET_PULL_UP, SET_PULL_DOWN = 128, 32, 64
    RISING_EDGE, FALLING_EDGE, BOTH_EDGES = 1, 2, 3

    class error(Exception):
        """Its name is so, and its text in quotes, there."""

    def __init__(self, devices):
        super().__init__("lgpio")
        self.devices = devices
        self.chips = {}
        self.closed_to_us = set()
        self.busy = set()
        self.open = {}
        self.levels = {}
        """By chip and line, from 0 to 1. As on a Raspberry Pi it stays when nobody has the line any more."""

    def add(self, number, label):
        self.chips[number] = label
        (self.devices / f"gpiochip{number}").touch()

    def gpiochip_open(self, number):
        if number not in self.chips or number in self.closed_to_us:
            raise self.error("'can not open gpiochip'")
        handle = len(self.open)
        self.open[handle] = number
        return handle

    def gpiochip_close(self, handle):
        self.open[handle] = None

    def gpio_get_chip_info(self, handle):
        number = self.open[handle]
        return [0, 54, f"gpiochip{number}", self.chips[number]]

    def _claim(self, handle, line):
        if line in self.busy:
            raise self.error("'GPIO busy'")
        return self.open[handle], line

    def gpio_claim_input(self, handle, line, flags=0):
        self._claim(handle, line)

    def gpio_claim_output(self, handle, line, level=0, flags=0):
        self.levels[self._claim(handle, line)] = level

    def gpio_get_mode(self, handle, line):
        return 2

    def gpio_write(self, handle, line, level):
        self.levels[self.open[handle], line] = level

    def tx_pwm(self, handle, line, frequency, duty):
        self.levels[self.open[handle], line] = duty / 100


class Bus:
    """`spidev.SpiDev` with lamps: what was sent, and what they show. `fail` is the error of the next writes."""

    def __init__(self):
        self.messages = []
        self.buffers = set()
        self.fail = None
        self.attempts = 0
        self.closed = False
        self._sent = threading.Condition()

    def writebytes2(self, message):
        with self._sent:
            self.attempts += 1
            self._sent.notify_all()
            if self.fail:
                raise self.fail
            self.messages.append(bytes(message))
            self.buffers.add(id(message))

    def close(self):
        self.closed = True

    def wait(self, test):
        """Wait until `test(self)`; fail after a while."""
        with self._sent:
            assert self._sent.wait_for(lambda: test(self), timeout=5)

    def lamps(self, count):
        """The (brightness of 31, red, green, blue) of each of `count` lamps after the last message."""
        return lamps(self.messages[-1], count)


def lamps(message, count):
    """What a row of APA102 or SK9822 shows after a message; fails where they would not take it as it is meant."""
    assert message[:4] == bytes(4)
    end = message[4 + 4 * count :]
    # SK9822 show it at the next 32 zero bits; each lamp needs half a bit more to pass it on; ones may be white beyond.
    assert 8 * len(end) >= 32 + count / 2 and not any(end)
    words = [message[at : at + 4] for at in range(4, 4 + 4 * count, 4)]
    assert all(word[0] >> 5 == 0b111 for word in words)
    return [(word[0] & 31, word[3], word[2], word[1]) for word in words]


def until(test, limit_s=5.0):
    """Wait until `test()`, which another thread makes true."""
    end = time.monotonic() + limit_s
    while not test():
        assert time.monotonic() < end
        threading.Event().wait(0.001)
