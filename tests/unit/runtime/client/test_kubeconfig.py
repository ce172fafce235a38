"""Where the configuration comes from, and the words when it is no good."""

from __future__ import annotations

import base64
import ssl
from pathlib import Path
from typing import Any

import pytest
import yaml

from slipway.runtime.client.kubeconfig import KubeConfig, KubeConfigError, Token, in_cluster
from slipway.runtime.self_signed import certificate

PAIR = certificate(("kubernetes", "127.0.0.1"))


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def document(**changes: Any) -> dict[str, Any]:
    parts: dict[str, Any] = {
        "cluster": {"server": "https://127.0.0.1:6443/", "certificate-authority-data": b64(PAIR.authority)},
        "user": {"client-certificate-data": b64(PAIR.chain), "client-key-data": b64(PAIR.key)},
        "context": {"cluster": "c", "user": "u", "namespace": "team"},
    } | changes
    return {
        "current-context": "x",
        "clusters": [{"name": "c", "cluster": parts["cluster"]}],
        "users": [{"name": "u", "user": parts["user"]}],
        "contexts": [{"name": "x", "context": parts["context"]}],
    }


def write(path: Path, content: object) -> Path:
    path.write_text(yaml.safe_dump(content))
    return path


def test_embedded_certificates(tmp_path: Path) -> None:
    config = KubeConfig.load(write(tmp_path / "config", document()))
    assert (config.server, config.namespace, config.token) == ("https://127.0.0.1:6443", "team", None)
    assert config.ssl is not None
    assert config.ssl.verify_mode == ssl.CERT_REQUIRED
    assert len(config.ssl.get_ca_certs()) == 1


def test_files_are_looked_for_beside_the_kubeconfig(tmp_path: Path) -> None:
    (tmp_path / "ca.crt").write_text(PAIR.authority)
    (tmp_path / "token").write_text("secret\n")
    cluster = {"server": "https://x:1", "certificate-authority": "ca.crt", "tls-server-name": "kubernetes"}
    config = KubeConfig.load(write(tmp_path / "config", document(cluster=cluster, user={"tokenFile": "token"})))
    assert config.server_name == "kubernetes"
    assert Token(config).value() == "secret"


def test_kubeconfig_variable_joins_files_and_a_context_can_be_chosen(tmp_path: Path) -> None:
    second = document(cluster={"server": "http://second:1"}, user={"token": "t"})
    second["contexts"][0]["name"] = second["current-context"] = "y"
    second["clusters"][0]["name"] = second["contexts"][0]["context"]["cluster"] = "c2"
    second["users"][0]["name"] = second["contexts"][0]["context"]["user"] = "u2"
    paths = [write(tmp_path / "a", document()), write(tmp_path / "b", second), tmp_path / "absent"]
    environ = {"KUBECONFIG": ":".join(map(str, paths))}
    assert KubeConfig.load(environ=environ).server == "https://127.0.0.1:6443"
    chosen = KubeConfig.load(environ=environ, context="y")
    assert (chosen.server, chosen.token, chosen.ssl) == ("http://second:1", "t", None)


def test_secrets_stay_out_of_the_repr(tmp_path: Path) -> None:
    config = KubeConfig.load(write(tmp_path / "config", document(user={"token": "hush"})))
    assert "hush" not in repr(config)


def test_insecure_is_possible_when_asked_for(tmp_path: Path) -> None:
    cluster = {"server": "https://x:1", "insecure-skip-tls-verify": True}
    config = KubeConfig.load(write(tmp_path / "config", document(cluster=cluster)))
    assert config.ssl is not None
    assert config.ssl.verify_mode == ssl.CERT_NONE


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"kind": "Config"}, "current-context"),
        ("just text", "not a kubeconfig"),
        (document(user={"exec": {"command": "aws"}}), "'exec', which is not supported"),
        (document(user={"auth-provider": {"name": "gcp"}}), "auth-provider"),
        (document(user={"username": "u", "password": "p"}), "username"),
        (document(cluster={}), "no server"),
        (document(cluster={"server": "https://x", "proxy-url": "socks5://y"}), "proxy-url"),
        (document(cluster={"server": "https://x", "certificate-authority-data": "!"}), "cannot be used"),
        (document(cluster={"server": "https://x", "certificate-authority": "absent.crt"}), "cannot be used"),
        (document(user={"client-certificate-data": b64("x"), "client-key-data": b64("y")}), "cannot be used"),
        (document(context={"cluster": "other", "user": "u"}), "no cluster 'other'"),
    ],
)
def test_no_good(tmp_path: Path, content: object, words: str) -> None:
    with pytest.raises(KubeConfigError, match=words):
        KubeConfig.load(write(tmp_path / "config", content))


def test_no_file_at_all(tmp_path: Path) -> None:
    with pytest.raises(KubeConfigError, match="no kubeconfig at"):
        KubeConfig.load(tmp_path / "absent")
    broken = tmp_path / "broken"
    broken.write_text("a: [")
    with pytest.raises(KubeConfigError, match="cannot read"):
        KubeConfig.load(broken)


@pytest.mark.parametrize(
    ("host", "server"), [("10.0.0.1", "https://10.0.0.1:443"), ("fd00::1", "https://[fd00::1]:443")]
)
def test_in_a_pod(tmp_path: Path, host: str, server: str) -> None:
    environ = {"KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": "443"}
    with pytest.raises(KubeConfigError, match="automountServiceAccountToken"):
        in_cluster(environ, tmp_path)
    (tmp_path / "token").write_text("t1\n")
    (tmp_path / "ca.crt").write_text(PAIR.authority)
    (tmp_path / "namespace").write_text("slipway-system\n")
    config = in_cluster(environ, tmp_path)
    assert (config.server, config.namespace) == (server, "slipway-system")


def test_a_token_is_read_again_after_a_minute_and_kept_while_its_file_is_away(tmp_path: Path) -> None:
    now = [0.0]
    file = tmp_path / "token"
    file.write_text("t1")
    token = Token(KubeConfig("https://x", token_file=file), clock=lambda: now[0])
    assert token.value() == "t1"
    file.write_text("t2")
    assert token.value() == "t1"
    now[0] = 61
    assert token.value() == "t2"
    file.unlink()
    now[0] = 122
    assert token.value() == "t2"
    assert token.expire()
    assert not Token(KubeConfig("https://x", token="fixed")).expire()
