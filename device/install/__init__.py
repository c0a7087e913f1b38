"""Puts Earshot on a machine, and takes it off. Needs nothing but Python: it runs before there is an environment.

Every function takes the root directory to act on, so that a mounted card is as good as this machine.
"""
