#!/usr/bin/env bash
# Makes a Raspberry Pi a speaker (device/install/flash.sh), or prepares a checkout: Debian packages, then .venv with everything
# that tests/requirements.lock pins.
#
# Each part is done only if it is missing, and the stamp of an environment is written last: after any failure, run it again.
# Sourcing this file defines its functions and does nothing.
set -euo pipefail

here=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
venv=$here/.venv
requirements=$here/tests/requirements.lock
pins=("$requirements" "$here/pyproject.toml") # after a change of these, .venv is not ready
# PyAudio is seen only by the Python it was packaged for: never one of pyenv or conda that comes first on the PATH.
python=/usr/bin/python3
free_mb=1200 # measured: .venv 690 MB, and while pip works its downloads twice, 200 MB each
room_at=$here # where they go
graph=$here/device/hearing/wake/graph.py
wheels=()    # options of pip: where it finds its packages, if not where it always does
debs=()      # the same of apt
# Python files that a speaker seldom or never reads, 45 of 60 MB: training, enrolment, installation, tests.
rare='/(scipy|sklearn|onnx|joblib|narwhals|setuptools|pip|tests|transformers|quantization|tools)/'

usage() {
    cat <<'END'
Usage: sudo ./install.sh [OPTION...]    make this Raspberry Pi a speaker. Once more: only what is missing or new is done
         --board NAME                   its sound board, if that is not recognised; --list-boards shows those known
         --agent NAME                   whom you will talk to: local (default), datagrid, atoms, workbuddy, savants, openai
         --key-file FILE, --no-key      the agent's API key, for which you are asked otherwise
         --offline DIR                  without a network, with what --download DIR fetched
         --root DIR                     for the system below DIR, such as a mounted card, instead of this one
         --yes, --dry-run               ask nothing; only say what would be done
       sudo ./install.sh --update       use this release from now on if it works, with settings and key as they are
       sudo ./install.sh --rollback     use the release before it again
       sudo ./install.sh --uninstall    take it away; with --purge also settings, key, voices and packages
       sudo ./install.sh --download DIR fetch what a machine with this system needs, for --offline DIR
       sudo ./install.sh --image IN.img[.xz] --out OUT.img [OPTION...]
                                        make a card that speaks at its first start; --image --help shows its options

       ./install.sh --demo [OPTION...]  prepare this machine and play a whole conversation, without microphone or
                                        speaker; options go to `earshot demo`, such as --real (use the real ones)
       ./install.sh --dev               prepare only: system packages and .venv, for .venv/bin/earshot and tests/run
       ./install.sh --help              show this
END
}

say() { printf '%s\n' "$*"; }

die() {
    printf 'install.sh: %s\n' "$*" >&2
    exit 1
}

# --- Steps that take long -------------------------------------------------------------------------------------------

# tick LOG: how long it takes and what it does now, once a second, as long as this script lives.
tick() {
    local start=$SECONDS
    while sleep 1 && kill -0 $$ 2>/dev/null; do
        printf '\r\e[K  %3d s  %.66s' $((SECONDS - start)) "$(tail -n 1 "$1" | tr -cd '[:print:]')"
    done
}

# stop_ticking: the line of `tick` disappears.
stop_ticking() {
    if [[ ${ticker:-} ]]; then
        kill "$ticker" 2>/dev/null || true
        wait "$ticker" 2>/dev/null || true
        ticker=
        printf '\r\e[K'
    fi
}

# attempt WHAT COMMAND...: says what is done; what the command prints is shown only if it fails, in its last lines.
attempt() {
    local what=$1 start=$SECONDS code=0
    shift
    say "$what"
    if [[ ! ${log:-} ]]; then
        log=$(mktemp) || die "${TMPDIR:-/tmp} cannot be written to, most likely because its disk is full. Make room there."
        trap 'stop_ticking; rm -f "$log"' EXIT
        trap 'die "Stopped. Run this again: it goes on where it stopped."' INT
    fi
    : >"$log"
    if [[ -t 1 ]]; then
        tick "$log" 9>&- &
        ticker=$!
    fi
    LC_ALL=C.UTF-8 "$@" >"$log" 2>&1 </dev/null || code=$?
    stop_ticking
    if ((code)); then
        printf '  %s\n' "It failed after $((SECONDS - start)) s:" >&2
        tail -n 12 "$log" | sed 's/^/  | /' >&2
    fi
    return "$code"
}

# step WHAT COMMAND...: an attempt without which nothing goes on.
step() {
    attempt "$@" || die "$(advice)"
}

# complaint PATTERN: whether a line of the log that reports an error matches; others may name packages such as openssl.
complaint() {
    grep -iE 'error|err:|^ *(e|w): |warning|could not|cannot|failed|disabled|no space|not match' "$log" | grep -qiE "$1"
}

# advice: what the owner can do about the failure in the log, by what apt and pip are known to print.
advice() {
    local again="Then run this again: it goes on where it stopped."
    if complaint 'no space left|enough free space|disk quota'; then
        say "The disk is full. Make $free_mb MB free where $room_at and /usr are. $again"
    elif complaint 'remove is disabled'; then
        say "Nothing was installed, because packages of this system would have to go; apt names them with:" \
            "apt-get --simulate install --no-install-recommends $names. Decide which to keep. $again"
    elif complaint 'could not get lock'; then
        say "Another program is installing packages. Wait until it is done. $again"
    elif complaint 'do not match the hashes'; then
        say "A download is not the file that was tested; something on the way changed or damaged it. $again"
    elif complaint 'resolv|unreachable|connect|timed out|timeout|failed to fetch|HTTP error|SSLError|CERTIFICATE_VERIFY'; then
        say "The network failed. Check that this machine reaches the Internet. $again"
    else
        say "The lines above say what went wrong. $again"
    fi
}

# --- System packages ------------------------------------------------------------------------------------------------

# packages dev|demo|speaker: a line per Debian package: its name, and what for.
packages() {
    cat <<'END'
python3-venv        Python, and environments of its own for each program
python3-pyaudio     reads the microphone and feeds the speaker (pip has none for Linux)
espeak-ng           the voice of the built-in agent
END
    if [[ $1 == speaker ]]; then
        cat <<'END'
flite               other people's voices, to tell yours from (earshot wake --enrol)
alsa-utils          sets the volumes of sound boards
python3-spidev      drives lights of the kind APA102
device-tree-compiler translates the descriptions of sound boards
END
        optional python3-lgpio "      drives button and lights"
        return
    fi
    cat <<'END'
pulseaudio-utils    plays into that card and records it
libasound2-plugins  lets ALSA programs use that card
flite               the voices of the people in demo and tests
END
    if ! excludes_pulseaudio; then
        say "pulseaudio          the virtual sound card of demo and tests"
    elif [[ ! -x $venv/bin/pulseaudio ]]; then
        apt-cache depends --important pulseaudio |
            awk '$1 == "Depends:" && $2 !~ /</ { printf "%-19s needed by PulseAudio, the virtual sound card\n", $2 }'
    fi
    if [[ $1 == dev ]]; then
        cat <<'END'
iproute2            sets up the network cable that the tests pull
openssl             makes the certificates that the tests try
shellcheck          checks the shell scripts
bats                tries the functions of shell scripts
device-tree-compiler translates the descriptions of sound boards
systemd             judges the units (systemd-analyze)
debootstrap         makes the systems in which install.sh is tried
qemu-system-x86     the computer of the virtual Pi
qemu-user-static    runs programs of a Pi's processor
binfmt-support      lets the kernel find it
e2fsprogs           makes disks of files
dosfstools          makes boot partitions
mtools              writes to them
END
    fi
    if is_raspberry_pi; then
        optional python3-lgpio "  drives button and lights"
    fi
}

# The package pulseaudio would throw out this one, by which ALSA programs reach PipeWire on most desktops.
excludes_pulseaudio() { is_installed pipewire-alsa; }

is_raspberry_pi() { grep -qas 'Raspberry Pi' /proc/device-tree/model; }

is_installed() { [[ $(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null) == installed ]]; }

# optional NAME WHY: a package that not every archive has.
optional() {
    if is_installed "$1" || apt-cache "${debs[@]}" show "$1" >/dev/null 2>&1; then say "$1 $2"; fi
}

# missing dev|demo|speaker: those lines of `packages` whose package is not installed.
missing() {
    local wanted
    wanted=$(packages "$1")
    # One dpkg-query for all: a second run waits for it. It fails if it has never heard of one of them.
    # shellcheck disable=SC2016 # dpkg-query's own variables
    awk 'FILENAME != "-" { if ($2 == "installed") have[$1]; next } !($1 in have || seen[$1]++)' \
        <(cut -d ' ' -f 1 <<<"$wanted" |
            xargs dpkg-query -W -f='${Package} ${db:Status-Status}\n' 2>/dev/null) - <<<"$wanted"
}

apt_words() {
    # shellcheck disable=SC2086 # one word per package
    echo "apt-get update && apt-get install --no-install-recommends" $names
}

is_root() { [[ $(id -u) == 0 ]]; }

# become_root: makes sure that as_root will work, or says what an administrator has to do.
become_root() {
    if is_root; then return; fi
    if command -v sudo >/dev/null; then
        if sudo -n true 2>/dev/null; then return; fi
        if [[ -t 0 ]]; then
            say "Installing them needs an administrator's rights: sudo may ask for your password."
            if sudo -v; then return; fi
        fi
    fi
    die "Without an administrator's rights they cannot be installed. Have an administrator run, as root:
    $(apt_words)
and then run this again."
}

as_root() {
    if is_root; then "$@"; else sudo "$@"; fi
}

# apt COMMAND...: the first boot of a new system often holds apt's lock for minutes, so wait for it. Nobody could answer
# whether to keep a changed file of /etc: it is kept.
apt() {
    as_root env LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive \
        apt-get -y -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 \
        -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold "${debs[@]}" "$@" 9>&-
}

# read_lists: apt itself does not wait for the lock of the lists.
read_lists() {
    local start=$SECONDS
    until apt update; do
        if ((SECONDS - start > 300)) || ! tail -n 3 "$log" | grep -q 'Could not get lock .*/lists/lock'; then return 1; fi
        sleep 5
    done
}

# change_packages COMMAND...: where a power cut stopped dpkg halfway, apt refuses until that has been ended.
change_packages() {
    if apt "$@"; then return; fi
    if ! grep -q 'dpkg was interrupted' "$log"; then return 1; fi
    as_root env LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive dpkg --force-confdef --force-confold --configure -a 9>&- || true
    apt "$@"
}

# install_packages dev|demo|speaker
install_packages() {
    local lines
    lines=$(missing "$1")
    if [[ ! $lines ]]; then return; fi
    names=$(cut -d ' ' -f 1 <<<"$lines" | xargs)
    say "Debian packages to install:"
    say "  ${lines//$'\n'/$'\n'  }"
    become_root
    # A stranger's broken archive must not stop us: what matters shows when we install.
    attempt "Reading the lists of packages (about 10 s)" read_lists || true
    names=$(missing "$1" | cut -d ' ' -f 1 | xargs) # the lists may have been empty, or old
    # shellcheck disable=SC2086 # one word per package
    step "Installing them (1 to 3 minutes, on a Raspberry Pi up to 10)" \
        change_packages install --no-install-recommends --no-remove $names
    if [[ " $names " == *" pulseaudio "* ]]; then leave_the_sound_alone; fi
}

# The virtual card is a PulseAudio of its own. As a service of every login it would take this machine's sound card away
# from whatever uses it now: PipeWire, or the firmware itself.
leave_the_sound_alone() {
    if command -v systemctl >/dev/null; then
        say "Keeping PulseAudio from starting by itself: the demo starts its own, and yours stays as it is"
        as_root systemctl --global disable pulseaudio.service pulseaudio.socket >/dev/null 2>&1 || true
    fi
}

# --- The machine ----------------------------------------------------------------------------------------------------

check_machine() {
    local architecture
    if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
        die "Earshot needs Debian 12 or newer, or Raspberry Pi OS of 2023 or newer: this system has no apt."
    fi
    architecture=$(dpkg --print-architecture)
    if [[ $architecture != amd64 && $architecture != arm64 ]]; then
        die "Earshot needs a 64-bit system, because its wake words run on onnxruntime, which has no package for" \
            "$architecture. On a Raspberry Pi 3 or newer, install the 64-bit Raspberry Pi OS."
    fi
}

check_checkout() {
    local free
    if [[ ! -w $here || (-e $venv && ! -w $venv) ]]; then
        die "You may not write in $here. Run this as the owner of that directory, or make a checkout of your own."
    fi
    free=$(df -Pm "$here" | awk 'NR == 2 { print $4 }')
    if ((free < free_mb)); then
        die "Only $free MB are free where $here is; $free_mb MB are needed. Make room and run this again."
    fi
}

check_python() {
    if [[ -x $python ]] && ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
        die "Earshot needs Python 3.11 or newer, and $python is $("$python" -V 2>&1)." \
            "Upgrade this system to Debian 12 or newer, or Raspberry Pi OS of 2023 or newer."
    fi
}

# --- .venv ----------------------------------------------------------------------------------------------------------

# base: what a .venv cannot survive a change of.
base() { say "$(readlink -f "$python") $venv"; }

stamp() {
    base
    cat "${pins[@]}" | sha256sum
}

is_venv_ready() { [[ -f $venv/stamp && $(<"$venv/stamp") == "$(stamp)" ]]; }

# in_venv COMMAND...: runs a command of .venv as if it were the only Python here. How pip reaches its index is the
# owner's to say; what else they told it (PIP_USER, PIP_TARGET, ...) would install elsewhere.
in_venv() (
    for name in "${!PIP_@}"; do
        case $name in
            PIP_*INDEX* | PIP_FIND_LINKS | PIP_TRUSTED_HOST | PIP_*CERT | PIP_PROXY) ;;
            PIP_*TIMEOUT | PIP_RETRIES | PIP_CONFIG_FILE | PIP_*CACHE_DIR) ;;
            *) unset "$name" ;;
        esac
    done
    unset PYTHONHOME PYTHONPATH
    # pip unpacks hundreds of MB: /tmp is in memory on Debian 13.
    export PYTHONNOUSERSITE=1 PIP_DISABLE_PIP_VERSION_CHECK=1 TMPDIR=$venv/tmp
    command=$venv/bin/$1
    shift
    exec "$command" "$@"
)

# pip ARGUMENT...: installs exactly what it is told, into .venv. To compile all of it would take a small Pi minutes.
pip() { in_venv python -P -m pip --no-input install --no-user --progress-bar off --no-compile --no-deps "$@"; }

# The virtual card for a desktop that excludes the package: its program and modules in .venv.
unpack_pulseaudio() {
    local tree=$venv/pulseaudio
    rm -rf "$tree"
    mkdir "$tree"
    step "Unpacking PulseAudio into .venv, as this system has PipeWire (5 s)" download_pulseaudio "$tree"
    cat >"$tree/run" <<'END'
#!/bin/sh
tree=$(dirname "$(readlink -f "$0")")
modules=$(dirname "$(find "$tree" -name module-null-sink.so)")
export LD_LIBRARY_PATH="$(dirname "$(find "$tree" -name 'libpulsecore-*.so')"):$modules"
exec "$tree/usr/bin/pulseaudio" --dl-search-path="$modules" "$@"
END
    chmod +x "$tree/run"
    ln -sf ../pulseaudio/run "$venv/bin/pulseaudio"
}

download_pulseaudio() (
    cd "$1" && apt-get download pulseaudio && dpkg-deb --extract pulseaudio_*.deb . && rm pulseaudio_*.deb
)

has_pulseaudio() { [[ -x $venv/bin/pulseaudio ]] || ! excludes_pulseaudio; }

# make_venv dev|speaker
make_venv() {
    local over=()
    # Without a stamp, pip may have been stopped halfway through a package, which it would take for installed.
    if [[ ! -f $venv/stamp || $(head -n 1 "$venv/stamp") != "$(base)" ]]; then
        rm -rf "$venv"
        mkdir -p "$(dirname "$venv")"
        step "Making a Python environment (5 s, on a Raspberry Pi 30 s)" \
            env -u PYTHONHOME -u PYTHONPATH "$python" -I -m venv --system-site-packages "$venv"
        # Else pip takes packages of Debian, which have no hashes. It then replaces nothing: not what Python 3.11 put there.
        over=(--ignore-installed)
        rm -rf "$venv"/lib/python3*/site-packages/{setuptools,pkg_resources}*
    fi
    rm -f "$venv/stamp"
    mkdir -p "$venv/tmp"
    step "Installing Python packages: 200 MB (1 minute, on a Raspberry Pi 5)" \
        pip --require-hashes --only-binary :all: "${over[@]}" "${wheels[@]}" --requirement "$requirements"
    if [[ $1 == dev ]]; then
        step "Installing Earshot itself (5 s)" pip --no-build-isolation --no-index --editable "$here"
    else # whose user may not write there, and would compile it at each start
        step "Compiling what is used often (20 s)" in_venv python -m compileall -q -x "$rare" "$venv/lib"
    fi
    step "Trying what was installed (a few seconds)" in_venv python -c "import $(modules "$1")"
    rm -rf "$venv/tmp" "$venv/share/earshot" # the network was made of other models, perhaps
    sync                                     # a stamp that outlives a power cut must not outlive what it vouches for
    stamp >"$venv/stamp"
}

# modules dev|speaker: what has to import, with commas.
modules() {
    local all=gpiozero,numpy,onnxruntime,pocketsphinx,pyaudio,samplerate,websocket,websockets
    if [[ $1 == dev ]]; then echo "$all,device,matplotlib"; else echo "$all,onnx"; fi
}

# has_network: made after what makes it was changed, where that can be.
has_network() {
    local network
    for network in "$venv"/share/earshot/wake-*.onnx; do
        if [[ -e $network && (! $graph || $network -nt $graph) ]]; then return; fi
    done
    return 1
}

make_network() {
    attempt "Making the wake word network (a second, on a Raspberry Pi 10)" in_venv python -m device.hearing.wake.streaming ||
        say "The wake words work without it too, but take five times as much of the processor. Run this again to try again."
}

# --- What it is told to do ------------------------------------------------------------------------------------------

# is_ready dev|demo
is_ready() { is_venv_ready && has_network && has_pulseaudio && [[ ! $(missing "$1") ]]; }

# prepare dev|demo: silent if there is nothing to do.
prepare() {
    if is_ready "$1"; then return; fi
    check_machine
    exec 9<"$here" # kept open in pip: if only this script is killed, the next run waits for the orphan
    if ! flock -n 9; then
        say "Another run is at work here; waiting for it to end."
        flock -w 1800 9 || die "It is still at work. Run this again when it has ended."
    fi
    if ! is_venv_ready; then check_checkout; fi
    check_python
    install_packages "$1"
    check_python
    if ! is_venv_ready; then make_venv dev; fi
    if ! has_network; then make_network; fi
    if ! has_pulseaudio; then unpack_pulseaudio; fi
    exec 9<&-
    rm -f "${log:-}" # main may exec, which skips the trap
    say "Everything is prepared: .venv/bin/earshot --help"
}

main() {
    case ${1:-} in
        --help | -h) usage ;;
        --demo)
            prepare demo
            shift
            unset PYTHONHOME PYTHONPATH # of another project's shell
            PATH=$venv/bin:$PATH exec "$venv/bin/earshot" demo "$@"
            ;;
        --dev)
            if (($# > 1)); then
                usage >&2
                exit 2
            fi
            prepare dev
            ;;
        --image)
            check_python
            exec env -u PYTHONHOME PYTHONPATH="$here" PYTHONDONTWRITEBYTECODE=1 "$python" -s -P -m device.install.image "$@"
            ;;
        *)
            # shellcheck source=device/install/flash.sh
            source "$here/device/install/flash.sh"
            flash "$@"
            ;;
    esac
}

if [[ ${BASH_SOURCE[0]} == "$0" ]]; then main "$@"; fi
