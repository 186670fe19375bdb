#!/usr/bin/env bash
# Screenshots of the real program in real terminals, without a display, at the main moments.
#
#   tests/shots.sh OUT [PROGRAM] [TERMINAL ...]    PNG files into OUT/TERMINAL; look at each of them
#
# Terminals: xterm, mlterm, foot (sixel), kitty, konsole (kitty's images); all where none is
# named; one that is not installed is skipped with a sentence.
# Needs convert, for foot sway grim wtype, for the others Xvfb xdotool xwd (Debian: imagemagick xterm mlterm xvfb
# xdotool x11-apps kitty konsole libgl1-mesa-dri foot sway grim wtype fonts-dejavu-core). sway refuses to run as root: it then runs as nobody.
set -euo pipefail
out=${1:?usage: tests/shots.sh OUT [PROGRAM] [TERMINAL ...]}
root=$(cd "$(dirname "$0")/.." && pwd)
program=$(realpath "${2:-$root/target/release/sonomark}")
terminals=("${@:3}")
[ ${#terminals[@]} -gt 0 ] || terminals=(xterm mlterm foot kitty konsole)
tmp=$(mktemp -d) own=()
cleanup() {
  set +e
  [ ${#own[@]} -eq 0 ] || kill "${own[@]}"
  wait
  rm -rf "$tmp"
} 2>/dev/null
trap cleanup EXIT
# Another user must reach program and clip.
chmod 755 "$tmp"
cp "$program" "$tmp/sonomark"
cp -r "$root/tests/data/clips/ultrabones" "$tmp/clip"

missing() {
  for tool in "$@"; do
    command -v "$tool" >/dev/null || { echo "$tool"; return; }
  done
}
end() {
  [ ${#own[@]} -eq 0 ] || kill "${own[@]}" 2>/dev/null || true
  wait 2>/dev/null || true
  own=()
}

# open TERMINAL CELLS WORDS...: the program with these words in a terminal of so many cells.
open() {
  terminal=$1 cells=$2
  shift 2
  home=$(mktemp -d "$tmp/home.XXXX")
  chmod 777 "$home"
  local run=(env "XDG_CONFIG_HOME=$home" "XDG_DATA_HOME=$home" "XDG_CACHE_HOME=$home" "XDG_STATE_HOME=$home"
    "HOME=$home" LANG=C.UTF-8 "$tmp/sonomark" --device cpu "$@")
  if [ "$terminal" = foot ]; then open_wayland "${run[@]}"; else open_x "${run[@]}"; fi
  sleep 0.7
  settle
}

open_x() {
  # Without -noreset the server forgets everything when its first client leaves.
  : >"$tmp/display"
  Xvfb -displayfd 3 -noreset -screen 0 1920x1200x24 -nolisten tcp 3>"$tmp/display" 2>/dev/null &
  own+=($!)
  for _ in $(seq 100); do [ -s "$tmp/display" ] && break; sleep 0.1; done
  [ -s "$tmp/display" ] || { echo "Xvfb offers no display" >&2; exit 1; }
  DISPLAY=:$(cat "$tmp/display")
  export DISPLAY
  local columns=${cells%x*} rows=${cells#*x}
  mkdir -m 700 "$home/run"
  case $terminal in
  mlterm)
    HOME=$home mlterm -g "$cells" --type=xft -A -w 14 -O none --sb=false -b black -f gray85 \
      -e "$@" 2>/dev/null &
    ;;
  kitty)
    HOME=$home XDG_RUNTIME_DIR=$home/run LIBGL_ALWAYS_SOFTWARE=1 kitty --config NONE -o linux_display_server=x11 \
      -o update_check_interval=0 -o remember_window_size=no -o cursor_blink_interval=0 -o font_size=9 \
      -o initial_window_width="${columns}c" -o initial_window_height="${rows}c" "$@" 2>/dev/null &
    ;;
  konsole)
    HOME=$home XDG_RUNTIME_DIR=$home/run konsole --nofork --hide-menubar --hide-tabbar \
      -p "TerminalColumns=$columns" -p "TerminalRows=$rows" -e "$@" 2>/dev/null &
    ;;
  xterm)
    # xterm drops sixels beyond maxGraphicSize without a word.
    xterm -ti vt340 -tn xterm-256color -geometry "$cells+0+0" \
      -xrm 'XTerm*maxGraphicSize: 4096x4096' -xrm 'XTerm*numColorRegisters: 256' -xrm 'XTerm*cursorBlink: false' \
      -bg black -fg gray85 -b 0 +sb -fa 'DejaVu Sans Mono' -fs 9 -e "$@" &
    ;;
  esac
  own+=($!)
  window=''
  for _ in $(seq 100); do
    window=$(xdotool search --onlyvisible --class "$terminal" 2>/dev/null | tail -1) && [ -n "$window" ] && break
    sleep 0.1
  done
  [ -n "$window" ] || { echo "$terminal shows no window" >&2; exit 1; }
  # Keys go to the window that has the focus; xterm ignores those that are sent to it.
  xdotool windowfocus "$window"
}

open_wayland() {
  local columns=${cells%x*} rows=${cells#*x} as=()
  [ "$(id -u)" != 0 ] || as=(setpriv --reuid=nobody --regid=nogroup --clear-groups)
  export XDG_RUNTIME_DIR=$home/run
  mkdir -p "$XDG_RUNTIME_DIR"
  chmod 700 "$XDG_RUNTIME_DIR"
  [ ${#as[@]} -eq 0 ] || chown -R nobody:nogroup "$home"
  # Room for so many cells of the font below, and foot's own margin.
  {
    echo 'xwayland disable'
    echo "output HEADLESS-1 resolution $((columns * 7 + 4))x$((rows * 15 + 4))"
    echo 'default_border none'
  } >"$home/sway"
  wayland=("${as[@]}" env "HOME=$home" "XDG_RUNTIME_DIR=$XDG_RUNTIME_DIR" WLR_BACKENDS=headless
    WLR_LIBINPUT_NO_DEVICES=1 WLR_RENDERER=pixman LIBSEAT_BACKEND=noop)
  "${wayland[@]}" sway -c "$home/sway" 2>/dev/null &
  own+=($!)
  local display=''
  for _ in $(seq 100); do
    display=$(cd "$XDG_RUNTIME_DIR" && ls | grep -x 'wayland-[0-9]*' | head -1) && [ -n "$display" ] && break
    sleep 0.1
  done
  [ -n "$display" ] || { echo "sway offers no display" >&2; exit 1; }
  wayland+=("WAYLAND_DISPLAY=$display")
  "${wayland[@]}" foot -o pad=2x2 --font='DejaVu Sans Mono:size=9' -- "$@" 2>/dev/null &
  own+=($!)
  sleep 2
}

grab() {
  if [ "$terminal" = foot ]; then
    "${wayland[@]}" grim -t ppm - >"$tmp/now" 2>/dev/null
  else
    xwd -silent -id "$window" -out "$tmp/now" 2>/dev/null
  fi
}
# Until four looks in a row see the same.
settle() {
  local before='' now='' same=0 until=$((SECONDS + 15))
  while [ $SECONDS -lt $until ] && [ $same -lt 4 ]; do
    grab || { echo "$terminal closed" >&2; exit 1; }
    now=$(md5sum <"$tmp/now")
    if [ "$now" = "$before" ]; then same=$((same + 1)); else same=0; fi
    before=$now
    sleep 0.15
  done
  [ $same -ge 4 ] || echo "$terminal was not at rest: look twice at the next picture" >&2
}
# keys KEY...: names of keysyms, or =TEXT to type it.
keys() {
  for key in "$@"; do
    case $terminal$key in
      # Each wtype is a new keyboard: a key that comes before foot has its map is lost.
      foot=*) "${wayland[@]}" wtype -s 250 -d 40 "${key#=}" -s 100 ;;
      foot*) "${wayland[@]}" wtype -s 250 -k "$key" -s 100 ;;
      *=*) xdotool type --delay 40 -- "${key#=}" ;;
      *) xdotool key --delay 40 -- "$key" ;;
    esac
    # A letter right behind an escape would be the letter with Alt.
    [ "$key" != Escape ] || sleep 0.5
  done
  settle
}
shot() {
  grab
  local kind=xwd
  [ "$terminal" != foot ] || kind=ppm
  convert "$kind:$tmp/now" "$out/$terminal/$1.png"
  echo "$out/$terminal/$1.png"
}

work() {
  open "$1" 150x50 "$tmp/clip"
  shot 01-opened
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
  keys Escape =6G =vc =20l =10j =vc =va; shot 17-caliper-and-area
  keys =vc =ve; shot 18-contrast-evened
  keys =ve "=:export coco $home/other.json" Return; sleep 1
  keys "=:overlay $home/other.json" Return =sg =sg =sg; shot 19-overlay
  end
}
lesson() {
  open "$1" 150x50 tutor
  shot 20-tutor
  end
}
small() {
  open "$1" 80x24 "$tmp/clip"
  keys =6G Return =x =3; shot 21-80x24
  keys Escape question; shot 22-80x24-help
  end
}
blocks() {
  open "$1" 150x50 --graphics halfblock "$tmp/clip"
  keys =6G =b; shot 23-half-blocks
  end
}

for each in "${terminals[@]}"; do
  case $each in
    xterm | mlterm | kitty | konsole) lacks=$(missing "$each" Xvfb xdotool xwd convert) ;;
    foot) lacks=$(missing foot sway grim wtype convert) ;;
    *) echo "$each is none of xterm, mlterm, foot, kitty and konsole" >&2; exit 2 ;;
  esac
  if [ -n "$lacks" ]; then
    echo "$each is skipped: $lacks is not installed; see the head of $0"
    continue
  fi
  mkdir -p "$out/$each"
  work "$each"
  lesson "$each"
  small "$each"
  blocks "$each"
done
