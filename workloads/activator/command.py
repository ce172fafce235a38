"""`python -m workloads activate`: arguments in, exit code out."""

import argparse
import asyncio
import logging
import sys

from workloads import errors
from workloads.activator.proxy import Limits
from workloads.activator.run import Settings, run

# The server's ports, and one beside them.
HTTP_PORT = 8080
GRPC_PORT = 9000
CONTROL_PORT = 8081


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m workloads activate",
        description="Hold the requests of a service that is scaled to zero until a replica serves, and forward them.",
    )
    parser.add_argument("--backend", required=True, metavar="HOST", help="reaches ready replicas only")
    parser.add_argument("--backend-http", type=int, default=80, metavar="PORT")
    parser.add_argument("--backend-grpc", type=int, default=GRPC_PORT, metavar="PORT")
    parser.add_argument("--host", metavar="ADDRESS", help="all of them when unset")
    parser.add_argument("--http-port", type=int, default=HTTP_PORT, metavar="N")
    parser.add_argument("--grpc-port", type=int, default=GRPC_PORT, metavar="N")
    parser.add_argument("--control-port", type=int, default=CONTROL_PORT, metavar="N")
    parser.add_argument("--hold", type=float, default=600.0, metavar="SECONDS", help="for a replica to come up")
    parser.add_argument("--max-held", type=int, default=Limits.held, metavar="N", help="clients that wait")
    parser.add_argument("--lead", type=float, default=5.0, metavar="SECONDS", help="not ready, but taking, at the end")
    parser.add_argument("--drain", type=float, default=30.0, metavar="SECONDS", help="then for those who are served")
    return parser


def settings_from(arguments: list[str]) -> Settings:
    """Settings of the command line. Exits with 2 where they make no sense."""
    told = _parser().parse_args(arguments)
    return Settings(
        backend=told.backend,
        backend_http=told.backend_http,
        backend_grpc=told.backend_grpc,
        host=told.host,
        http=told.http_port,
        grpc=told.grpc_port,
        control=told.control_port,
        limits=Limits(hold=told.hold, held=told.max_held),
        lead=told.lead,
        drain=told.drain,
    )


def main(arguments: list[str]) -> int:
    """Run the activator until a signal."""
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s")
    asyncio.run(run(settings_from(arguments)))
    return errors.SUCCESS
