"""Recordings of motion from files of any vendor: one reader, whose every decision is a fact that an option overrides."""

from otolith.formats.gaps import Missing
from otolith.formats.options import Fact, ReadOptions
from otolith.formats.read import Session, Survey, read_sessions, survey, survey_sources
from otolith.formats.source import stem
from otolith.formats.sources import Skipped, Source, find_sources
from otolith.formats.units import Units

__all__ = [
    "Fact",
    "Missing",
    "ReadOptions",
    "Session",
    "Skipped",
    "Source",
    "Survey",
    "Units",
    "find_sources",
    "read_sessions",
    "stem",
    "survey",
    "survey_sources",
]
