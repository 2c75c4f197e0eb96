"""`cryodaq deploy`: from a facility file to a docker swarm stack."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cryodaq.cli.config_commands import ConfigOption
from cryodaq.cli.places import facility_file, home_folder
from cryodaq.errors import ConfigError

DEPLOYED_FILE = "facility-file:deployed"
"""Key of the alarm about a facility file that `prepare` refused."""

app = typer.Typer(help="Render, check and prepare a docker swarm stack.", no_args_is_help=True)


@app.command()
def render(
    config_path: ConfigOption = None,
    without: Annotated[
        list[str] | None, typer.Option(help="postgres or redis, where the site has its own; repeatable.")
    ] = None,
    restore: Annotated[
        Path | None, typer.Option(help="Instead: the stack that puts this backup back; its path on the nodes.")
    ] = None,
) -> None:
    """Print the stack file of a facility; a microscope more is a table more in the facility file."""
    from cryodaq import config
    from cryodaq.launch.swarm import checking, rendering
    from cryodaq.launch.swarm.restoring import restoring

    file = facility_file(config_path)
    unknown = sorted(set(without or ()) - set(rendering.OPTIONAL))
    if unknown:
        message = f"only {' and '.join(rendering.OPTIONAL)} can be left out, not {', '.join(unknown)}"
        raise ConfigError(message)
    text = file.read_text(encoding="utf-8") if file.exists() else ""
    stack = rendering.render(config.load(file), facility_text=text, without=without or ())
    if restore is not None:
        stack = restoring(stack, backup=restore.expanduser().absolute())
    _refuse(checking.problems(stack))
    print(rendering.as_yaml(stack), end="")


@app.command()
def check(
    path: Annotated[Path, typer.Argument(help="A stack file, rendered or edited.")],
    env: Annotated[
        Path | None, typer.Option("--env", help="The site's env file: has it all values, and each slot its memory?")
    ] = None,
) -> None:
    """Check that everything used is declared, that no secret is in it, and what swarm needs."""
    import yaml

    from cryodaq.launch.swarm import checking

    try:
        stack = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        message = f"{path} cannot be read: {error}"
        raise ConfigError(message) from error
    if not isinstance(stack, dict):
        message = f"{path} is no stack file"
        raise ConfigError(message)
    found = checking.problems(stack)
    if env is not None:
        try:
            values = checking.read_env_file(env.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            message = f"{env} cannot be read: {error}"
            raise ConfigError(message) from error
        found += checking.problems_of_values(stack, values)
    _refuse(found)
    print(f"{path} may be deployed: {len(stack['services'])} services")


def _refuse(problems: list[str]) -> None:
    if problems:
        raise ConfigError("\n".join(problems))


@app.command()
def secrets(
    folder: Annotated[Path, typer.Argument(help="A new folder; only you can read it.")],
    postgres: Annotated[str, typer.Option(help="Host and port of PostgreSQL.")] = "postgres:5432",
    redis: Annotated[str, typer.Option(help="Host and port of Redis.")] = "redis:6379",
) -> None:
    """Make the secrets of a new stack, each in a file, and say how swarm gets them."""
    from cryodaq.launch.swarm.secrets import make_secrets

    for path in make_secrets(folder.expanduser().absolute(), postgres=postgres, redis=redis):
        print(f"docker secret create cryodaq_{path.name} {path}")


@app.command()
def prepare(
    config_path: Annotated[
        Path | None, typer.Option("--config", envvar="CRYODAQ_CONFIG", help="Default: where the stack puts it.")
    ] = None,
    home: Annotated[Path | None, typer.Option("--home", envvar="CRYODAQ_HOME", help="State of the system.")] = None,
) -> None:
    """Bring tables, DAG files and pools up to date; the stack does it at each start."""
    from cryodaq import config
    from cryodaq.cli.accounts import ensure_accounts, ensure_instruments
    from cryodaq.cli.log_records import write_log
    from cryodaq.database import open_engine
    from cryodaq.domain.home import Home
    from cryodaq.launch.secrets import secret
    from cryodaq.launch.swarm.preparing import Preparing
    from cryodaq.launch.swarm.rendering import FACILITY_PLACE

    folder = home_folder(home)
    (folder / "secrets").mkdir(mode=0o700, exist_ok=True)
    try:
        facility = config.activate(config_path or Path(FACILITY_PLACE), home=folder)
    except ConfigError as error:
        _tell_of_mistake(folder, error)
        raise
    write_log(facility.site.log_format)

    def fill_elogbook(url: str) -> None:
        engine = open_engine(url)
        ensure_accounts(engine, Home(folder), token_file=facility.elogbook.token_file)
        ensure_instruments(engine, facility)
        engine.dispose()

    secret(Home(folder).metrics_token)
    preparing = Preparing(home=Home(folder), facility=facility, fill_elogbook=fill_elogbook)
    preparing.run()
    _tell_of_mistake(folder, None)
    print("prepared")


def _tell_of_mistake(home: Path, mistake: ConfigError | None) -> None:
    """Keep an alarm while the deployed facility file has a mistake and an earlier one goes on; None ends it."""
    from sqlalchemy.exc import OperationalError

    from cryodaq.config import ACTIVE_NAME, first_line
    from cryodaq.ledger import events
    from cryodaq.wiring import open_system, utc_now

    if not (home / ACTIVE_NAME).exists():
        return
    try:
        with open_system(home).engine.begin() as connection:
            if mistake is None:
                events.clear_alarm(connection, DEPLOYED_FILE, at=utc_now())
                return
            message = f"{first_line(mistake)}; the system goes on with the facility file that passed the check last"
            subject = events.Subject()
            events.raise_alarm(
                connection, DEPLOYED_FILE, severity="warning", message=message, at=utc_now(), subject=subject
            )
    except OperationalError:
        return  # the sentence stands in this service's log
