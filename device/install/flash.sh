# shellcheck shell=bash
# install.sh makes a machine a speaker. Read by it, and uses its functions: apt and pip work here, the rest is device.install.

settings=/etc/earshot/earshot.toml
packages_before=/opt/earshot/packages-before # what was installed when apt was first asked; gone when all is remembered

# room COMMAND...: what Python does. -P: root does not run what lies in the directory where it happens to be.
room() { env -u PYTHONHOME PYTHONPATH="$here" PYTHONDONTWRITEBYTECODE=1 "$python" -s -P -m device.install "$@" 9>&-; }

wrong_use() {
    printf 'install.sh: %s\n' "$*" >&2
    exit 2
}

# understand OPTION...: sets what the rest goes by.
understand() {
    order='' board='' agent='' key_file='' offline='' root='' no_key='' yes='' dry_run='' purge='' key_given=''
    local option
    while (($#)); do
        option=$1
        shift
        case $option in
            --board | --agent | --key-file | --offline | --root | --download)
                if [[ ! ${1:-} || $1 == --* ]]; then wrong_use "$option needs a word after it: see ./install.sh --help"; fi
                ;;&
            --update | --rollback | --uninstall | --list-boards | --download)
                if [[ $order ]]; then wrong_use "$order and $option cannot both be done."; fi
                order=$option
                ;;&
            --board) board=$1 ;;
            --agent) agent=$1 ;;
            --key-file) key_file=$(readlink -m "$1") ;;
            --offline) offline=$(readlink -m "$1") ;;
            --download) offline=$(readlink -m "$1") ;;
            --root) root=$(readlink -m "$1") ;;
            --update | --rollback | --uninstall | --list-boards) ;;
            --no-key) no_key=1 ;;
            --yes) yes=1 ;;
            --dry-run) dry_run=1 ;;
            --purge) purge=1 ;;
            *) wrong_use "There is no option $option: see ./install.sh --help" ;;
        esac
        case $option in --board | --agent | --key-file | --offline | --root | --download) shift ;; esac
    done
    if [[ $dry_run && $order && $order != --update ]]; then wrong_use "--dry-run is for an installation or --update, not for $order."; fi
    if [[ $purge && $order != --uninstall ]]; then wrong_use "--purge belongs to --uninstall."; fi
    if [[ $key_file && ! -r $key_file ]]; then wrong_use "The key file $key_file cannot be read."; fi
    if [[ $root && ! -d $root/etc ]]; then wrong_use "--root $root: there is no system in it."; fi
    if [[ $offline && $order != --download && ! -f $offline/debs/Packages ]]; then
        wrong_use "--offline $offline: that directory was not filled by ./install.sh --download DIR."
    fi
}

flash() {
    understand "$@"
    if [[ $order == --list-boards ]]; then
        check_python
        room boards
        return
    fi
    if [[ ! $dry_run || $root ]] && ! is_root; then die "This needs an administrator's rights: sudo ./install.sh${*:+ $*}"; fi
    umask 022
    if [[ $root ]]; then enter "$@"; fi
    check_machine
    check_python
    work=$(mktemp -d /var/tmp/earshot.XXXXXX) || die "/var/tmp cannot be written to, most likely because its disk is full."
    log=$work/log
    trap 'stop_ticking; rm -rf "$work"' EXIT
    trap 'die "Stopped. Run this again: it goes on where it stopped."' INT TERM HUP
    if [[ ! $dry_run ]]; then
        exec 9>/run/earshot-install.lock
        flock -n 9 || die "Another run is at work. Wait until it has ended, and run this again."
        # What runs left that a power cut ended.
        find /var/tmp -maxdepth 1 -name 'earshot.??????' ! -path "$work" -exec rm -rf {} +
        if [[ $order != --download ]]; then room recover || [[ $order == --uninstall ]]; fi
    fi
    case $order in
        --download) download ;;
        --uninstall) uninstall ;;
        --rollback) roll_back ;;
        *) install_speaker ;;
    esac
}

# enter OPTION...: the same in the system below $root. The mounts are seen by nobody else, and go with the process.
enter() {
    local words=()
    while (($#)); do
        case $1 in
            --root) shift ;;
            --key-file) words+=("$1" /run/earshot/key) && shift ;;
            --offline | --download) words+=("$1" /run/earshot/offline) && shift ;;
            *) words+=("$1") ;;
        esac
        shift
    done
    if ! chroot "$root" /bin/true 2>/dev/null; then
        die "This machine cannot run programs of the system in $root. If that is for another processor:" \
            "sudo apt install qemu-user-static binfmt-support (on Debian 13: qemu-user-binfmt)." \
            "In a container, mount binfmt_misc too. Then run this again."
    fi
    if [[ $order == --download ]]; then mkdir -p "$offline"; fi
    # shellcheck disable=SC2016 # variables of the inner shell
    exec unshare --mount --propagation private bash -euc '
        root=$1 source=$2 key=$3 offline=$4
        shift 4
        mount --bind /dev "$root/dev"
        mount -t proc proc "$root/proc"
        mount -t sysfs sysfs "$root/sys"
        mount -t tmpfs tmpfs "$root/run"
        mkdir -p "$root/run/earshot/source" "$root/run/earshot/offline"
        mount --bind "$source" "$root/run/earshot/source"
        if [[ $(uname -m) != aarch64 && -e $root/lib/ld-linux-aarch64.so.1 ]]; then
            # onnxruntime dies of the list of another architecture. And qemu would compute pointer authentication, which
            # takes 25 times as long as all the rest; a Pi 4 has none.
            for ((n = 0; n < $(nproc --all); n++)); do
                printf "processor\t: %d\nFeatures\t: fp asimd evtstrm crc32 cpuid\nCPU implementer\t: 0x41\n" "$n"
                printf "CPU architecture: 8\nCPU variant\t: 0x0\nCPU part\t: 0xd08\nCPU revision\t: 3\n\n"
            done >"$root/run/earshot/cpuinfo"
            mount --bind "$root/run/earshot/cpuinfo" "$root/proc/cpuinfo"
            export QEMU_CPU=cortex-a72
        fi
        if [[ $key ]]; then install -m 600 "$key" "$root/run/earshot/key"; fi
        if [[ $offline ]]; then mount --bind "$offline" "$root/run/earshot/offline"; fi
        # Names are looked up as they are here. The list there may be a link to what only that system makes when it runs.
        list=$root/etc/resolv.conf
        if [[ -L $list ]]; then
            list=$root$(chroot "$root" readlink -m /etc/resolv.conf)
            if [[ $list == "$root/run/"* ]]; then
                mkdir -p "${list%/*}"
                cat /etc/resolv.conf >"$list"
            fi
        elif [[ -f $list ]]; then
            mount --bind /etc/resolv.conf "$list"
        fi
        trusted=/etc/ssl/certs/ca-certificates.crt # as here: there may be a proxy
        if [[ -f $trusted && -f $root$trusted ]]; then mount --bind "$trusted" "$root$trusted"; fi
        exec env -u TMPDIR LC_ALL=C.UTF-8 HOME=/root EARSHOT_ELSEWHERE=1 \
            PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
            chroot "$root" /run/earshot/source/install.sh "$@"
    ' bash "$root" "$here" "$key_file" "$offline" "${words[@]}"
}

# is_elsewhere: what runs here is another machine than the one that this system is for.
is_elsewhere() { [[ ${EARSHOT_ELSEWHERE:-} ]]; }

install_speaker() {
    local number words=()
    if [[ $order == --update && ! -e /opt/earshot/current ]]; then die "Earshot is not installed here: sudo ./install.sh"; fi
    if [[ $board ]]; then words+=(--board "$board"); fi
    if [[ $agent ]]; then words+=(--agent "$agent"); fi
    if is_elsewhere; then words+=(--elsewhere); fi
    room plan "${words[@]}" ${offline:+--offline} || exit
    if [[ $dry_run ]]; then
        foretell
        return
    fi
    ask_key
    if [[ $offline ]]; then use_offline; fi
    speaker_packages
    number=$(room stage) || exit
    speaker_environment
    cd "/opt/earshot/releases/$number" # where Python looks for the firmware
    if ! is_venv_ready; then make_venv speaker; fi
    if ! has_network; then make_network; fi
    keep_key
    PYTHONDONTWRITEBYTECODE=1 in_venv python -s -m device.install configure "${words[@]}" 9>&- || exit
    if room settled "$number"; then
        say "Nothing to change: release $number is installed$(is_elsewhere || echo " and runs")."
        return
    fi
    start_release "$number"
    finish
}

# foretell: what would be done.
foretell() {
    local lines
    lines=$(missing speaker)
    say "It would install these Debian packages: $(cut -d ' ' -f 1 <<<"${lines:-none}" | xargs)"
    speaker_environment
    if is_venv_ready; then say "Its Python packages are there."; else say "and Python packages: 200 MB, into $venv"; fi
    say "Nothing was changed."
}

# ask_key: the one question.
ask_key() {
    key=
    if [[ $key_file || $no_key || $yes || -e /opt/earshot/current || ! -t 0 ]]; then return; fi
    say "The API key of your agent, which is not shown (Enter for none: the built-in agent needs none):"
    IFS= read -rs key || true
}

keep_key() {
    key_given=${key_file:+1}${key:+1}
    if [[ $key_file ]]; then
        room key <"$key_file" || exit
    elif [[ $key ]]; then
        printf '%s' "$key" | room key || exit
    fi
    key=
}

# tell_of_the_key: that it serves nobody yet, if so.
tell_of_the_key() {
    if [[ ! $key_given ]]; then return; fi
    if grep -Es '^[[:blank:]]*(agent\.)?protocol[[:blank:]]*=' "$settings" | grep -qv "=[[:blank:]]*[\"']local"; then return; fi
    say "The key is stored, but the speaker talks to its built-in agent, which needs none. Whose key it is: set [agent] protocol" \
        "in $settings, then sudo systemctl restart earshot."
}

# speaker_packages: installs them, and remembers what that brought.
speaker_packages() {
    if [[ $(missing speaker) ]]; then
        if [[ ! -e $packages_before ]]; then
            mkdir -p "${packages_before%/*}"
            installed >"$packages_before.new"
            sync "$packages_before.new" # a list that a power cut left empty would make everything ours
            mv "$packages_before.new" "$packages_before"
        fi
        install_packages speaker
    fi
    remember_packages
}

# remember_packages: what came since that list is ours to take away again, now or after a run that was interrupted; but not
# what the owner asked apt for in between.
remember_packages() {
    if [[ ! -e $packages_before ]]; then return; fi
    apt-mark showmanual | LC_ALL=C sort |
        LC_ALL=C comm -23 - <(packages speaker | cut -d ' ' -f 1 | LC_ALL=C sort) >"$work/others"
    installed | LC_ALL=C comm -13 "$packages_before" - | LC_ALL=C comm -23 - "$work/others" | room remember packages || exit
    rm "$packages_before"
}

# installed: all packages, sorted.
installed() {
    # shellcheck disable=SC2016 # dpkg-query's own variables
    dpkg-query -W -f='${db:Status-Status} ${Package}\n' | sed -n 's/^installed //p' | LC_ALL=C sort
}

# use_offline: apt and pip take what --download fetched, and nothing else.
use_offline() {
    ln -s "$offline" "$work/offline" # for a path without spaces
    mkdir -p "$work/lists/partial"
    say "deb [trusted=yes] file:$work/offline/debs ./" >"$work/sources.list"
    debs=(-o "Dir::Etc::SourceList=$work/sources.list" -o Dir::Etc::SourceParts=/dev/null
        -o "Dir::State::Lists=$work/lists" -o APT::Sandbox::User=root)
    # shellcheck disable=SC2034 # read in install.sh
    wheels=(--no-index --find-links "$work/offline/wheels")
    apt update >/dev/null 2>&1 || true # `optional` looks into its list; whether that works shows when we install
}

# speaker_environment: from here on, the functions of install.sh make the speaker's environment.
speaker_environment() {
    requirements=$here/services/requirements.lock
    # shellcheck disable=SC2034 # these are read in install.sh
    {
        pins=("$requirements") # as its name: a change of anything else must not take apart the one that is in use
        graph=                 # which is in its name too
        room_at=/opt free_mb=1000
    }
    venv=/opt/earshot/venvs/$(room environment)
}

# start_release NUMBER: as a service of its own, since this terminal's connection may break at the wrong moment.
start_release() {
    local command=("$python" -s -P -m device.install switch "$1")
    say "Starting release $1"
    if [[ -d /run/systemd/system ]]; then
        systemd-run --quiet --wait --pipe --collect --setenv=PYTHONDONTWRITEBYTECODE=1 \
            --setenv=PYTHONPATH="/opt/earshot/releases/$1" "${command[@]}" 9>&-
    else
        room switch "$1"
    fi || die "Release $1 does not work as it should; what is above says why." \
        "When that is mended, run this again: it goes on where it stopped."
}

finish() {
    tell_of_the_key
    if is_elsewhere; then
        say "Earshot is installed. It says \"ready\" when that machine has started."
    elif [[ -e /run/earshot-reboot ]]; then
        say "The sound board works after a restart. Restarting in 10 s; Ctrl-C: later, by sudo reboot."
        trap 'say "Restart it later: sudo reboot."; exit 0' INT
        sleep 10
        systemctl reboot
    else
        say "Done: say \"hey jarvis\". Settings are in /etc/earshot/earshot.toml; sudo earshot check tries every part."
    fi
}

roll_back() {
    local number
    number=$(room previous) || exit
    start_release "$number"
    say "Release $number runs again."
    finish
}

uninstall() {
    local ours
    if [[ -d /run/systemd/system ]]; then
        systemctl stop earshot.service earshot-agent.service earshot-mixer.service 2>/dev/null || true
    fi
    remember_packages
    ours=$(room recall packages | xargs)
    room remove ${purge:+--purge} || exit
    if [[ -d /run/systemd/system ]]; then
        systemctl daemon-reload
        systemctl reset-failed 'earshot*' 2>/dev/null || true
        systemctl try-restart systemd-journald.service || true
    fi
    if [[ $ours ]]; then release_packages "$ours"; fi
    rm -f /run/earshot-install.lock
    if [[ $purge ]]; then
        say "Earshot is gone, with everything that it kept."
    else
        say "Earshot is gone. Its settings, key and voices are kept; --uninstall --purge takes them away too."
    fi
}

# release_packages NAMES: apt may remove them from now on. With --purge it does with those that nothing else came to need.
release_packages() {
    local gone all
    # shellcheck disable=SC2086 # one word per package
    apt-mark auto $1 >/dev/null 2>&1 || true
    if [[ ! $purge ]]; then
        say "Packages that only it needed go by: sudo apt autoremove"
        return
    fi
    tr ' ' '\n' <<<"$1" | LC_ALL=C sort >"$work/ours"
    if gone=$(would_go autoremove | LC_ALL=C comm -12 - "$work/ours" | xargs) && [[ ! $gone ]]; then return; fi
    # shellcheck disable=SC2086 # one word per package
    if all=$(would_go purge $gone) && [[ ! $(LC_ALL=C comm -23 <(echo "$all") "$work/ours") ]]; then
        step "Removing the packages that only it needed" change_packages purge $gone
    else
        say "Packages of others would go as well, so those that only it needed stay until you run: sudo apt autoremove"
    fi
}

# would_go COMMAND...: the packages that apt would remove, sorted.
would_go() { apt-get --simulate "$@" 2>/dev/null | awk '/^(Remv|Purg) / { print $2 }' | LC_ALL=C sort; }

# download: what a machine with this system needs, whatever it has already.
download() {
    local names
    mkdir -p "$offline/debs/partial" "$offline/wheels"
    attempt "Reading the lists of packages (about 10 s)" read_lists || true
    names=$(packages speaker | cut -d ' ' -f 1 | xargs)
    : >"$work/status" # nothing is installed, as far as apt knows
    debs=(-o "Dir::State::Status=$work/status" -o "Dir::Cache::Archives=$offline/debs/" -o APT::Sandbox::User=root)
    # shellcheck disable=SC2086 # one word per package
    step "Downloading Debian packages" apt --download-only --no-install-recommends install $names
    rm -rf "$offline/debs/partial" "$offline/debs/lock"
    room index "$offline/debs" || exit
    venv=$work/venv
    debs=()
    if ! is_installed python3-venv; then
        step "Installing python3-venv, by which Python packages are downloaded" apt install --no-install-recommends python3-venv
    fi
    step "Making a Python environment to download with" "$python" -I -m venv "$venv"
    mkdir "$venv/tmp"
    step "Downloading Python packages: 200 MB" in_venv python -P -m pip --no-input download --no-deps --require-hashes \
        --only-binary :all: --requirement "$here/services/requirements.lock" --dest "$offline/wheels"
    say "Everything is there: sudo ./install.sh --offline DIR"
}
