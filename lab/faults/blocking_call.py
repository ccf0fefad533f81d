"""A blocking call in an asynchronous handler."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab.faults.fault import Fault

if TYPE_CHECKING:
    from lab.system import Lab


class BlockingCall(Fault):
    """`time.sleep` of 120 ms in a fifth of the health requests. A person has to mend the code: no command can."""

    name, finding, kind = "blocking-call", "APP_EVENT_LOOP_BLOCKED", "app.handlers"

    async def inject(self, lab: Lab) -> None:
        await lab.turn(self.service, BLOCKING_S="0.12")

    async def undo(self, lab: Lab) -> None:
        await lab.turn(self.service, BLOCKING_S="0")
