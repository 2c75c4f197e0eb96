"""What is done once a day. Put into the DAG folder by every start of the system."""

from cryodaq.orchestration.maintenance import maintain, maintenance_dag

with maintenance_dag() as dag:
    maintain("airflow") >> maintain("logs") >> maintain("backup") >> maintain("access") >> maintain("copies")
