"""A room without hardware: a virtual sound card, voices that speak in it, and a finger for the button.

The demo and the tests run the real firmware in it.
"""
