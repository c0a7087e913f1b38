"""`earshot check`: tries each part of the speaker by itself, and says what is wrong with it and what to do.

`command` is the command; `report` what it says; `machine` the way to everything but sound and pins. Parts are in `system`,
`service`, `sound` and `echo` (`streams` moves it, `measure` is its arithmetic), `panel`, `wake` and `agent`. `bundle` packs
it all for those who help, after `scrub` has taken out what is nobody's business.
"""
