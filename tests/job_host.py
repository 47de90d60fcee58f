"""The `huntaze` command with small AI workers: `python tests/job_host.py SCHEMAS COMMAND…`."""

import os
import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent.parent))
    from notifications.cli.host import Host
    from notifications.cli.main import huntaze
    from tests.job_workers import extension

    folder, *arguments = sys.argv[1:]
    host = Host(variables=os.environ, extension=lambda: extension(Path(folder)))
    huntaze(arguments, prog_name="huntaze", obj=host)
