// Lets the reader of the diagram move about in it: changes `view`, `selected`, `pointed` and what
// was found, and has draw.js draw. Everything that can be done with a mouse can be done with keys.

// ── moving ───────────────────────────────────────────────────────────────────────────────────

const SHORTEST = Math.min(span, 20); // nanoseconds across the window

function show(from, to) {
  const length = Math.min(Math.max(to - from, SHORTEST), span);
  const middle = (from + to) / 2;
  view.from = Math.min(Math.max(middle - length / 2, 0), span - length);
  view.to = view.from + length;
  moved();
}

function zoom(factor, px = gutter + across / 2) {
  const at = timeAt(Math.max(px, gutter));
  show(at - (at - view.from) * factor, at + (view.to - at) * factor);
}

// Sideways by a part of the window, and down by pixels.
function move(part, down = 0) {
  const room = Math.max(0, tops[lanes.length] - (height - AXIS));
  view.top = Math.min(Math.max(view.top + down, 0), room);
  const by = part * (view.to - view.from);
  show(view.from + by, view.to + by);
}

// Leaves out the lanes in which nothing happens in the time that is shown, or shows all again.
function onlyLively(lively) {
  isShown = lively ? Uint8Array.from(lanes, (_, lane) => (isLively(lane) ? 1 : 0)) : null;
  document.getElementById("lanes").setAttribute("aria-pressed", lively);
  tops[0] = 0;
  layOut();
  move(0);
}

// Whether a lane has more in view than a pause; while a search is on, whether it has a match.
function isLively(lane) {
  const low = view.from,
    high = view.to;
  const list = isFound ? null : pausesOf[lane][0];
  if (list) {
    const at = first(0, list.length, (i) => pause(list[i], P_END) >= high);
    if (at < list.length && pause(list[at], P_START) <= low) return false;
  }
  return rows[lane].some(([start, end]) => {
    let at = first(start, end, (at) => box(at, END) >= low);
    while (isFound && at < end && !isFound[at]) at++;
    return at < end && box(at, START) <= high;
  });
}

function scrollTo(lane) {
  if (isLeftOut(lane)) onlyLively(false);
  const low = tops[lane],
    high = tops[lane + 1],
    room = height - AXIS;
  if (low < view.top) move(0, low - view.top);
  else if (high > view.top + room) move(0, Math.min(high - view.top - room, low - view.top));
  else draw();
}

let saving = 0;
function moved() {
  draw();
  clearTimeout(saving);
  saving = setTimeout(saveToAddress, 250);
}

// ── selecting ────────────────────────────────────────────────────────────────────────────────

// Three digits and a unit, as everywhere else.
function duration(ns) {
  const [unit, per] = [
    ["s", 1e9],
    ["ms", 1e6],
    ["µs", 1e3],
  ].find(([, per]) => ns >= per * 0.9995) || ["ns", 1];
  const value = ns / per;
  return (
    (per === 1 || value >= 99.95
      ? value.toFixed(0)
      : String(Number(value.toFixed(value >= 9.995 ? 1 : 2)))) +
    " " +
    unit
  );
}

function describe(thing) {
  if (thing.arrow !== undefined) {
    const at = thing.arrow;
    return [
      `${lanes[arrow(at, FROM)].name} ${arrow(at, SPAWN) ? "spawns" : "wakes"} ${lanes[arrow(at, TO)].name}`,
      `at ${duration(arrow(at, TIME))}`,
    ];
  }
  const at = thing.box,
    lane = box(at, LANE);
  const lines = [
    `${duration(box(at, END) - box(at, START))}, from ${duration(box(at, START))} on, in ${lanes[lane].name}`,
  ];
  if (strings[box(at, ABOUT)]) lines.push(strings[box(at, ABOUT)]);
  if (thing.time !== undefined) {
    for (const list of pausesOf[lane]) {
      list &&
        eachPause(list, thing.time, thing.time, (i) => {
          const covers =
            pause(i, ROW) <= box(at, ROW) && box(at, ROW) < pause(i, ROW) + pause(i, ROWS);
          if (!covers || pause(i, P_END) <= thing.time) return true;
          lines.push(
            `here for ${duration(pause(i, P_END) - pause(i, P_START))}: ${strings[pause(i, P_ABOUT)]}`,
          );
          return false;
        });
    }
  }
  return [strings[box(at, LABEL)], ...lines];
}

function select(thing) {
  selected = thing;
  const text = thing ? describe(thing) : [];
  status.textContent = thing ? text.join(" · ") : "";
  moved();
}

// Selects an arrow and brings one of its ends into view.
function follow(at, toTarget) {
  select({ arrow: at, toTarget });
  const time = arrow(at, TIME);
  if (time < view.from || time > view.to) {
    const half = (view.to - view.from) / 2;
    show(time - half, time + half);
  }
  scrollTo(arrow(at, toTarget ? TO : FROM));
}

// Selects a box and brings it into view, as close as it needs to be seen.
function goTo(at) {
  const length = Math.max(box(at, END) - box(at, START), SHORTEST / 4);
  const shown = view.to - view.from,
    middle = (box(at, START) + box(at, END)) / 2;
  if (length < shown / 100 || length > shown) show(middle - length * 4, middle + length * 4);
  else if (box(at, START) < view.from || box(at, END) > view.to)
    show(middle - shown / 2, middle + shown / 2);
  scrollTo(box(at, LANE));
  select({ box: at });
}

function fitBox(at) {
  const margin = Math.max(box(at, END) - box(at, START), SHORTEST / 4) * 0.05;
  show(box(at, START) - margin, box(at, END) + margin);
  scrollTo(box(at, LANE));
}

// What stands at a place: an arrow, or a box, or nothing.
function thingAt(px, py) {
  if (px < gutter - MARGIN || py < AXIS) return null;
  const near = (time) => Math.abs(x(time) - px);
  let best = null,
    distance = 4;
  for (const i of shownArrows(timeAt(px - 4), timeAt(px + 4))) {
    const [from, to] = arrowEnds(i);
    const off = Math.abs(x(arrow(i, TIME)) - px);
    if (off < distance && py >= Math.min(from, to) - 4 && py <= Math.max(from, to) + 4) {
      [best, distance] = [{ arrow: i, toTarget: Math.abs(py - from) < Math.abs(py - to) }, off];
    }
  }
  const lane = first(0, lanes.length, (lane) => tops[lane + 1] > py - AXIS + view.top);
  const row = lane < lanes.length ? Math.floor((floor(lane) - py) / ROW_HEIGHT) : -1;
  const range = row >= 0 && !isLeftOut(lane) && rows[lane][row];
  // Over a box, an arrow must be hit squarely.
  if (best && (!range || distance < 2.5)) return best;
  if (!range) return best;
  const time = timeAt(px);
  const after = first(range[0], range[1], (i) => box(i, END) >= time);
  let hit = null;
  distance = 3;
  for (const i of [after, after - 1]) {
    if (i < range[0] || i >= range[1]) continue;
    const inside = box(i, START) <= time && time <= box(i, END);
    const off = inside ? 0 : Math.min(near(box(i, START)), near(box(i, END)));
    if (off < distance) [hit, distance] = [{ box: i, time }, off];
  }
  return hit || best;
}

// ── pointer ──────────────────────────────────────────────────────────────────────────────────

const fingers = new Map(); // pointers that are down, by number
let dragged = 0;
const place = (event) => {
  const { left, top } = canvas.getBoundingClientRect();
  return [event.clientX - left, event.clientY - top];
};

canvas.addEventListener("pointerdown", (event) => {
  canvas.setPointerCapture(event.pointerId);
  fingers.set(event.pointerId, place(event));
  dragged = 0;
});
canvas.addEventListener("pointermove", (event) => {
  const [px, py] = place(event);
  const before = fingers.get(event.pointerId);
  if (!before) return point(px, py);
  if (fingers.size === 2) {
    const other = [...fingers].find(([number]) => number !== event.pointerId)[1];
    zoom(
      Math.max(20, Math.abs(before[0] - other[0])) / Math.max(20, Math.abs(px - other[0])),
      (px + other[0]) / 2,
    );
  }
  dragged += Math.abs(px - before[0]) + Math.abs(py - before[1]);
  fingers.set(event.pointerId, [px, py]);
  if (dragged < 4) return;
  canvas.classList.add("dragging");
  tip.hidden = true;
  move((before[0] - px) / across, before[1] - py);
});
const up = (event) => {
  const [px, py] = place(event);
  if (fingers.delete(event.pointerId) && dragged < 4 && event.type === "pointerup") {
    const thing = thingAt(px, py);
    if (thing && thing.arrow !== undefined) follow(thing.arrow, thing.toTarget);
    else select(thing);
  }
  canvas.classList.remove("dragging");
};
canvas.addEventListener("pointerup", up);
canvas.addEventListener("pointercancel", up);
canvas.addEventListener("pointerleave", () => {
  pointed = null;
  tip.hidden = true;
  draw();
});
canvas.addEventListener("dblclick", (event) => {
  const thing = thingAt(...place(event));
  if (thing && thing.box !== undefined) fitBox(thing.box);
});
canvas.addEventListener(
  "wheel",
  (event) => {
    event.preventDefault();
    const unit = event.deltaMode === 1 ? 16 : 1;
    const [px] = place(event);
    const sideways = event.shiftKey ? event.deltaX || event.deltaY : event.deltaX;
    if (Math.abs(sideways) > Math.abs(event.deltaY) || event.shiftKey)
      move((sideways * unit) / across);
    else if (px < gutter) move(0, event.deltaY * unit);
    else zoom(Math.exp((event.deltaY * unit) / (event.ctrlKey ? 100 : 400)), px);
  },
  { passive: false },
);

function point(px, py) {
  const was = name(pointed);
  pointed = thingAt(px, py);
  canvas.classList.toggle("pointing", pointed !== null);
  if (pointed) {
    const [title, ...lines] = describe(pointed);
    const bold = document.createElement("b");
    bold.textContent = title;
    tip.replaceChildren(bold, lines.join("\n"));
    tip.hidden = false;
    tip.style.left = Math.max(4, Math.min(px + 14, width - tip.offsetWidth - 8)) + "px";
    const below = py + 18 + tip.offsetHeight < height;
    tip.style.top = Math.max(4, below ? py + 18 : py - tip.offsetHeight - 10) + "px";
  } else {
    tip.hidden = true;
  }
  if (name(pointed) !== was) draw();
}

// ── search ───────────────────────────────────────────────────────────────────────────────────

const form = document.getElementById("search");
const [field, count] = [form.querySelector("input"), form.querySelector("output")];

function search(text) {
  wanted = text.trim().toLowerCase();
  [found, current, isFound] = [[], -1, null];
  if (wanted) {
    const matches = strings.map((string) => string.toLowerCase().includes(wanted));
    isFound = new Uint8Array(boxCount);
    for (let at = 0; at < boxCount; at++) {
      if (matches[box(at, LABEL)]) {
        found.push(at);
        isFound[at] = 1;
      }
    }
    found.sort((one, other) => box(one, START) - box(other, START) || one - other);
  }
  count.textContent = !wanted ? "" : found.length === 1 ? "1 match" : `${found.length} matches`;
  moved();
}

function nextMatch(by) {
  if (found.length === 0) return;
  current = current < 0 && by < 0 ? found.length - 1 : (current + by + found.length) % found.length;
  count.textContent = `${current + 1} of ${found.length}`;
  goTo(found[current]);
}

field.addEventListener("input", () => search(field.value));
form.addEventListener("submit", (event) => event.preventDefault());
field.addEventListener("keydown", (event) => {
  if (event.key === "Enter") nextMatch(event.shiftKey ? -1 : 1);
  if (event.key === "Escape") {
    field.value = "";
    search("");
    canvas.focus();
  }
});

// ── keys and buttons ─────────────────────────────────────────────────────────────────────────

const help = document.getElementById("keys");
const all = () => show(0, span);
const deeds = {
  "+": () => zoom(0.7),
  "=": () => zoom(0.7),
  "-": () => zoom(1 / 0.7),
  ArrowLeft: () => move(-0.15),
  ArrowRight: () => move(0.15),
  ArrowUp: () => move(0, -60),
  ArrowDown: () => move(0, 60),
  PageUp: () => move(0, -(height - AXIS)),
  PageDown: () => move(0, height - AXIS),
  0: all,
  Home: all,
  l: () => onlyLively(!isShown),
  "/": () => field.focus(),
  "?": () => help.showModal(),
  n: () => nextMatch(1),
  N: () => nextMatch(-1),
  f: () => selected && selected.arrow !== undefined && follow(selected.arrow, !selected.toTarget),
  Enter: () => selected && selected.box !== undefined && fitBox(selected.box),
  Escape: () => {
    field.value = "";
    search("");
    select(null);
  },
};

document.addEventListener("keydown", (event) => {
  const typing = event.target instanceof HTMLInputElement;
  const leave = event.ctrlKey || event.metaKey || event.altKey || help.open || typing;
  if (leave) return;
  const onCanvas = event.target === canvas || event.target === document.body;
  if (event.key === "Tab") {
    // Within a lane that is being read, the key goes from box to box; at its ends, it goes on.
    const at =
      selected && selected.box !== undefined && event.target === canvas
        ? selected.box + (event.shiftKey ? -1 : 1)
        : -1;
    if (at < 0 || at >= boxCount || box(at, LANE) !== box(selected.box, LANE)) return;
    event.preventDefault();
    return goTo(at);
  }
  const deed =
    deeds[event.key.length === 1 && event.key !== "N" ? event.key.toLowerCase() : event.key];
  if (!deed || (!onCanvas && event.key === "Enter")) return;
  event.preventDefault();
  deed();
});

document.getElementById("in").addEventListener("click", () => zoom(0.6));
document.getElementById("out").addEventListener("click", () => zoom(1 / 0.6));
document.getElementById("fit").addEventListener("click", all);
document.getElementById("lanes").addEventListener("click", () => onlyLively(!isShown));
document.getElementById("help").addEventListener("click", () => help.showModal());
document.getElementById("theme").addEventListener("click", () => {
  const root = document.documentElement;
  const dark = getComputedStyle(root).colorScheme === "dark";
  root.dataset.theme = dark ? "light" : "dark";
  readColours();
});

// ── address ──────────────────────────────────────────────────────────────────────────────────

function saveToAddress() {
  const parts = new URLSearchParams();
  if (view.from > 0 || view.to < span) {
    parts.set("from", Math.round(view.from));
    parts.set("to", Math.round(view.to));
  }
  if (view.top > 0) parts.set("top", Math.round(view.top));
  if (isShown) parts.set("lanes", "lively");
  if (wanted) parts.set("search", wanted);
  if (selected) parts.set(...name(selected).split(" "));
  const hash = parts.size ? "#" + parts : "";
  if (hash !== location.hash)
    history.replaceState(null, "", hash || location.pathname + location.search);
}

function readAddress() {
  const parts = new URLSearchParams(location.hash.slice(1));
  const number = (key, most) => {
    const value = parts.has(key) ? Number(parts.get(key)) : NaN;
    return value >= 0 && value < most ? value : null;
  };
  field.value = parts.get("search") || "";
  search(field.value);
  const [picked, followed] = [number("box", boxCount), number("arrow", arrowCount)];
  if (picked !== null) goTo(Math.floor(picked));
  else if (followed !== null) follow(Math.floor(followed), true);
  const from = number("from", span),
    to = number("to", span + 1);
  if (from !== null && to !== null && from < to) show(from, to);
  else if (picked === null && followed === null) show(0, span);
  onlyLively(parts.get("lanes") === "lively");
  move(0, (number("top", Infinity) ?? view.top) - view.top);
}

window.addEventListener("hashchange", readAddress);
window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", readColours);
readColours();
resize();
readAddress();
new ResizeObserver(resize).observe(element);
paint();
