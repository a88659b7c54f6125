"""Label recordings of any layout: timelines, minutes per class, a picture and a page of each."""

from otolith.apps.label.figure import picture, timeline_figure
from otolith.apps.label.many import Done, LabelOptions, label_files, label_recordings
from otolith.apps.label.recording import Labelled, label, resampled, survey_for
from otolith.apps.label.results import ENDINGS, document, write
from otolith.apps.label.stream import Cells, Labeller

__all__ = [
    "ENDINGS",
    "Cells",
    "Done",
    "LabelOptions",
    "Labelled",
    "Labeller",
    "document",
    "label",
    "label_files",
    "label_recordings",
    "picture",
    "resampled",
    "survey_for",
    "timeline_figure",
    "write",
]
