"""`cryodaq notify`: alarms out of the building, tried and silenced."""

from __future__ import annotations

import getpass
import sys
from datetime import timedelta
from typing import Annotated

import typer

from cryodaq.cli.places import answering_system, running_system
from cryodaq.cli.running import HomeOption
from cryodaq.errors import ConfigError, NotificationError

app = typer.Typer(help="Alarms out of the building.", no_args_is_help=True)


@app.command("test")
def send_test(
    channel: Annotated[str | None, typer.Argument(help="Name of one channel; default: all.")] = None,
    home: HomeOption = None,
) -> None:
    """Send a test message through the channels, now; status 1 when one was not taken."""
    from cryodaq.app.notify_people import send_at_once
    from cryodaq.domain.notifications import MessageKind

    notifying = running_system(home).notifying()
    channels = [one for one in notifying.channels if channel in {None, one.name} and one.takes_alarms]
    if not channels:
        what = f"a channel {channel}" if channel else "any channel"
        message = f"the facility file does not have {what}; write [[notifications.channels]]"
        raise ConfigError(message)
    failed = False
    for one in channels:
        try:
            send_at_once(notifying, one, "this is a test of cryodaq", kind=MessageKind.TEST, severity="notice")
        except NotificationError as error:
            failed = True
            print(f"BAD   {one.name}: {error}")
        else:
            print(f"sent  {one.name}")
    if failed:
        sys.exit(1)


@app.command()
def silence(
    key: Annotated[str, typer.Argument(help="Beginning of the alarm's key, as `cryodaq notify list` shows it.")],
    hours: Annotated[float, typer.Option(min=0.1, max=720, help="For how long.")],
    home: HomeOption = None,
) -> None:
    """Have nobody told of some alarms for a while; what still stands then is told at its end."""
    from cryodaq.ledger import notifications
    from cryodaq.wiring import utc_now

    now = utc_now()
    until = now + timedelta(hours=hours)
    with answering_system(home).engine.begin() as connection:
        notifications.add_silence(connection, key, until=until, asked_by=getpass.getuser(), at=now)
    print(f"nobody is told of alarms that begin with {key} until {until:%Y-%m-%d %H:%M %Z}")


@app.command("list")
def list_alarms(home: HomeOption = None) -> None:
    """List what is wrong with the alarms' keys, silences, and messages that wait."""
    from cryodaq.ledger import events, notifications
    from cryodaq.wiring import utc_now

    with answering_system(home).engine.connect() as connection:
        alarms = events.open_alarms(connection)
        silences = notifications.silences(connection, at=utc_now())
        waiting = notifications.unsent(connection)
    for alarm in alarms:
        print(f"{alarm.severity:<8} {alarm.key}  since {alarm.raised_at:%Y-%m-%d %H:%M %Z}: {alarm.text}")
    for one in silences:
        print(f"silent   {one.key} until {one.until:%Y-%m-%d %H:%M %Z}, asked by {one.asked_by}")
    for channel, count in sorted(waiting.items()):
        print(f"waiting  {count} message{'s' * (count != 1)} for {channel}")
    if not alarms:
        print("nothing is wrong")
