"""One Airflow DAG for each microscope of the active facility file.

Put into the DAG folder by every start of the system; changes belong into the facility file.
"""

from cryodaq.orchestration.microscopes import (
    active_microscopes,
    clear_microscope,
    current_sample,
    microscope_dag,
    prepare_sample,
    transfer,
)

for microscope in active_microscopes():
    with microscope_dag(microscope) as dag:
        sample = current_sample(microscope)
        sample >> prepare_sample(microscope) >> transfer(microscope)
        sample >> clear_microscope(microscope)
    globals()[f"{microscope.name}-daq"] = dag
