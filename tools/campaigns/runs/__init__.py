"""Campaigns that interrupt trainings: a tiny one, each try in a fork of a process that has imported the library."""
