"""Asks a scheduler to process a movie: Airflow over REST, or one in this process."""
