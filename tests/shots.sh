#!/usr/bin/env bash
# Screenshots of the real program in a real terminal, without a display, at the main moments.
#
#   tests/shots.sh OUT [PROGRAM]      PNG files into the folder OUT; look at each of them
#
# Needs xterm, Xvfb, xdotool, xwd and convert (Debian: xterm xvfb xdotool x11-apps imagemagick
# fonts-dejavu-core). GEOMETRY=80x24 for another size, GRAPHICS=halfblock for another way to draw.
set -euo pipefail
out=${1:?usage: tests/shots.sh OUT [PROGRAM]}
root=$(cd "$(dirname "$0")/.." && pwd)
program=$(realpath "${2:-$root/target/release/sonomark}")
for tool in xterm Xvfb xdotool xwd convert; do
  command -v "$tool" >/dev/null || { echo "$tool is missing; see the head of $0" >&2; exit 2; }
done
mkdir -p "$out"
tmp=$(mktemp -d) server='' terminal=''
cleanup() {
  set +e
  [ -n "$terminal" ] && kill "$terminal"
  [ -n "$server" ] && kill "$server"
  wait
  rm -rf "$tmp"
} 2>/dev/null
trap cleanup EXIT

# Without -noreset the server forgets everything when its first client leaves.
Xvfb -displayfd 3 -noreset -screen 0 1920x1200x24 -nolisten tcp 3>"$tmp/display" 2>/dev/null &
server=$!
for _ in $(seq 100); do [ -s "$tmp/display" ] && break; sleep 0.1; done
DISPLAY=:$(cat "$tmp/display")
export DISPLAY

# xterm drops sixels beyond maxGraphicSize without a word.
XDG_CONFIG_HOME=$tmp LANG=C.UTF-8 xterm -ti vt340 -tn xterm-256color -geometry "${GEOMETRY:-150x50}+0+0" \
  -xrm 'XTerm*maxGraphicSize: 4096x4096' -xrm 'XTerm*numColorRegisters: 256' -xrm 'XTerm*cursorBlink: false' \
  -bg black -fg gray85 -b 0 +sb -fa 'DejaVu Sans Mono' -fs 9 \
  -e "$program" --device cpu --graphics "${GRAPHICS:-auto}" --project "$tmp/project" "$root/tests/data/clips/ultrabones" &
terminal=$!
window=''
for _ in $(seq 100); do
  window=$(xdotool search --onlyvisible --class xterm 2>/dev/null | tail -1) && [ -n "$window" ] && break
  sleep 0.1
done
# Keys go to the window that has the focus; xterm ignores those that are sent to it.
xdotool windowfocus "$window"

grab() { xwd -silent -id "$window" -out "$tmp/now.xwd" 2>/dev/null; }
# Until four looks in a row see the same.
settle() {
  local before='' now='' same=0 end=$((SECONDS + 15))
  while [ $SECONDS -lt $end ] && [ $same -lt 4 ]; do
    grab || { echo "the terminal closed" >&2; exit 1; }
    now=$(md5sum <"$tmp/now.xwd")
    if [ "$now" = "$before" ]; then same=$((same + 1)); else same=0; fi
    before=$now
    sleep 0.15
  done
}
# keys KEY...: names of xdotool, or =TEXT to type it.
keys() {
  for key in "$@"; do
    case $key in
      =*) xdotool type --delay 40 -- "${key#=}" ;;
      *) xdotool key --delay 40 -- "$key" ;;
    esac
  done
  settle
}
shot() { grab; convert "xwd:$tmp/now.xwd" "$out/$1.png"; echo "$out/$1.png"; }

sleep 0.7; settle; shot 01-opened
keys =6G Return; shot 02-where-the-rays-start
keys =x; shot 03-a-leap-nearer
keys =3; shot 04-a-point-and-its-letters
keys =m; shot 05-moved-by-a-letter
keys =9 =6 equal; shot 06-four-points
keys Return; shot 07-the-suggestion-taken
keys Escape =w; shot 08-keys-that-can-follow
keys =b; shot 09-visible-here
# From frame 6 of 16: three answers to its first frame, four to its last.
keys =n =y =n =n =y =y =n; shot 10-window-found
keys =pp; sleep 3; settle; shot 11-propagated
keys =W; shot 12-worst-frame
keys =vb period period; shot 13-side-by-side
keys =vb =vx; shot 14-m-mode
keys =vx question; shot 15-help
keys Escape F2 =mask; shot 16-palette
