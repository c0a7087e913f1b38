"""The virtual Pi's disk: Debian 12 from debootstrap, a GPIO chip's modules, and what Raspberry Pi OS has besides.

What takes long is kept below `cache()`, each under a name that changes with what it is made of.
"""

import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path

HERE = Path(__file__).resolve().parent
CHECKOUT = HERE.parents[1]
SUITE = "bookworm"
SPOKEN_LIMIT_S = 1200.0
DISK_MB = 4096
PACKAGES = (
    *("systemd-sysv", "udev", "kmod", "dbus", "sudo", "procps", "iproute2", "ca-certificates", "alsa-utils"),
    *("linux-image-amd64", "initramfs-tools", "zstd", "e2fsprogs", "python3-venv"),
)
GROUPS = ("gpio", "spi", "i2c")
"""Those of Raspberry Pi OS that Debian has not."""
INITRD_MODULES = "virtio_pci\nvirtio_blk\next4\n"


def cache() -> Path:
    """Where what takes long is kept: not in .venv, which is not root's."""
    path = Path(os.environ.get("VIRTUAL_PI_CACHE") or "/var/cache/earshot-tests/virtual_pi")
    path.mkdir(parents=True, exist_ok=True)
    return path


def key(*parts: str | bytes) -> str:
    """A short name for what is made of `parts`."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part.encode() if isinstance(part, str) else part)
        digest.update(b"\0")
    return digest.hexdigest()[:12]


def made(name: str, make: Callable[[Path], None]) -> Path:
    """`name` in the cache, whole or not at all: `make` fills or writes the path it is given."""
    path = cache() / name
    if not path.exists():
        part = path.with_name(f"{name}.part")
        remove(part)
        try:
            make(part)
            part.rename(path)
        except BaseException:
            remove(part)
            raise
    return path


def remove(path: Path) -> None:
    """A file or a folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def run(*command: str | Path, cwd: Path | None = None) -> None:
    """A command whose output matters only if it fails: RuntimeError with its last lines."""
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        timeout=SPOKEN_LIMIT_S,
        env=os.environ | {"LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"},
        check=False,
    )
    if done.returncode:
        said = "\n".join(done.stdout.splitlines()[-25:])
        raise RuntimeError(f"{' '.join(map(str, command))[:200]} failed with {done.returncode}:\n{said}")


def chroot(tree: Path, *command: str | Path) -> None:
    """A command in `tree`, with a /proc that goes away with it."""
    run("unshare", "--mount", "--pid", "--fork", "--kill-child", f"--root={tree}", "--mount-proc", "--", *command)


def copy(source: Path, target: Path) -> None:
    """A tree with its owners, links and devices."""
    run("cp", "-a", "--reflink=auto", source, target)


def base_tree() -> Path:
    """Debian 12 with a kernel, as a folder."""

    def make(part: Path) -> None:
        packages = ",".join(PACKAGES)
        # Its mounts go with the process, even if that is killed.
        room = ("unshare", "--mount", "--propagation", "private")
        run(*room, "debootstrap", "--variant=minbase", f"--include={packages}", SUITE, part)
        run("find", part / "var/cache/apt/archives", "-name", "*.deb", "-delete")

    return made(f"tree-{key(SUITE, *PACKAGES)}", make)


def kernel_release(tree: Path) -> str:
    """As `uname -r` in it."""
    (modules,) = (tree / "lib/modules").iterdir()
    return modules.name


def gpio_modules(tree: Path) -> Path:
    """A folder with gpio-sim.ko and irq_sim.ko for the kernel of `tree`: Debian builds neither."""
    recipe = (HERE / "modules.sh").read_bytes()

    def make(part: Path) -> None:
        room = cache() / "build"
        remove(room)
        try:
            copy(tree, room)
            shutil.copy(HERE / "modules.sh", room / "modules.sh")
            chroot(room, "sh", "/modules.sh", kernel_release(tree))
            part.mkdir()
            for module in (room / "modules").glob("*.ko"):
                shutil.copy(module, part)
        finally:
            remove(room)

    return made(f"modules-{kernel_release(tree)}-{key(recipe)}", make)


def guest_files() -> Iterable[Path]:
    """The files that the tree gets from us."""
    return (path for path in sorted((HERE / "guest").rglob("*")) if path.is_file())


def disk(tree: Path, modules: Path) -> Path:
    """A folder with the files disk.img, vmlinuz and initrd.img."""
    parts = [path.read_bytes() for path in guest_files()]

    def make(part: Path) -> None:
        room = cache() / "stage"
        remove(room)
        try:
            copy(tree, room)
            furnish(room, modules)
            part.mkdir()
            for name in ("vmlinuz", "initrd.img"):
                shutil.copy(room / "boot" / f"{name}-{kernel_release(tree)}", part / name)
            format_disk(room, part / "disk.img", DISK_MB)
        finally:
            remove(room)

    return made(f"disk-{tree.name}-{modules.name}-{key(*parts, Path(__file__).read_bytes())}", make)


def format_disk(folder: Path, image: Path, megabytes: int) -> None:
    """An ext4 image with the content of `folder`."""
    # lazy_itable_init: else the guest's kernel goes on writing for minutes, which would count as the speaker's.
    options = ("-E", "lazy_itable_init=0,lazy_journal_init=0,nodiscard", "-m", "1")
    run("mkfs.ext4", "-q", "-F", *options, "-d", folder, image, f"{megabytes}M")


def furnish(tree: Path, modules: Path) -> None:
    """Make `tree` the system of a virtual Pi."""
    run("cp", "-r", "--no-preserve=ownership", f"{HERE / 'guest'}/.", tree)
    extra = tree / "lib/modules" / kernel_release(tree) / "extra"
    extra.mkdir()
    for module in modules.iterdir():
        shutil.copy(module, extra)
    (tree / "etc/hostname").write_text("raspberrypi\n")
    (tree / "etc/hosts").write_text("127.0.0.1 localhost raspberrypi\n")
    (tree / "etc/fstab").write_text("/dev/vda / ext4 defaults,noatime 0 1\n")
    (tree / "etc/initramfs-tools/modules").write_text(INITRD_MODULES)
    (tree / "etc/resolv.conf").unlink(missing_ok=True)
    (tree / "etc/systemd/journald.conf.d").mkdir(parents=True, exist_ok=True)
    for group in GROUPS:
        chroot(tree, "groupadd", "--system", "--force", group)
    chroot(tree, "depmod", "-a", kernel_release(tree))
    chroot(tree, "update-initramfs", "-u", "-k", kernel_release(tree))
    # Without a network they only take time.
    chroot(tree, "systemctl", "mask", "apt-daily.timer", "apt-daily-upgrade.timer", "e2scrub_reap", "e2scrub_all.timer")
    chroot(tree, "systemctl", "enable", "virtual-pi-driver.service", "virtual-pi-gpio.service")
