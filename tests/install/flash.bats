#!/usr/bin/env bats
# The functions of install.sh and device/install/flash.sh, among fakes of what they call. Whole runs: tests/test_install.py, test_flash.py.
# shellcheck disable=SC2016,SC2030,SC2031,SC2034,SC2154,SC2317 # a test has its own shell; its functions and variables are theirs, too

setup() {
    # shellcheck source=install.sh
    source "$BATS_TEST_DIRNAME/../../install.sh"
    # shellcheck source=device/install/flash.sh
    source "$here/device/install/flash.sh"
    set +u # bats does without
    cd "$BATS_TEST_TMPDIR" || exit
    work=$PWD log=$PWD/log
    mkdir -p bin debs tree/etc
    touch debs/Packages secret
    PATH=$PWD/bin:$PATH
    settings=$PWD/earshot.toml packages_before=$PWD/opt/packages-before key_given=''
    is_root() { true; }
}

# fake NAME SCRIPT: a program that comes first. It writes its words to `calls`.
fake() {
    printf '#!/bin/bash\necho "%s $*" >>"%s/calls"\n%s\n' "$1" "$PWD" "$2" >"bin/$1"
    chmod +x "bin/$1"
}

refused() {
    run understand "${@:2}"
    [[ $status == 2 && $output == "install.sh: "*"$1"* ]]
}

@test "each option is understood" {
    understand --board panel --agent openai --key-file secret --offline . --root tree --yes --dry-run
    [[ $board == panel && $agent == openai && $key_file == "$PWD/secret" && $offline == "$PWD" && $root == "$PWD/tree" ]]
    [[ $yes && $dry_run && ! $order && ! $purge && ! $no_key ]]
    understand --uninstall --purge
    [[ $order == --uninstall && $purge && ! $board && ! $yes ]]
    understand --download "new/a folder"
    [[ $order == --download && $offline == "$PWD/new/a folder" ]]
    understand --dry-run --update
    [[ $order == --update && $dry_run ]]
    for word in --update --rollback --list-boards; do
        understand --no-key "$word"
        [[ $order == "$word" && $no_key ]]
    done
}

@test "a mistake ends in a sentence" {
    refused "There is no option --bord" --bord panel
    refused "There is no option panel" panel
    refused "--board needs a word" --board
    refused "--board needs a word" --board --yes
    refused "--offline needs a word" --yes --offline ""
    refused "--update and --rollback cannot both be done" --update --rollback
    refused "--uninstall and --download cannot both be done" --uninstall --download .
    refused "--purge belongs to --uninstall" --purge
    refused "--purge belongs to --uninstall" --update --purge
    refused "--dry-run is for an installation or --update, not for --uninstall" --uninstall --purge --dry-run
    refused "not for --rollback" --dry-run --rollback
    refused "not for --download" --dry-run --download .
}

@test "a path that leads nowhere ends in a sentence" {
    refused "no/such/file cannot be read" --key-file no/such/file
    refused "there is no system in it" --root no/such/directory
    refused "there is no system in it" --root debs
    refused "was not filled by ./install.sh --download" --offline no/such/directory
    refused "was not filled by ./install.sh --download" --offline tree
}

@test "advice goes by the lines that report an error" {
    names="one two"
    while IFS='|' read -r line wanted; do
        printf 'Get:1 openssl connect timeout\n%s\n' "$line" >log
        [[ $(advice) == *"$wanted"* ]]
    done <<'END'
E: You don't have enough free space in /var/cache/apt/archives/.|The disk is full.
E: Packages need to be removed but remove is disabled.|--no-install-recommends one two.
E: Could not get lock /var/lib/dpkg/lock-frontend|Another program is installing packages.
ERROR: THESE PACKAGES DO NOT MATCH THE HASHES|changed or damaged
ERROR: Could not find a version: SSLError|The network failed.
nothing of all this|The lines above say what went wrong.
END
}

@test "a speaker needs no compiler, and lgpio where the archive has it" {
    fake dpkg-query 'exit 1'
    fake apt-cache 'exit 1'
    run packages speaker
    [[ $output == *python3-pyaudio* && $output != *lgpio* && $output != *-dev\ * && $output != *gcc* ]]
    fake apt-cache ''
    debs=(-o Dir::State::Lists=here)
    run packages speaker
    [[ $output == *python3-lgpio* && $(tail -n 1 calls) == "apt-cache -o Dir::State::Lists=here show python3-lgpio" ]]
}

@test "only what is not installed is missing, each once" {
    packages() { printf '%s\n' "one    first" "two    second" "three  third" "two    again"; }
    fake dpkg-query 'printf "one installed\nthree config-files\n"; exit 1'
    run missing speaker
    [[ $output == "two    second"$'\n'"three  third" ]]
    fake dpkg-query 'printf "one installed\ntwo installed\nthree installed\n"'
    run missing speaker
    [[ ! $output ]]
}

@test "offline, apt and pip know the directory and nothing else" {
    offline="$PWD/a folder"
    mkdir -p "$offline/debs"
    fake apt-get ''
    use_offline
    [[ $(<calls) == *" update" ]] # its list is read before anybody looks into it
    [[ $(<sources.list) == "deb [trusted=yes] file:$PWD/offline/debs ./" && -d offline/debs ]]
    [[ $(<calls) == *" Dir::Etc::SourceList=$PWD/sources.list -o Dir::Etc::SourceParts=/dev/null "* ]]
    [[ ${wheels[*]} == "--no-index --find-links $PWD/offline/wheels" ]]
}

@test "another system is entered with the paths that it sees" {
    fake chroot ''
    fake unshare 'printf "%s;" "${@: -7}" >words'
    key_file=$PWD/secret offline=$PWD root=$PWD/tree here=/source
    run enter --root tree --board "my board" --key-file secret --offline debs --yes
    [[ $(<words) == "--board;my board;--key-file;/run/earshot/key;--offline;/run/earshot/offline;--yes;" ]]
    [[ $(<calls) == *" bash $PWD/tree /source $PWD/secret $PWD --board "* ]]
}

@test "another system is entered to download into a directory that is made for it" {
    fake chroot ''
    fake unshare ''
    order=--download offline=$PWD/new/folder root=$PWD/tree
    run enter --download new/folder --root tree
    [[ -d new/folder && $(<calls) == *" --download /run/earshot/offline" ]]
}

@test "packages that only it needed are left to apt" {
    fake apt-mark ''
    fake apt-get ''
    run release_packages "flite alsa-utils"
    [[ $output == *"sudo apt autoremove" && $(<calls) == "apt-mark auto flite alsa-utils" ]]
}

@test "with --purge they go" {
    purge=1
    fake apt-mark ''
    fake apt-get 'printf "Inst other\nPurg flite [1]\nRemv alsa-utils [2]\n"'
    run release_packages "flite alsa-utils more"
    [[ $status == 0 && $(tail -n 1 calls) == *" purge alsa-utils flite" && $(tail -n 1 calls) != *--simulate* ]]
}

@test "with --purge they go, and what others left behind stays" {
    purge=1
    fake apt-mark ''
    fake apt-get 'printf "Remv flite [1]\n"; if [[ $* == *autoremove ]]; then echo "Remv old-kernel [2]"; fi'
    run release_packages "flite more"
    [[ $status == 0 && $(tail -n 1 calls) == *" purge flite" && $(tail -n 1 calls) != *--simulate* ]]
}

@test "with --purge they stay if apt cannot tell what would go" {
    purge=1
    fake apt-mark ''
    fake apt-get 'if [[ $* == *autoremove ]]; then echo "Remv flite [1]"; else exit 100; fi'
    run release_packages "flite"
    [[ $status == 0 && $output == *"stay until you run"* && $(tail -n 1 calls) == *--simulate* ]]
}

@test "with --purge they stay if packages of others would go as well" {
    purge=1
    fake apt-mark ''
    fake apt-get 'printf "Purg flite [1]\nPurg curl [2]\n"'
    run release_packages "flite alsa-utils"
    [[ $output == *"stay until you run"* && $(tail -n 1 calls) == *--simulate* ]]
}

@test "what was installed for it is remembered" {
    fake dpkg-query "cat '$PWD/packages'"
    fake apt-mark ''
    printf 'installed %s\n' hello curl >packages
    missing() { echo flite; }
    install_packages() { printf 'installed %s\n' chromium flite >>packages; }
    room() { echo "$*: $(xargs)" >told; }
    speaker_packages
    [[ $(<told) == "remember packages: chromium flite" && ! $(ls opt) ]]
}

@test "what an interrupted run installed is remembered by the next one, but not what the owner installed meanwhile" {
    fake dpkg-query "cat '$PWD/packages'"
    fake apt-mark 'printf "%s\n" vim flite curl'
    printf 'installed %s\n' hello curl >packages
    missing() { echo flite; }
    install_packages() { printf 'installed %s\n' flite libflite1 >>packages && exit 1; }
    room() { echo "$*: $(xargs)" >told; }
    run speaker_packages
    [[ $status == 1 && ! -e told ]]
    printf 'installed vim\n' >>packages
    missing() { true; }
    speaker_packages
    [[ $(<told) == "remember packages: flite libflite1" && ! $(ls opt) ]]
}

@test "what dpkg was stopped in is ended, then it goes on" {
    fake apt-get "if [[ ! -e mended ]]; then echo 'E: dpkg was interrupted, you must manually run'; exit 100; fi"
    fake dpkg 'touch mended'
    step "Installing" change_packages install flite
    [[ $(sed 's/ .* / … /' calls | xargs) == "apt-get … flite dpkg … -a apt-get … flite" ]]
    rm mended calls
    fake apt-get 'echo "E: Unable to locate package"; exit 100'
    run step "Installing" change_packages install flite
    [[ $status == 1 && $(grep -c ^dpkg calls) == 0 ]]
}

@test "nobody is asked about a changed file of /etc" {
    fake apt-get ''
    apt install flite
    [[ $(<calls) == *" -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold install flite" ]]
}

@test "the lists are read when nobody else reads them any more" {
    sleep() { touch free; }
    fake apt-get 'if [[ ! -e free ]]; then printf "E: Could not get lock /x/lists/lock. It is held\nE: Unable to lock\n"; exit 100; fi'
    attempt "Reading" read_lists
    [[ $(grep -c ^apt-get calls) == 2 ]]
    fake apt-get 'echo "E: Failed to fetch"; exit 100'
    run attempt "Reading" read_lists
    [[ $status == 1 && $(grep -c ^apt-get calls) == 3 ]]
    fake apt-get 'echo "E: Could not get lock /x/lists/lock."; exit 100'
    sleep() { SECONDS=$((SECONDS + 301)); }
    run attempt "Reading" read_lists
    [[ $status == 1 && $(grep -c ^apt-get calls) == 5 ]]
}

@test "what lies in the directory where root happens to be is not run" {
    mkdir -p device/install
    echo 'raise SystemExit("hijacked")' | tee device/__init__.py >device/install/__init__.py
    run room boards
    [[ $status == 0 && $output == *"speakerphone"* ]]
    run bash "$here/install.sh" --image --help
    [[ $status == 0 && $output == *"--image IN.img"* ]]
}

@test "an environment in use is not made anew because of pyproject.toml" {
    here=$PWD
    mkdir services
    touch pyproject.toml services/requirements.lock
    room() { echo hash; }
    speaker_environment
    before=$(stamp)
    echo changed >pyproject.toml
    [[ $(stamp) == "$before" ]]
    echo changed >services/requirements.lock
    [[ $(stamp) != "$before" ]]
}

@test "a key that serves nobody is told of" {
    is_elsewhere() { true; }
    room() { cat >/dev/null; }
    key_file='' key=''
    keep_key
    [[ $(finish) != *"[agent] protocol"* ]]
    key=sk-hunter2
    keep_key
    [[ $(finish) == *"[agent] protocol in $settings, then sudo systemctl restart earshot."* ]]
    printf '%s\n' '[agent]' '#protocol = "openai"' 'protocol = "local"' >"$settings"
    [[ $(finish) == *"[agent] protocol"* ]]
    printf '%s\n' '[agent]' 'protocol = "openai"' >"$settings"
    [[ $(finish) != *"[agent] protocol"* ]]
}

@test "Ctrl-C before the restart puts it off, and all is well" {
    fake systemctl ''
    eval "$(declare -f finish | sed "s|/run/earshot-reboot|$PWD|")"
    sleep() { kill -INT "$BASHPID"; }
    run finish
    [[ $status == 0 && $output == *"Restart it later: sudo reboot." && ! -e calls ]]
}

@test "files of another system are readable there, too" {
    enter() { umask && exit; }
    umask 077
    run flash --root tree --yes
    [[ $output == 0022 ]]
}

@test "a system of another processor needs qemu, which is said" {
    fake chroot 'exit 126'
    root=$PWD/tree
    run enter --root tree --yes
    [[ $status == 1 && $output == *"cannot run programs of the system in $PWD/tree."*qemu-user-static* ]]
}

@test "the key is asked for only where somebody can answer" {
    for given in key_file=x no_key=1 yes=1 order=; do
        understand
        declare -g "$given"
        run ask_key </dev/null
        [[ $status == 0 && ! $output ]]
    done
}

@test "a key goes by a pipe, never by the words of a command" {
    room() { echo "$*: $(cat)" >>told; }
    key_file='' key=sk-hunter2
    keep_key
    [[ $(<told) == "key: sk-hunter2" && ! $key ]]
    echo sk-file >secret
    key_file=$PWD/secret
    keep_key
    [[ $(tail -n 1 told) == "key: sk-file" ]]
}
