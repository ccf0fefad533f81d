"""A deploy that made the service slower."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab.faults.fault import Fault

if TYPE_CHECKING:
    from lab.system import Lab


class SlowDeploy(Fault):
    """150 ms more in each request from a new version on."""

    name, finding, kind = "slow-deploy", "DEPLOY_REGRESSION", "deployment.rollback"
    deploy = True

    async def inject(self, lab: Lab) -> None:
        await lab.deploy(self.service, VERSION_DELAY_S="0.15")

    async def undo(self, lab: Lab) -> None:
        await lab.turn(self.service, VERSION_DELAY_S="0")
