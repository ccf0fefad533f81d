"""A deploy that made the service fail."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab.faults.fault import Fault

if TYPE_CHECKING:
    from lab.system import Lab


class FailingDeploy(Fault):
    """A third of all requests fails from a new version on."""

    name, finding, kind = "failing-deploy", "DEPLOY_REGRESSION", "deployment.rollback"
    deploy = True

    async def inject(self, lab: Lab) -> None:
        await lab.deploy(self.service, VERSION_ERRORS="0.33")

    async def undo(self, lab: Lab) -> None:
        await lab.turn(self.service, VERSION_ERRORS="0")
