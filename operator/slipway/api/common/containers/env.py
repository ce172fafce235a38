"""Variables of a container's environment: values, keys of ConfigMaps and Secrets, fields of the pod; and long words."""

from typing import Annotated, ClassVar

from pydantic import Field

from slipway.api.common.base import Model, Rule
from slipway.api.common.quantity import Quantity
from slipway.api.common.types import ObjectName

# What the launchers and the operator set themselves.
RESERVED_ENV = frozenset(
    {
        "WORLD_SIZE",
        "RANK",
        "LOCAL_RANK",
        "LOCAL_WORLD_SIZE",
        "GROUP_RANK",
        "GROUP_WORLD_SIZE",
        "ROLE_RANK",
        "MASTER_ADDR",
        "MASTER_PORT",
    }
)
RESERVED_ENV_PREFIXES = ("PET_", "TORCHELASTIC_", "KUBEFLOW_TRAINER_", "SLIPWAY_")
# What a variable can be made of, as the kubelet has it.
POD_FIELD = (
    r"^(metadata\.(name|namespace|uid)|metadata\.(labels|annotations)\['[-._/a-zA-Z0-9]+'\]"
    r"|spec\.(nodeName|serviceAccountName)|status\.(hostIPs?|podIPs?))$"
)
CONTAINER_RESOURCE = r"^(limits|requests)\.(cpu|memory|ephemeral-storage|hugepages-[0-9]+[KMG]i)$"

EnvName = Annotated[str, Field(min_length=1, max_length=256, pattern=r"^[-._a-zA-Z][-._a-zA-Z0-9]*$")]
# Characters of one argument or value: Linux takes 131,072 bytes of each, a variable's name among them.
LONGEST_WORD = 130_000
# Of all arguments and values of a container together: they travel in a ConfigMap, which may have 1 MiB, with quotes.
MOST_WORDS = 786_432
Word = Annotated[str, Field(max_length=LONGEST_WORD)]
Words = Annotated[list[Word], Field(max_length=128)]


def bounded(*lists: str) -> Rule:
    """The rule that bounds command, args and env of a container together; `lists` are those that it has beside env."""
    sizes = [f"(has(self.{name}) ? self.{name}.map(w, size(w)).sum() : 0)" for name in lists]
    sizes.append("(has(self.env) ? self.env.map(e, has(e.value) ? size(e.value) : 0).sum() : 0)")
    named = ", ".join((*lists, "env")) if lists else "env"
    return Rule(
        f"{' + '.join(sizes)} <= {MOST_WORDS}",
        f"{named}: more than {MOST_WORDS} characters together: put what is long into a ConfigMap and mount it",
        lambda owner: (
            sum(len(word) for name in lists for word in getattr(owner, name))
            + sum(len(env.value or "") for env in owner.env)
            <= MOST_WORDS
        ),
    )


class KeySelector(Model):
    """One key of a ConfigMap or a Secret."""

    name: ObjectName = Field(description="Name of the ConfigMap or Secret.")
    key: Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[-._a-zA-Z0-9]+$")] = Field(
        description="Which of its keys."
    )
    optional: bool = Field(False, description="Leave the variable unset when the key is missing.")


class FieldSelector(Model):
    """A field of the pod: what the kubelet gives to variables."""

    field_path: Annotated[str, Field(max_length=512, pattern=POD_FIELD)] = Field(
        description="metadata.name, .namespace, .uid, .labels['KEY'] or .annotations['KEY'], spec.nodeName, "
        "spec.serviceAccountName, status.hostIP, .hostIPs, .podIP or .podIPs."
    )


class ResourceSelector(Model):
    """A request or limit of the container whose variable it is."""

    resource: Annotated[str, Field(max_length=128, pattern=CONTAINER_RESOURCE)] = Field(
        description="limits.cpu, .memory, .ephemeral-storage or .hugepages-SIZE, or the same of requests."
    )
    divisor: Quantity | None = Field(None, description="The unit, such as 1Mi or 1m; 1 when unset.")


class EnvSource(Model):
    """Source of an environment variable's value."""

    cel: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "[has(self.configMapKeyRef), has(self.secretKeyRef), has(self.fieldRef), has(self.resourceFieldRef)]"
            ".filter(one, one).size() == 1",
            "set exactly one of configMapKeyRef, secretKeyRef, fieldRef, resourceFieldRef",
            lambda source: sum(value is not None for _, value in source) == 1,
        ),
    )
    config_map_key_ref: KeySelector | None = Field(None, description="A key of a ConfigMap.")
    secret_key_ref: KeySelector | None = Field(None, description="A key of a Secret.")
    field_ref: FieldSelector | None = Field(None, description="A field of the pod itself.")
    resource_field_ref: ResourceSelector | None = Field(
        None, description="What the container may use, or asks for, as a number."
    )


class EnvVar(Model):
    """A variable of the container's environment."""

    cel: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "!(has(self.value) && has(self.valueFrom))",
            "set value or valueFrom, not both",
            lambda env: env.value is None or env.value_from is None,
        ),
        Rule(
            "!(self.name in ["
            + ", ".join(f"'{name}'" for name in sorted(RESERVED_ENV))
            + "]) && "
            + " && ".join(f"!self.name.startsWith('{prefix}')" for prefix in RESERVED_ENV_PREFIXES),
            "the launcher sets this variable itself (PET_*, WORLD_SIZE, RANK, MASTER_ADDR, SLIPWAY_*, ...): remove it",
            lambda env: env.name not in RESERVED_ENV and not env.name.startswith(RESERVED_ENV_PREFIXES),
        ),
    )
    name: EnvName = Field(description="Name of the variable.")
    value: Word | None = Field(None, description="Its value.")
    value_from: EnvSource | None = Field(None, description="Where its value comes from.")


class EnvOrigin(Model):
    """A ConfigMap or Secret by name."""

    name: ObjectName = Field(description="Its name.")
    optional: bool = Field(False, description="Start without it when it is missing.")


class EnvFrom(Model):
    """All keys of a ConfigMap or a Secret as variables; those of `env`, and the launcher's own, win over them."""

    cel: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "has(self.configMapRef) != has(self.secretRef)",
            "set exactly one of configMapRef, secretRef",
            lambda origin: (origin.config_map_ref is None) != (origin.secret_ref is None),
        ),
    )
    prefix: Annotated[str, Field(max_length=128, pattern=r"^([-._a-zA-Z][-._a-zA-Z0-9]*)?$")] | None = Field(
        None, description="Put before each key."
    )
    config_map_ref: EnvOrigin | None = Field(None, description="A ConfigMap.")
    secret_ref: EnvOrigin | None = Field(None, description="A Secret.")


EnvFroms = Annotated[list[EnvFrom], Field(max_length=16)]
