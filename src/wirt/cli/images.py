"""``wirt image``: guest images that wirt builds by itself, and what images stand on."""

from __future__ import annotations

from wirt.cli.text import printable, table
from wirt.client.errors import BadAnswer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace

    from wirt.cli.arguments import Parser
    from wirt.cli.session import Session

EPILOG = """\
tiny is a Linux that boots in seconds: a kernel, an initramfs and a small disk, for trying things out.

accept: a qcow2 image names the files that it stands on, and a guest that has broken out of its virtual machine
could write other names there. So wirt remembers them from the image's first use, and starts no domain whose image
has changed in this. If you changed it (qemu-img rebase), accept it: the next start takes it as it is then.

examples:
  wirt image build tiny
  wirt image list
  wirt image accept /srv/web.qcow2
"""


def options_image(parser: Parser) -> None:
    parser.epilog = EPILOG
    parser.add_argument("action", choices=("build", "list", "accept"))
    parser.add_argument("image", metavar="IMAGE", nargs="?", help="what to build: tiny; what to accept: a path")


def run_image(args: Namespace, session: Session) -> int:
    from wirt.cli.arguments import usage_error

    if args.action == "list":
        if args.image is not None:
            usage_error("wirt image list takes no image")
        return _list(session)
    if args.action == "accept":
        return _accept(args.image or usage_error("which image?", "wirt image accept PATH"), session)
    if args.image != "tiny":
        usage_error("which image? There is: tiny", "wirt image build tiny")
    return _build(args.image, session)


def _build(image: str, session: Session) -> int:
    from wirt.cli.following import run_job
    from wirt.client.decode import decode
    from wirt.wire.v1 import Job

    document = run_job(session, lambda: session.api.post(f"/v1/images/{image}"))
    if session.json:
        session.document(document)
    else:
        result = decode(Job, document).result
        session.write(
            "".join(f"{printable(str(name))}: {printable(str(value))}\n" for name, value in result.items())
        )
    return 0


def _accept(image: str, session: Session) -> int:
    import os

    document = session.api.post("/v1/backing/accept", {"image": os.path.realpath(image)})
    if session.json:
        session.document(document)
    return 0


def _list(session: Session) -> int:
    document = session.api.get("/v1/images")
    images = document.get("images")
    if not isinstance(images, list) or not all(isinstance(image, dict) for image in images):
        raise BadAnswer("wirtd's answer has no list of images")
    if session.json:
        session.document(document)
        return 0
    names = list(dict.fromkeys(str(name) for image in images for name in image))
    if names:
        rows = [tuple(str(image.get(name, "-")) for name in names) for image in images]
        session.write(table(tuple(printable(name).capitalize() for name in names), rows))
    else:
        session.say("No images yet: wirt image build tiny makes one.")
    return 0
