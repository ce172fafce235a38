"""TLS for gRPC: the library asks for the certificate again with each connection, on a thread of its own."""

import grpc

from workloads.serve.edge.certificates import Certificates, Pair


def credentials(certificates: Certificates) -> grpc.ServerCredentials:
    """Credentials of the server that follow the certificate's files."""
    given = certificates.current()

    def fetch() -> grpc.ServerCertificateConfiguration | None:
        nonlocal given
        now = certificates.current()
        if now == given:
            return None
        given = now
        return _configuration(now)

    return grpc.dynamic_ssl_server_credentials(_configuration(given), fetch)


def _configuration(pair: Pair) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration([(pair.key, pair.chain)])
