"""The image's Dockerfile, what stands in for docker here, and the task definition beside it."""

import pytest

from local.ecs.image import AGENT, SANDBOXD
from local.image.chroot import DROPPED, GRANTED, mirror_of
from local.image.dockerfile import Copy, DockerfileError, Run, read_dockerfile
from tests.stacks import ROOT

DOCKERFILE = ROOT / "images" / "opencode" / "Dockerfile"
STOP_SECONDS = 20


def definition(template):
    return template["Resources"]["SandboxTaskDefinition"]["Properties"]["ContainerDefinitions"][0]


def test_the_task_definition_asks_for_health_as_the_image_does(template):
    """Fargate reads the check of the task definition, not the image's; and leaves time to end."""
    image = read_dockerfile(DOCKERFILE)[-1]
    check = definition(template)["HealthCheck"]
    seconds = {name: f"{check[key]}s" for name, key in (("interval", "Interval"), ("timeout", "Timeout"))}

    assert check["Command"] == ["CMD", *image.healthcheck]
    assert image.health_options == {
        **seconds, "start-period": f"{check['StartPeriod']}s", "retries": str(check["Retries"])
    }  # fmt: skip
    assert definition(template)["StopTimeout"] > STOP_SECONDS
    assert image.stop_signal == "SIGTERM"


def test_the_task_definition_grants_no_more_than_is_used(template):
    """It starts as root, adds no capability, and drops what the chroot test runs without."""
    container = definition(template)
    capabilities = container["LinuxParameters"]["Capabilities"]

    assert (container["User"], list(capabilities)) == ("0", ["Drop"])
    assert {name.lower() for name in capabilities["Drop"]} == set(DROPPED)
    assert set(DROPPED) < set(GRANTED)


def test_local_sandboxes_have_the_images_users():
    """The same numbers in the Dockerfile, in the script that makes them, and on this machine."""
    environment = read_dockerfile(DOCKERFILE)[-1].environment
    script = (DOCKERFILE.parent / "install" / "users.sh").read_text()

    assert (environment["SANDBOXD_OWN_UID"], environment["SANDBOXD_AGENT_UID"]) == (str(SANDBOXD), str(AGENT))
    assert f"SANDBOXD={SANDBOXD} AGENT={AGENT}" in script


def test_a_dockerfile_is_read(tmp_path):
    """Stages, steps, continued lines and comments; an argument in place of the base."""
    path = tmp_path / "Dockerfile"
    path.write_text(
        "ARG BASE=debian:x\n# a comment\nFROM ${BASE} AS one\nRUN a && \\\n  b\n"
        'FROM one\nCOPY --from=one /a /b\nENV A=1 \\\n    B="2 3"\nHEALTHCHECK --retries=3 CMD ["x"]\n'
    )
    one, image = read_dockerfile(path)

    assert (one.name, one.base, one.steps) == ("one", "debian:x", [Run("a && b")])
    assert (image.base, image.steps) == ("one", [Copy(("/a",), "/b", "one")])
    assert (image.environment, image.healthcheck) == ({"A": "1", "B": "2 3"}, ["x"])


@pytest.mark.parametrize("line", ["ADD http://x /y", "USER agent", "WORKDIR /workspace", "VOLUME /x", 'SHELL ["x"]'])
def test_what_is_not_understood_is_refused(tmp_path, line):
    """A step that were left out would make another image than docker does."""
    path = tmp_path / "Dockerfile"
    path.write_text(f"FROM x\n{line}\n")

    with pytest.raises(DockerfileError, match=line.split(maxsplit=1)[0]):
        read_dockerfile(path)


def test_debians_mirror_is_the_machines_own(tmp_path):
    """In either form of apt's sources, whatever else they name; Debian's own where they name none."""
    assert mirror_of(tmp_path) == "http://deb.debian.org/debian"
    folder = tmp_path / "sources.list.d"
    folder.mkdir()
    (folder / "a.list").write_text("# deb http://old/debian x\ndeb https://other.example/node node main\n")
    (folder / "debian.sources").write_text("Types: deb\nURIs: http://mirror.example/debian/\nSuites: bookworm\n")

    assert mirror_of(tmp_path) == "http://mirror.example/debian"
