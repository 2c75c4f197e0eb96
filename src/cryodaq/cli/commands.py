"""The commands, in the order in which a newcomer needs them."""

from __future__ import annotations

import typer

from cryodaq.cli import (
    access_commands,
    asking,
    config_commands,
    demo,
    deploying,
    exporting,
    finding,
    first_day,
    held_commands,
    importing,
    inspecting,
    ledger_commands,
    maintenance,
    notify_commands,
    proofs,
    reassigning,
    reporting,
    retrying,
    running,
    serving,
    simulating,
    staff_commands,
    stages,
    transferring,
    user_commands,
)

app = typer.Typer(
    name="cryodaq",
    help="Runs a cryo-EM facility's data, from the camera to the user.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)

app.command("demo")(demo.demo)
app.command("up")(running.up)
app.command("simulate")(simulating.simulate)
app.command("transfer")(transferring.transfer)
app.command("align")(stages.align)
app.command("ctf")(stages.ctf)
app.command("pick")(stages.pick)
app.command("process")(stages.process)
app.command("where")(asking.where)
app.command("movies")(finding.movies)
app.command("doctor")(asking.doctor)
app.command("import")(importing.import_session)
app.command("inspect")(inspecting.inspect)
app.command("report")(reporting.report)
app.command("verify")(proofs.verify)
app.command("certificate")(proofs.certificate)
app.command("clear")(staff_commands.clear)
app.command("reassign")(reassigning.reassign)
app.command("retry")(retrying.retry)
app.command("adopt")(first_day.adopt)
app.command("shadow")(first_day.shadow)
app.command("backup")(maintenance.backup)
app.command("restore")(maintenance.restore)
app.command("maintain")(maintenance.maintain)
app.add_typer(held_commands.app, name="held")
app.add_typer(access_commands.app, name="access")
app.add_typer(ledger_commands.app, name="ledger")
app.add_typer(notify_commands.app, name="notify")
app.add_typer(staff_commands.quarantine, name="quarantine")
app.add_typer(exporting.app, name="export")
app.add_typer(config_commands.app, name="config")
app.add_typer(deploying.app, name="deploy")
app.add_typer(user_commands.app, name="user")
app.add_typer(serving.app, name="serve", hidden=True)
