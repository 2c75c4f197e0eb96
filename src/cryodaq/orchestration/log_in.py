"""Who may do what at Airflow: its simple auth manager, narrowed to what the running system needs.

Airflow's role `user` may change everything about DAGs. Here it may trigger and read runs, and have the DAG folder read
again, which Airflow takes for a change of the DAG whose file is named: only the maintenance DAG's is allowed.
"""

from __future__ import annotations

import atexit
import gc
from typing import TYPE_CHECKING

from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.auth.managers.simple.simple_auth_manager import SimpleAuthManager

from cryodaq.domain.home import DOORBELL_DAG

if TYPE_CHECKING:
    from airflow.api_fastapi.auth.managers.base_auth_manager import ResourceMethod
    from airflow.api_fastapi.auth.managers.models.resource_details import DagDetails
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser

NARROW_ROLE = "user"


class FacilityAuthManager(SimpleAuthManager):  # type: ignore[misc]  # Airflow has no types
    """The role `user` triggers and reads runs; `op` and `admin` may what Airflow says."""

    def init(self) -> None:
        """Let the API server end at once when it is stopped.

        After its last request the interpreter would look through all its routes and models for garbage, which takes
        seconds of CPU, and the server would be killed as one that does not stop.
        """
        super().init()
        atexit.register(gc.freeze)

    def is_authorized_dag(
        self,
        *,
        method: ResourceMethod,
        user: SimpleAuthManagerUser,
        access_entity: DagAccessEntity | None = None,
        details: DagDetails | None = None,
    ) -> bool:
        """Whether a DAG, or something of it, may be read or changed."""
        if (user.role or "").lower() == NARROW_ROLE and method != "GET":
            triggers = method == "POST" and access_entity is DagAccessEntity.RUN
            rings = method == "PUT" and access_entity is None and details is not None and details.id == DOORBELL_DAG
            if not (triggers or rings):
                return False
        allowed = super().is_authorized_dag(method=method, user=user, access_entity=access_entity, details=details)
        return bool(allowed)
