"""The campaigns of tools/torture.py, one file each: many tries of what must hold, each with a random number of its own.

A campaign is a subclass of `campaign.Campaign`; `CAMPAIGNS` in command.py lists them.
"""
