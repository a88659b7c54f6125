"""Otolith: pretrain encoders of wearable motion sensors without labels, adapt them with a few, prove them on new people.

Nothing is imported here, so that `import otolith` and `otolith --help` answer at once; the public names live in
the modules that `docs/flow.md` lists, in the order in which data flow through them.
"""

__version__ = "0.3.0"
