"""Files of a hub that is down, before a command opens them."""

from notifications.errors import ConfigurationError
from notifications.owner import DataFolder
from notifications.stores.migrate import check_files


def check_at_rest(folder: DataFolder) -> None:
    """Refuse a data folder whose files are damaged, unless a hub is at work on it.

    Whoever opens a damaged log, even for reading, wipes out what proves that it is damaged.

    Raises:
        ConfigurationError: Says what is wrong and what to do.
    """
    if folder.owner() is not None:
        return
    try:
        check_files(folder.database)
    except ConfigurationError:
        if folder.owner() is None:
            raise
        # A hub has begun to write to it meanwhile, and has looked itself.
    except OSError:
        return  # whoever opens it says why it cannot be read
