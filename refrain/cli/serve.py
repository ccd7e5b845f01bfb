"""`refrain serve`: an OpenAI-compatible server and a page to talk to it."""

import argparse
import os
from typing import TYPE_CHECKING, Any

from refrain.cli.options import start_few_threads
from refrain.cli.repository import typed_path

if TYPE_CHECKING:
    from refrain.serving.settings.schema import ServeSettings

HELP = "serve an exported model over HTTP, with a page to talk to it"
EPILOG = """\
Each setting can stand in conf/serve.yaml, or in FILE, as a variable, such as REFRAIN_SERVE_PORT or
REFRAIN_SERVE_LOG__FORMAT, and as an option; a later one of these overrides those before it.
The file is read again when it changes, and after SIGHUP."""


def add_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "serve",
        usage="refrain serve [MODEL] [--SETTING VALUE ...]",
        description=run.__doc__,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--selftest",
        nargs="?",
        const="",
        metavar="URL",
        help="check a server, without a URL one of its own, by what users of servers complain of, and exit",
    )
    parser.set_defaults(run=run)
    parse = parser.parse_known_args

    def parse_late(arguments: Any = None, namespace: Any = None) -> Any:
        parser.parse_known_args = parse
        add_options(parser)  # here, for other commands should not wait for what describes settings
        return parse(arguments, namespace)

    parser.parse_known_args = parse_late


def add_options(parser: argparse.ArgumentParser) -> None:
    """An option for each setting."""
    from refrain.serving.settings.setting_fields import base_type, list_fields
    from refrain.serving.settings.settings_sources import FILE, option_name

    parser.add_argument("folder", nargs="?", metavar="MODEL", help="the same as --model")
    parser.add_argument("--config", type=typed_path, metavar="FILE", help=f"settings, default: {FILE} if it is there")
    parser.add_argument("--print-config", action="store_true", help="show the settings and where each comes from")
    for field in list_fields().values():
        form: dict[str, Any] = {"metavar": field.path.rpartition(".")[2].upper()}
        kind = base_type(field.type)
        if kind is bool:
            form = {"action": argparse.BooleanOptionalAction}
        elif kind in (list, dict):
            form |= {"nargs": "+"}
        default = "" if field.default in (None, [], {}) else f", default: {field.show(field.default)}"
        parser.add_argument(
            option_name(field.path), dest=field.path, default=argparse.SUPPRESS, help=field.help + default, **form
        )


def run(options: argparse.Namespace) -> int:
    """Serve an exported model at an address of this machine, as OpenAI's API, with a page to talk to it."""
    start_few_threads()
    from refrain.serving.settings.settings_sources import SettingsSources

    sources = SettingsSources(options.config, dict(os.environ), read_options(options))
    settings, origins = sources.load()
    if options.print_config:
        from refrain.serving.settings.settings_table import settings_table

        print(settings_table(settings, origins))
        return 0
    if options.selftest is not None:
        return run_selftest(options.selftest, settings)
    from refrain.serving.process.lifecycle import serve

    serve(sources, settings)
    return 0


def run_selftest(url: str, settings: "ServeSettings") -> int:
    """Print a line for each check as it ends; 1 where one fails."""
    from refrain.serving.selftest import table

    outcomes = []
    for outcome in table.check_server(url, settings):
        print(table.format_outcome(outcome), flush=True)
        outcomes.append(outcome)
    print(table.summarise(outcomes))
    return int(any(outcome.state == "fails" for outcome in outcomes))


def read_options(options: argparse.Namespace) -> dict[str, Any]:
    """What was given by path; files and folders as they are called at the root."""
    from refrain.serving.settings.setting_fields import list_fields

    given = {path: value for path, value in vars(options).items() if path in list_fields()}
    if options.folder is not None and given.setdefault("model", options.folder) != options.folder:
        raise ValueError(f"--model: it is {given['model']}, beside {options.folder}; name one model")
    return {path: at_root(value) if list_fields()[path].is_path else value for path, value in given.items()}


def at_root(value: Any) -> Any:
    """A typed path, or the folder in each NAME=FOLDER."""
    if isinstance(value, list):
        pairs = [part.partition("=") for part in value]
        return [f"{name}={typed_path(folder)}" for name, _, folder in pairs]
    return str(typed_path(value))
