"""xl.cfg(5): text to :class:`~wirt.model.domain.DomainConfig` and back, never evaluated.

::

    syntax      text -> Document: assignments with their places (nothing is interpreted)
    document    Document -> text: values written, edits that leave the rest alone
    overrides   key=value of the command line -> assignments
    settings    assignments -> one checked value for each key ("=" overrules, "+=" appends)
    keys        the table: type, default, meaning, who honours it
    disk, vif   specifications of one device; rate, vdev, spec are their parts
    meaning     settings -> DomainConfig and notices (reading: what it gathers; peripherals: the device lists)
    secrets     passwords: kept, and never shown
    loading     all of it in order
    entries     single strings of a list replaced; disks written as entries
    cards       a card put into a text's vif list, or taken out of it
    disks       other targets in a text's disk list
    reference   the table as a page
"""

from wirt.config.xlcfg.cards import read_card, vif_entries, with_card, with_rates, without_card
from wirt.config.xlcfg.disks import disk_entries, with_qos, with_volumes
from wirt.config.xlcfg.document import with_value
from wirt.config.xlcfg.entries import disk_entry, entries, own_card, with_entries
from wirt.config.xlcfg.keys import KEYS, Group, Key, Kind, nearest
from wirt.config.xlcfg.loading import Loaded, load
from wirt.config.xlcfg.meaning import name_fault
from wirt.config.xlcfg.notice import Notice
from wirt.config.xlcfg.reference import reference_markdown
from wirt.config.xlcfg.secrets import without_secrets

__all__ = [
    "KEYS",
    "Group",
    "Key",
    "Kind",
    "Loaded",
    "Notice",
    "disk_entries",
    "disk_entry",
    "entries",
    "load",
    "name_fault",
    "nearest",
    "own_card",
    "read_card",
    "reference_markdown",
    "vif_entries",
    "with_card",
    "with_entries",
    "with_qos",
    "with_rates",
    "with_value",
    "with_volumes",
    "without_card",
    "without_secrets",
]
