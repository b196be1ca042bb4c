// What the page knows before it draws: the data, where the lanes are, and what is shown of them.
//
//   layout.js: data ──► rows, where the boxes of each row are; lanes, where each begins
//              view: from, to, top; selected, pointed, found ◄──── look.js: pointer, keys, search
//                          │                                       field, address
//   draw.js:  draw() ◄─────┘  once per frame at most
//
// Times are nanoseconds since the recording began. The three files stand in one block of one
// script, so that nothing of them is global.

// ── data ─────────────────────────────────────────────────────────────────────────────────────

const data = JSON.parse(document.getElementById("data").textContent);
const { strings, lanes, span } = data;

// Tables of numbers, a record after another; the constants are the places of the fields.
const LANE = 0,
  ROW = 1,
  START = 2,
  END = 3,
  LABEL = 4,
  KIND = 5,
  ENDS = 6,
  ABOUT = 7,
  BOX = 8;
const ROWS = 2,
  P_START = 3,
  P_END = 4,
  WOKEN = 5,
  KEPT = 6,
  P_ABOUT = 7,
  PAUSE = 8;
const TIME = 0,
  SPAWN = 1,
  FROM = 2,
  FROM_ROW = 3,
  TO = 4,
  TO_ROW = 5,
  ARROW = 6;
const M_LANE = 0,
  M_TIME = 1,
  M_LABEL = 2,
  MARK = 3;
const boxes = Float64Array.from(data.boxes),
  boxCount = boxes.length / BOX;
const pauses = Float64Array.from(data.pauses),
  pauseCount = pauses.length / PAUSE;
const arrows = Float64Array.from(data.arrows),
  arrowCount = arrows.length / ARROW;
const marks = Float64Array.from(data.marks),
  markCount = marks.length / MARK;
const box = (at, field) => boxes[at * BOX + field];
const pause = (at, field) => pauses[at * PAUSE + field];
const arrow = (at, field) => arrows[at * ARROW + field];
const mark = (at, field) => marks[at * MARK + field];
const KINDS = ["task", "span", "call", "pool", "parked"];
const CALL = 2,
  PARKED = 4;

// The first number from `low` up to `high` for which `is` holds; it must hold for all after it.
function first(low, high, is) {
  while (low < high) {
    const middle = (low + high) >> 1;
    if (is(middle)) high = middle;
    else low = middle + 1;
  }
  return low;
}

// For each lane: for each row the range of its boxes; and its pauses, in lists in which none
// overlap, which are those that begin at the same row.
const rows = lanes.map((lane) => Array.from({ length: lane.rows }, () => [0, 0]));
const pausesOf = lanes.map(() => []);
for (let at = 0; at < boxCount; at++) {
  const range = rows[box(at, LANE)][box(at, ROW)];
  if (range[1] === 0) range[0] = at;
  range[1] = at + 1;
}
for (let at = 0; at < pauseCount; at++) {
  const lists = pausesOf[pause(at, LANE)];
  (lists[pause(at, ROW)] ||= []).push(at);
}

// ── layout ───────────────────────────────────────────────────────────────────────────────────

const ROW_HEIGHT = 20,
  LANE_GAP = 13,
  AXIS = 26,
  SLIVER = 1.25,
  MARGIN = 6;
const FADED = 0.3; // what isn't searched for
const FONT = "11px system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif";
const NAME_FONT = FONT.replace("11px", "12px");
const element = document.getElementById("view");
const canvas = element.querySelector("canvas");
const pen = canvas.getContext("2d");
const tip = document.getElementById("tip");
const status = document.getElementById("status");

// Where each lane begins, from the top of all lanes; one more for where they end. Lanes that are
// left out have no height.
const tops = new Float64Array(lanes.length + 1);
let isShown = null; // one byte for each lane, while some are left out
const isLeftOut = (lane) => isShown !== null && !isShown[lane];

function layOut() {
  let above = "task"; // of what kind the lane above is
  for (let at = 0; at < lanes.length; at++) {
    const { kind, rows } = lanes[at];
    tops[at + 1] = tops[at];
    if (isLeftOut(at)) continue;
    // Tasks stand a little apart from threads.
    const apart = kind === "task" && above !== "task" ? LANE_GAP : 0;
    tops[at] += apart;
    tops[at + 1] = tops[at] + Math.max(rows, 1) * ROW_HEIGHT + LANE_GAP;
    above = kind;
  }
}
layOut();

let width = 0,
  height = 0,
  gutter = 0; // pixels; times begin right of the gutter
let across = 1; // pixels from the first time that is shown to the last
const colours = {};

const view = { from: 0, to: span, top: 0 };
let selected = null; // { box } or { arrow }
let pointed = null;
let found = [],
  wanted = "",
  current = -1;
let isFound = null; // one byte for each box, while a search is on

const x = (time) => gutter + ((time - view.from) / (view.to - view.from)) * across;
const timeAt = (px) => view.from + ((px - gutter) / across) * (view.to - view.from);
// The times at the edges of what is painted.
const earliest = () => timeAt(gutter - MARGIN),
  latest = () => timeAt(width);
const floor = (lane) =>
  AXIS + tops[lane] - view.top + Math.max(lanes[lane].rows, 1) * ROW_HEIGHT + LANE_GAP / 2;
const y = (lane, row) => floor(lane) - (row + 1) * ROW_HEIGHT;

function resize() {
  const ratio = window.devicePixelRatio || 1;
  ({ clientWidth: width, clientHeight: height } = element);
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.font = NAME_FONT;
  const widest = lanes
    .slice(0, 2000)
    .reduce((most, lane) => Math.max(most, pen.measureText(lane.name).width), 0);
  gutter = Math.min(Math.max(widest + 30, 96), 240, width * 0.35);
  across = Math.max(1, width - gutter - 2 * MARGIN);
  move(0);
}

function readColours() {
  const style = getComputedStyle(document.documentElement);
  for (const name of [
    "ground",
    "stripe",
    "grid",
    "ink",
    "faint",
    "wait",
    "broken",
    "ready",
    "arrow",
    ...KINDS,
    ...KINDS.map((kind) => kind + "-edge"),
  ]) {
    colours[name] = style.getPropertyValue("--" + name).trim();
  }
  colours.kept = hatch(
    6,
    [
      [-1, 7, 7, -1],
      [-1, 1, 1, -1],
      [5, 7, 7, 5],
    ],
    colours.wait,
    0.9,
  );
  colours.queued = hatch(
    4,
    [
      [-1, -1, 5, 5],
      [-1, 3, 1, 5],
      [3, -1, 5, 1],
    ],
    colours.ready,
    1.1,
  );
  draw();
}

// A pattern of lines, at twice its size so that it stays sharp.
function hatch(size, lines, colour, thickness) {
  const tile = document.createElement("canvas");
  tile.width = tile.height = size * 2;
  const pen = tile.getContext("2d");
  pen.scale(2, 2);
  pen.strokeStyle = colour;
  pen.lineWidth = thickness;
  for (const [x0, y0, x1, y1] of lines) {
    pen.beginPath();
    pen.moveTo(x0, y0);
    pen.lineTo(x1, y1);
    pen.stroke();
  }
  const pattern = pen.createPattern(tile, "repeat");
  pattern.setTransform(new DOMMatrix().scale(0.5));
  return pattern;
}
