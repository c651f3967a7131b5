#!/bin/sh
# Installs Anchorhold from the folder that this script lies in, without a network.
# Nothing is written to that folder. Either the installation is complete and switched to, or it is as before.
set -eu

usage() {
    cat <<'EOF'
usage: sh install.sh [--prefix DIR] [--set device|workshop|all] [--python PROGRAM]

  --prefix DIR      where to install (default: /opt/anchorhold)
  --set SET         device:   install sticks, serve, chat, terminal UI (default)
                    workshop: fine-tune, measure and sign, with the base model
                    all:      both
  --python PROGRAM  the Python to use (default: the one this bundle is made for)

Run again to repair, to change the set, or from a newer bundle to upgrade.
EOF
}

die() {
    echo "error: $1" >&2
    [ -z "${2-}" ] || echo "hint: $2" >&2
    exit "${3-11}"
}

prefix=/opt/anchorhold
set_name=device
python=
while [ $# -gt 0 ]; do
    case "$1" in
        --prefix | --set | --python)
            [ $# -ge 2 ] || die "$1 needs a value" "sh install.sh --help" 2
            case "$1" in
                --prefix) prefix=$2 ;;
                --set) set_name=$2 ;;
                --python) python=$2 ;;
            esac
            shift 2
            ;;
        -h | --help) usage; exit 0 ;;
        *) die "unknown argument $1" "sh install.sh --help" 2 ;;
    esac
done
case "$set_name" in
    device) folders="device tui"; checks="import llama_cpp.llama_cpp, textual" ;;
    workshop) folders="device workshop tokens model"; checks="import llama_cpp.llama_cpp, torch, peft, pkcs11" ;;
    all) folders="device tui workshop tokens model"; checks="import llama_cpp.llama_cpp, textual, torch, peft, pkcs11" ;;
    *) die "no set named $set_name" "device, workshop or all" 2 ;;
esac
[ -n "$prefix" ] || die "the prefix is empty" "sh install.sh --prefix /opt/anchorhold" 2

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd -P)
[ -f "$here/MANIFEST.sha256" ] || die "$here holds no MANIFEST.sha256" "run install.sh from inside a whole bundle" 8

# --- is this bundle whole? ---------------------------------------------------------------------------------
command -v sha256sum >/dev/null 2>&1 || die "sha256sum is missing" "install coreutils or busybox"
echo "checking the bundle ..."
(cd "$here" && sha256sum -c MANIFEST.sha256) >/dev/null 2>&1 || {
    (cd "$here" && sha256sum -c MANIFEST.sha256 2>&1 | grep -v ': OK$' | head -n 5 >&2) || :
    die "the bundle is damaged or was changed" "copy it again from its source; nothing was installed" 8
}
bundle_version='' bundle_python='' bundle_glibc=''
# Only after the check: this file is code to the shell.
. "$here/bundle.env"

# --- is this machine one it runs on? -----------------------------------------------------------------------
[ "$(uname -s)" = Linux ] && [ "$(uname -m)" = x86_64 ] ||
    die "this is $(uname -s) on $(uname -m)" "this bundle is for Linux on x86-64" 2
glibc=$(getconf GNU_LIBC_VERSION 2>/dev/null | cut -d' ' -f2) || glibc=
if [ -n "$glibc" ] && [ -n "$bundle_glibc" ]; then
    oldest=$(printf '%s\n%s\n' "$glibc" "$bundle_glibc" | sort -t. -k1,1n -k2,2n | head -n 1)
    [ "$oldest" = "$bundle_glibc" ] ||
        die "glibc $glibc is older than the bundle's $bundle_glibc" "make the bundle on a system as old as this one" 2
fi
[ -n "$python" ] || for python in "python$bundle_python" python3; do
    command -v "$python" >/dev/null 2>&1 && break
done
found=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) ||
    die "no Python $bundle_python found" "install it, or name it: --python /path/to/python$bundle_python" 2
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    die "$python is Python $found" "3.11 or newer is needed" 2
[ "$found" = "$bundle_python" ] ||
    die "$python is Python $found, the wheels here are for $bundle_python" \
        "install Python $bundle_python, or make the bundle with Python $found" 2

# --- install beside, then switch ---------------------------------------------------------------------------
mkdir -p "$prefix/versions" 2>/dev/null || die "can't write to $prefix" "run as root, or give another --prefix"
prefix=$(CDPATH='' cd -- "$prefix" && pwd -P)
current=$(readlink "$prefix/current" 2>/dev/null) || current=
for old in "$prefix"/versions/* "$prefix"/.current.*; do
    # Leftovers of an installation that was killed, and what an upgrade left behind the last time.
    [ "$old" = "$prefix/$current" ] || rm -rf -- "$old"
done
digest=$(sha256sum "$here/MANIFEST.sha256" | cut -c1-8)
name="$bundle_version-$set_name-$digest"
number=1
while [ -e "$prefix/versions/$name.$number" ]; do number=$((number + 1)); done
new="$prefix/versions/$name.$number"

finished=no
clean_up() {
    [ "$finished" = yes ] || rm -rf -- "$new" "$prefix/.current.$$"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

echo "installing the $set_name set into $new ..."
"$python" -m venv --without-pip "$new" || die "$python can't make a virtual environment" "is its venv module there?"
set --
for folder in $folders; do
    set -- "$@" --find-links "$here/wheels/$folder" -r "$here/requirements/$folder.txt"
done
pip=$(echo "$here"/wheels/tools/pip-*.whl)
# pip runs out of its own wheel: a device needs no installer afterwards. No configuration of the machine has a say.
PIP_CONFIG_FILE=/dev/null PYTHONNOUSERSITE=1 PYTHONDONTWRITEBYTECODE=1 "$new/bin/python" -I -c '
import runpy, sys
sys.path.insert(0, sys.argv[1]); sys.argv[1:2] = []
runpy.run_module("pip", run_name="__main__", alter_sys=True)' "$pip" --isolated install \
    --no-index --require-hashes --no-deps --only-binary :all: --no-cache-dir --disable-pip-version-check --quiet "$@" ||
    die "installing failed" "is there space in $prefix? Nothing was changed"

# The llama.cpp wheel holds three copies of each library where links should be. One file under three names takes a
# third of the room, and the dynamic linker then loads it once, whichever name is asked for.
"$new/bin/python" -I -c '
import hashlib, os, pathlib, sys
first = {}
for file in sorted(pathlib.Path(sys.argv[1]).rglob("*.so*")):
    if file.is_symlink() or not file.is_file():
        continue
    original = first.setdefault(hashlib.sha256(file.read_bytes()).digest(), file)
    if original is not file:
        beside = file.with_name(file.name + ".link")
        try:
            os.link(original, beside)
        except OSError:
            break  # a file system without hard links: it only takes more room
        os.replace(beside, file)
' "$new/lib" || die "putting the libraries in order failed"

echo "trying it ..."
"$new/bin/anchorhold" --version >/dev/null || die "the program does not start here" "see the lines above"
(cd / && "$new/bin/python" -I -c "$checks") || die "a library does not load here" "see the lines above"

ln -s "versions/$name.$number" "$prefix/.current.$$"
mv -T "$prefix/.current.$$" "$prefix/current"
mkdir -p "$prefix/bin"
ln -sf ../current/bin/anchorhold "$prefix/bin/anchorhold"
sync
finished=yes

echo "installed: $("$prefix/bin/anchorhold" --version) in $prefix ($(du -sm "$new" | cut -f1) MB)"
echo
echo "Next (with $prefix/bin in PATH):"
case "$set_name" in
    device | all)
        echo "  anchorhold install STICK --trust ROOT.json   the first stick, with the root of trust you were given"
        echo "  anchorhold serve                             answer requests"
        echo "  anchorhold                                   the terminal UI" ;;
esac
case "$set_name" in
    workshop | all)
        echo "  anchorhold init DIR                          begin a project; put examples into DIR/data"
        echo "  anchorhold build --project DIR               examples to a signed stick"
        echo "  (a sample project: $here/examples/workorders)" ;;
esac
