"""The `huntaze` command, killed where a test says: `python tests/crash_host.py up --data DIR …`.

The file `crash-at` in the data folder names the point, and which time of passing it is the last. It
is read at the start and at SIGUSR1, and gone once the point is armed.
"""

import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from notifications.extensions import Extension

ORDER = "crash-at"


def _arm(folder: Path) -> None:
    from notifications.crashpoints import Point, arm

    order = folder / ORDER
    if order.exists():
        point, nth = order.read_text().split()
        arm(Point(point), nth=int(nth))
        order.unlink()


def _ai_workers() -> "Extension":
    from ai_workers.extension import AiWorkers

    return AiWorkers()


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent.parent))
    from notifications.cli.host import Host
    from notifications.cli.main import huntaze

    data = Path(sys.argv[sys.argv.index("--data") + 1])
    signal.signal(signal.SIGUSR1, lambda *_: _arm(data))
    _arm(data)
    huntaze(prog_name="huntaze", obj=Host(variables=os.environ, extension=_ai_workers))
