"""Errors of the client: each says in words what to change."""


class ClientError(Exception):
    """Base of all errors of the client."""


class SpecError(ClientError):
    """Spec that is wrong, found before the cluster was asked or by the cluster itself. `problems` has one each."""

    def __init__(self, problems: list[str]) -> None:
        """Keep the problems; the text has all of them."""
        self.problems = problems
        super().__init__("; ".join(problems))


class FunctionError(ClientError):
    """Function whose source cannot travel to another process."""


class ExistsError(ClientError):
    """Resource that is there already, with another spec."""


class MissingError(ClientError):
    """Resource, pod or kind that is not there."""


class DeniedError(ClientError):
    """Refusal for lack of rights, or for lack of credentials."""


class UnreachableError(ClientError):
    """Failure to reach the cluster, the kubeconfig or the service."""


class FailedError(ClientError):
    """End of a job, or state of a service, that somebody has to look at: the condition's words and the last failure."""


class WaitTimeoutError(ClientError, TimeoutError):
    """Wait that was longer than its timeout; the resource goes on."""
