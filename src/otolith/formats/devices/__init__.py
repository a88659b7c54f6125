"""Files of research devices: Axivity .cwa, ActiGraph .gt3x, GENEActiv .bin and Matrix .bin.

`read_device` reads one of them, `device_kind` tells from its first bytes whether a file is one. Each maker's layout has a
module, which walks the file's blocks and checks them. The samples of the first three are decoded by actfast (extra
`devices`) in a process of its own; those of Matrix, which actfast does not know, by NumPy.
"""

from otolith.formats.devices.device_file import DeviceFile, Series
from otolith.formats.devices.read import device_kind, read_device

__all__ = ["DeviceFile", "Series", "device_kind", "read_device"]
