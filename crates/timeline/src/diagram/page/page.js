// Draws the diagram that stands in the element #data, and lets its reader move about in it.
//
//   data ──► rows: where the boxes of each row are ──┐
//   view: from, to, top ─────────────────────────────┼──► draw(), once per frame at most
//   selected, found ─────────────────────────────────┘
//   pointer, keys, search field, address ──► view, selected, found
//
// Times are nanoseconds since the recording began. Only what can be seen is drawn: the boxes of a
// row never overlap and are sorted, so the first one to draw is found by bisection, and those that
// would fall into a pixel that is painted already are left out.
"use strict";
(() => {
  // ── data ─────────────────────────────────────────────────────────────────────────────────────

  const data = JSON.parse(document.getElementById("data").textContent);
  const { strings, lanes, span } = data;

  // Tables of numbers, a record after another; the constants are the places of the fields.
  const LANE = 0, ROW = 1, START = 2, END = 3, LABEL = 4, KIND = 5, CUT = 6, ABOUT = 7, BOX = 8;
  const ROWS = 2, P_START = 3, P_END = 4, WOKEN = 5, KEPT = 6, P_ABOUT = 7, PAUSE = 8;
  const TIME = 0, SPAWN = 1, FROM = 2, FROM_ROW = 3, TO = 4, TO_ROW = 5, ARROW = 6;
  const M_LANE = 0, M_TIME = 1, M_LABEL = 2, MARK = 3;
  const boxes = Float64Array.from(data.boxes), boxCount = boxes.length / BOX;
  const pauses = Float64Array.from(data.pauses), pauseCount = pauses.length / PAUSE;
  const arrows = Float64Array.from(data.arrows), arrowCount = arrows.length / ARROW;
  const marks = Float64Array.from(data.marks), markCount = marks.length / MARK;
  const box = (at, field) => boxes[at * BOX + field];
  const pause = (at, field) => pauses[at * PAUSE + field];
  const arrow = (at, field) => arrows[at * ARROW + field];
  const mark = (at, field) => marks[at * MARK + field];
  const KINDS = ["task", "span", "call", "pool", "parked"];
  const CALL = 2, PARKED = 4;

  /// The first number from `low` up to `high` for which `is` holds; it must hold for all after it.
  function first(low, high, is) {
    while (low < high) {
      const middle = (low + high) >> 1;
      if (is(middle)) high = middle; else low = middle + 1;
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

  const ROW_HEIGHT = 20, LANE_GAP = 13, AXIS = 26, SLIVER = 1.25, MARGIN = 6;
  const FONT = "11px system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif";
  const NAME_FONT = FONT.replace("11px", "12px");
  const element = document.getElementById("view");
  const canvas = element.querySelector("canvas");
  const pen = canvas.getContext("2d");
  const tip = document.getElementById("tip");
  const status = document.getElementById("status");

  // Where each lane begins, from the top of all lanes; one more for where they end.
  const tops = [0];
  lanes.forEach((lane, at) => {
    const next = lanes[at + 1];
    const apart = next && next.kind === "task" && lane.kind !== "task" ? LANE_GAP : 0;
    tops.push(tops[at] + Math.max(lane.rows, 1) * ROW_HEIGHT + LANE_GAP + apart);
  });
  let width = 0, height = 0, gutter = 0; // pixels; times begin right of the gutter
  let across = 1; // pixels from the first time that is shown to the last
  const colours = {};

  const view = { from: 0, to: span, top: 0 };
  let selected = null; // { box } or { arrow }
  let pointed = null;
  let found = [], wanted = "", current = -1;
  let isFound = null; // one byte for each box, while a search is on

  const x = (time) => gutter + ((time - view.from) / (view.to - view.from)) * across;
  const timeAt = (px) => view.from + ((px - gutter) / across) * (view.to - view.from);
  // The times at the edges of what is painted.
  const earliest = () => timeAt(gutter - MARGIN), latest = () => timeAt(width);
  const floor = (lane) => AXIS + tops[lane] - view.top + Math.max(lanes[lane].rows, 1) * ROW_HEIGHT + LANE_GAP / 2;
  const y = (lane, row) => floor(lane) - (row + 1) * ROW_HEIGHT;

  function resize() {
    const ratio = window.devicePixelRatio || 1;
    ({ clientWidth: width, clientHeight: height } = element);
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.font = NAME_FONT;
    const widest = lanes.slice(0, 2000).reduce((most, lane) => Math.max(most, pen.measureText(lane.name).width), 0);
    gutter = Math.min(Math.max(widest + 30, 96), 240, width * 0.35);
    across = Math.max(1, width - gutter - 2 * MARGIN);
    move(0);
  }

  function readColours() {
    const style = getComputedStyle(document.documentElement);
    for (const name of ["ground", "stripe", "grid", "ink", "faint", "wait", "ready", "arrow",
      ...KINDS, ...KINDS.map((kind) => kind + "-edge")]) {
      colours[name] = style.getPropertyValue("--" + name).trim();
    }
    colours.kept = hatch(6, [[-1, 7, 7, -1], [-1, 1, 1, -1], [5, 7, 7, 5]], colours.wait, 0.9);
    colours.queued = hatch(4, [[-1, -1, 5, 5], [-1, 3, 1, 5], [3, -1, 5, 1]], colours.ready, 1.1);
    draw();
  }

  /// A pattern of lines, at twice its size so that it stays sharp.
  function hatch(size, lines, colour, thickness) {
    const tile = document.createElement("canvas");
    tile.width = tile.height = size * 2;
    const pen = tile.getContext("2d");
    pen.scale(2, 2);
    pen.strokeStyle = colour;
    pen.lineWidth = thickness;
    for (const [x0, y0, x1, y1] of lines) {
      pen.beginPath(); pen.moveTo(x0, y0); pen.lineTo(x1, y1); pen.stroke();
    }
    const pattern = pen.createPattern(tile, "repeat");
    pattern.setTransform(new DOMMatrix().scale(0.5));
    return pattern;
  }

  // ── drawing ──────────────────────────────────────────────────────────────────────────────────

  let frame = 0;
  function draw() {
    frame ||= requestAnimationFrame(() => { frame = 0; paint(); });
  }

  function paint() {
    pen.fillStyle = colours.ground;
    pen.fillRect(0, 0, width, height);
    const firstLane = Math.max(0, first(0, lanes.length, (lane) => tops[lane + 1] > view.top));
    const endLane = first(firstLane, lanes.length, (lane) => tops[lane] >= view.top + height - AXIS);
    let drawn = 0;
    pen.save();
    pen.beginPath(); pen.rect(0, AXIS, width, height - AXIS); pen.clip();
    paintGrid();
    for (let lane = firstLane; lane < endLane; lane++) {
      line(0, floor(lane), width, floor(lane), colours.grid);
    }
    pen.save();
    pen.beginPath(); pen.rect(gutter - MARGIN, AXIS, width, height - AXIS); pen.clip();
    const labels = [];
    for (let lane = firstLane; lane < endLane; lane++) {
      drawn += paintBoxes(lane, labels);
      paintPauses(lane);
    }
    paintMarks();
    paintArrows();
    paintSelected();
    paintLabels(labels);
    pen.restore();
    paintNames(firstLane, endLane);
    paintScrollbar();
    pen.restore();
    paintAxis();
    Object.assign(element.dataset, {
      from: Math.round(view.from), to: Math.round(view.to), top: Math.round(view.top), drawn,
      matches: wanted ? found.length : "", selected: name(selected),
    });
  }

  const name = (thing) => !thing ? "" : thing.box !== undefined ? "box " + thing.box : "arrow " + thing.arrow;

  function line(x0, y0, x1, y1, colour, thickness = 1, dashes = []) {
    pen.strokeStyle = colour; pen.lineWidth = thickness; pen.setLineDash(dashes);
    pen.beginPath(); pen.moveTo(x0, y0); pen.lineTo(x1, y1); pen.stroke();
    pen.setLineDash([]);
  }

  /// Ticks at 1, 2 or 5 times a power of ten, and the unit that they share.
  function ticks() {
    const rough = (view.to - view.from) / Math.max(2, Math.floor(across / 110));
    const power = 10 ** Math.floor(Math.log10(Math.max(rough, 1)));
    const step = [1, 2, 5, 10].map((n) => n * power).find((step) => step >= rough) || 10 * power;
    const [unit, per] = [["s", 1e9], ["ms", 1e6], ["µs", 1e3], ["ns", 1]].find(([, per]) => view.to >= per && step * 500 >= per) || ["ns", 1];
    const digits = Math.max(0, Math.ceil(-Math.log10(step / per) - 1e-9));
    const list = [];
    for (let at = Math.ceil(view.from / step) * step; at <= view.to; at += step) {
      list.push([at, at === 0 ? "0" : (at / per).toFixed(digits) + " " + unit]);
    }
    return list;
  }

  function paintGrid() {
    for (const [at] of ticks()) line(x(at), AXIS, x(at), height, colours.grid);
  }

  function paintAxis() {
    pen.font = FONT; pen.fillStyle = colours.faint; pen.textAlign = "center";
    let after = gutter - 8;
    for (const [at, text] of ticks()) {
      const half = pen.measureText(text).width / 2;
      const middle = Math.min(x(at), width - half - 4);
      if (middle - half < after) continue;
      pen.fillText(text, middle, AXIS - 9);
      after = middle + half + 10;
    }
    pen.textAlign = "left";
    line(0, AXIS - 0.5, width, AXIS - 0.5, colours.grid);
    if (arrowCount > 0 && shownArrows().length === 0 && view.to - view.from > SHORTEST) {
      const hidden = first(0, arrowCount, (at) => arrow(at, TIME) > latest()) - first(0, arrowCount, (at) => arrow(at, TIME) >= earliest());
      if (hidden > 0) note(`${hidden.toLocaleString("en")} arrows: zoom in to see them`);
    }
  }

  /// A line at the lower right, over the picture.
  function note(text) {
    pen.font = NAME_FONT; pen.textAlign = "right";
    pen.fillStyle = colours.ground; pen.globalAlpha = 0.85;
    pen.fillRect(width - measured(text) - 28, height - 26, measured(text) + 18, 20);
    pen.globalAlpha = 1; pen.fillStyle = colours.faint;
    pen.fillText(text, width - 18, height - 12);
    pen.textAlign = "left";
  }

  function paintNames(firstLane, endLane) {
    pen.fillStyle = colours.ground;
    pen.globalAlpha = 0.9;
    pen.fillRect(0, AXIS, gutter - MARGIN, height);
    pen.globalAlpha = 1;
    for (let lane = firstLane; lane < endLane; lane++) {
      const { name, kind, rows } = lanes[lane];
      line(0, floor(lane), gutter - MARGIN, floor(lane), colours.grid);
      pen.font = NAME_FONT; pen.fillStyle = colours.ink;
      pen.fillText(fitted(name, gutter - 26), 16, floor(lane) - 6);
      if (rows > 1) {
        pen.font = FONT; pen.fillStyle = colours.faint;
        pen.fillText(kind, 16, floor(lane) - 20);
      }
    }
  }

  function paintScrollbar() {
    const room = height - AXIS, all = tops[lanes.length];
    if (all <= room) return;
    const length = Math.max(24, (room / all) * room);
    pen.fillStyle = colours.faint; pen.globalAlpha = 0.5;
    pen.fillRect(width - 6, AXIS + (view.top / (all - room)) * (room - length), 4, length);
    pen.globalAlpha = 1;
  }

  /// The boxes of a lane; adds those that are wide enough for a label to `labels`.
  function paintBoxes(lane, labels) {
    const since = earliest(), until = latest();
    let drawn = 0;
    rows[lane].forEach(([low, high], row) => {
      const top = y(lane, row);
      let painted = -Infinity, paintedKind = -1; // up to which pixel, and with what
      let at = first(low, high, (at) => box(at, END) >= since);
      for (; at < high && box(at, START) <= until; at++) {
        const kind = box(at, KIND);
        const from = Math.max(x(box(at, START)), gutter - 2 * MARGIN);
        const to = Math.min(Math.max(x(box(at, END)), from + SLIVER), width + MARGIN);
        const shown = !isFound || isFound[at];
        if (to <= painted + 0.5 && kind === paintedKind && shown !== 1) continue;
        pen.globalAlpha = shown ? 1 : 0.25;
        pen.fillStyle = colours[KINDS[kind]];
        pen.fillRect(from, top + 1, to - from, ROW_HEIGHT - 2);
        if (to - from > 3) {
          pen.strokeStyle = colours[KINDS[kind] + "-edge"]; pen.lineWidth = 0.8;
          pen.strokeRect(from + 0.4, top + 1.4, to - from - 0.8, ROW_HEIGHT - 2.8);
        }
        const cut = box(at, CUT); // 1: at its start, 2: at its end
        if (cut & 1 && to - from > 10) torn(from, top, 4);
        if (cut & 2 && to - from > 10) torn(to, top, -4);
        painted = to; paintedKind = kind; drawn++;
        const next = at + 1 < high ? x(box(at + 1, START)) : width;
        // System calls are mostly slivers; where there is room, their names stand beside.
        if (to - from >= 22 || (next - to > 22 && (kind === CALL || shown === 1))) labels.push([at, from, to, next]);
      }
    });
    pen.globalAlpha = 1;
    return drawn;
  }

  /// The edge of a box that was cut off there: teeth in the colour of the ground.
  function torn(edge, top, into) {
    pen.fillStyle = colours.ground;
    pen.beginPath(); pen.moveTo(edge - Math.sign(into), top);
    for (let tooth = 0; tooth <= 6; tooth++) {
      pen.lineTo(edge + (tooth % 2 ? into : 0) - Math.sign(into), top + (tooth * ROW_HEIGHT) / 6);
    }
    pen.fill();
  }

  /// Calls `visit` with the pauses of a list that meet a stretch of time.
  function eachPause(list, from, to, visit) {
    const end = list.length;
    for (let i = first(0, end, (i) => pause(list[i], P_END) >= from); i < end; i++) {
      if (pause(list[i], P_START) > to || visit(list[i]) === false) break;
    }
  }

  function paintPauses(lane) {
    const [waiting, queueing] = [new Path2D(), new Path2D()]; // the lines of what is put away
    for (const list of pausesOf[lane]) {
      if (!list) continue;
      let ended = -Infinity;
      eachPause(list, earliest(), latest(), (at) => {
        let [from, to] = pauseExtent(at);
        from = Math.max(from, ended + SLIVER); // between two pauses, it ran
        if (to - from < 0.8) return;
        ended = to;
        const rows = pause(at, ROWS), woken = pause(at, WOKEN), kept = pause(at, KEPT);
        const ready = woken < 0 ? to : Math.min(Math.max(x(woken), from), to);
        const top = y(lane, pause(at, ROW) + rows - 1), high = rows * ROW_HEIGHT;
        for (const [low, end, queued] of [[from, ready, false], [ready, to, true]]) {
          if (end - low < 0.3 || rows === 0) continue;
          pen.fillStyle = colours.ground;
          if (kept) {
            pen.globalAlpha = 0.6;
            pen.fillRect(low, top + 1.5, end - low, high - 3);
            pen.globalAlpha = 1;
            pen.fillStyle = queued ? colours.queued : colours.kept;
            pen.fillRect(low, top + 1.5, end - low, high - 3);
          } else {
            pen.fillRect(low, top + 0.5, end - low, high - 1);
            for (let row = 0; row < rows; row++) {
              const middle = top + (row + 0.5) * ROW_HEIGHT;
              const path = queued ? queueing : waiting;
              path.moveTo(low, middle);
              path.lineTo(end, middle);
            }
          }
        }
      });
    }
    pen.strokeStyle = colours.wait; pen.lineWidth = 1.2; pen.setLineDash([1.5, 3.5]);
    pen.stroke(waiting);
    pen.strokeStyle = colours.ready; pen.lineWidth = 2; pen.setLineDash([]);
    pen.stroke(queueing);
  }

  /// Where a pause is drawn: it leaves a sliver of the box before and after it, where that runs.
  function pauseExtent(at) {
    const lane = pause(at, LANE), [low, high] = rows[lane][pause(at, ROW)] || [0, 0];
    let from = x(pause(at, P_START)), to = x(pause(at, P_END));
    const under = first(low, high, (i) => box(i, START) > pause(at, P_START)) - 1;
    if (under >= low) {
      if (pause(at, P_START) > box(under, START)) from = Math.max(from, x(box(under, START)) + SLIVER);
      if (pause(at, P_END) < box(under, END)) to = Math.min(to, x(box(under, END)) - SLIVER);
    }
    return [Math.max(from, gutter - 2 * MARGIN), Math.min(to, width + MARGIN)];
  }

  function paintMarks() {
    pen.strokeStyle = colours.arrow; pen.lineWidth = 1;
    let last = -Infinity, lastLane = -1;
    for (let at = 0; at < markCount; at++) {
      const time = mark(at, M_TIME), lane = mark(at, M_LANE), px = x(time);
      if (px < gutter - MARGIN || px > width || (lane === lastLane && px - last < 1)) continue;
      [last, lastLane] = [px, lane];
      pen.beginPath(); pen.arc(px, floor(lane), 3.4, 0, 7); pen.stroke();
    }
  }

  /// From where to where an arrow is drawn, downwards or upwards.
  function arrowEnds(at) {
    const from = arrow(at, FROM), to = arrow(at, TO);
    if (from === to) {
      const end = y(to, arrow(at, TO_ROW));
      return [end - 9, end];
    }
    return from < to ? [floor(from), y(to, arrow(at, TO_ROW))] : [y(from, arrow(at, FROM_ROW)), floor(to)];
  }

  function paintArrow(at, thickness) {
    const px = x(arrow(at, TIME)), [from, to] = arrowEnds(at), back = to > from ? -5 : 5;
    line(px, from, px, to + back, colours.arrow, thickness, arrow(at, SPAWN) ? [3, 2.5] : []);
    pen.fillStyle = colours.arrow;
    pen.beginPath(); pen.arc(px, from, 1.3 + thickness / 2, 0, 7); pen.fill();
    pen.beginPath(); pen.moveTo(px, to); pen.lineTo(px - 2.5 - thickness / 2, to + back); pen.lineTo(px + 2.5 + thickness / 2, to + back); pen.fill();
  }

  function paintArrows() {
    const seen = new Set();
    for (const at of shownArrows()) {
      const [from, to] = arrowEnds(at);
      if (Math.max(from, to) < AXIS || Math.min(from, to) > height) continue;
      const place = `${Math.round(x(arrow(at, TIME)))} ${arrow(at, FROM)} ${arrow(at, TO)}`;
      if (seen.has(place)) continue;
      seen.add(place);
      paintArrow(at, 1);
    }
  }

  /// The arrows in view, unless they are so many that they would cover everything.
  function shownArrows(from = earliest(), to = latest()) {
    const range = (from, to) => [
      first(0, arrowCount, (at) => arrow(at, TIME) >= from),
      first(0, arrowCount, (at) => arrow(at, TIME) > to),
    ];
    const [firstSeen, endSeen] = range(earliest(), latest());
    if (endSeen - firstSeen > across / 3) return [];
    const [start, end] = range(from, to);
    return Array.from({ length: end - start }, (_, at) => start + at);
  }

  function paintSelected() {
    for (const [thing, thickness] of [[pointed, 1.2], [selected, 2.2]]) {
      if (!thing) continue;
      if (thing.arrow !== undefined) { paintArrow(thing.arrow, thickness + 0.8); continue; }
      const at = thing.box, from = x(box(at, START)), to = Math.max(x(box(at, END)), from + SLIVER);
      const left = Math.max(from - 1, gutter - 2 * MARGIN), right = Math.min(to + 1, width + MARGIN);
      pen.strokeStyle = colours.ink; pen.lineWidth = thickness;
      pen.strokeRect(left, y(box(at, LANE), box(at, ROW)), right - left, ROW_HEIGHT);
    }
  }

  const widths = new Map();
  function measured(text) {
    let known = widths.get(pen.font[1] + text);
    if (known === undefined) {
      known = pen.measureText(text).width;
      if (widths.size > 20000) widths.clear();
      widths.set(pen.font[1] + text, known);
    }
    return known;
  }

  /// As much of a text as fits.
  function fitted(text, room) {
    if (measured(text) <= room) return text;
    const letters = Array.from(text);
    const kept = first(0, letters.length, (n) => pen.measureText(letters.slice(0, n + 1).join("") + "…").width > room);
    return kept < 2 ? "" : letters.slice(0, kept).join("").trimEnd() + "…";
  }

  function paintLabels(labels) {
    pen.font = FONT; pen.lineJoin = "round";
    for (const [at, boxFrom, boxTo, next] of labels) {
      const text = strings[box(at, LABEL)], base = y(box(at, LANE), box(at, ROW)) + 14;
      const [from, to, haloed] = roomForLabel(at, Math.max(boxFrom, gutter), boxTo, measured(text) + 8);
      let shown = fitted(text, to - from - 8), px = from + 4, halo = haloed;
      // A sliver is labelled beside, if there is nothing else.
      if ((shown === "" || (shown !== text && to - from < 48)) && box(at, KIND) !== PARKED) {
        if (measured(text) > next - boxTo - 6) { if (to - from < 48) continue; }
        else { shown = text; px = boxTo + 3; halo = true; }
      }
      if (shown === "") continue;
      pen.globalAlpha = !isFound || isFound[at] ? 1 : 0.35;
      if (halo) {
        pen.strokeStyle = colours.ground; pen.lineWidth = 3;
        pen.strokeText(shown, px, base);
      }
      pen.fillStyle = colours.ink;
      pen.fillText(shown, px, base);
    }
    pen.globalAlpha = 1;
  }

  /// Where a label stands best: the first stretch that is wide enough and runs, or the first that
  /// is wide enough, or all of the box. Left and right edge, and whether it is over a pause.
  function roomForLabel(at, boxFrom, boxTo, needed) {
    const row = box(at, ROW), lists = pausesOf[box(at, LANE)];
    let from = boxFrom, paused = null, running = null, any = false;
    let left = 64; // pauses that are looked at, at most
    // The pauses of the call alone, which it has if it is entered anew by each poll, or the task's.
    for (const list of row > 0 ? [lists[row], lists[0]] : [lists[0]]) {
      if (!list || any) continue;
      eachPause(list, timeAt(boxFrom), timeAt(boxTo), (i) => {
        const start = Math.max(x(pause(i, P_START)), boxFrom), end = Math.min(x(pause(i, P_END)), boxTo);
        if (row >= pause(i, ROW) + pause(i, ROWS) || start >= boxTo || end <= boxFrom) return --left > 0;
        any = true;
        if (start - from >= needed) running = [from, start, false];
        if (!paused && end - start >= needed) paused = [start, end, true];
        from = end;
        return !running && --left > 0;
      });
    }
    if (left === 0) return [boxFrom, boxTo, true];
    if (any && !running && boxTo - from >= needed) running = [from, boxTo, false];
    return running || paused || [boxFrom, boxTo, any];
  }

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

  /// Sideways by a part of the window, and down by pixels.
  function move(part, down = 0) {
    const room = Math.max(0, tops[lanes.length] - (height - AXIS));
    view.top = Math.min(Math.max(view.top + down, 0), room);
    const by = part * (view.to - view.from);
    show(view.from + by, view.to + by);
  }

  function scrollTo(lane) {
    const low = tops[lane], high = tops[lane + 1], room = height - AXIS;
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

  /// Three digits and a unit, as everywhere else.
  function duration(ns) {
    const [unit, per] = [["s", 1e9], ["ms", 1e6], ["µs", 1e3]].find(([, per]) => ns >= per * 0.9995) || ["ns", 1];
    const value = ns / per;
    return (per === 1 || value >= 99.95 ? value.toFixed(0) : String(Number(value.toFixed(value >= 9.995 ? 1 : 2)))) + " " + unit;
  }

  function describe(thing) {
    if (thing.arrow !== undefined) {
      const at = thing.arrow;
      return [`${lanes[arrow(at, FROM)].name} ${arrow(at, SPAWN) ? "spawns" : "wakes"} ${lanes[arrow(at, TO)].name}`,
        `at ${duration(arrow(at, TIME))}`];
    }
    const at = thing.box, lane = box(at, LANE);
    const lines = [`${duration(box(at, END) - box(at, START))}, from ${duration(box(at, START))} on, in ${lanes[lane].name}`];
    if (strings[box(at, ABOUT)]) lines.push(strings[box(at, ABOUT)]);
    if (thing.time !== undefined) {
      for (const list of pausesOf[lane]) {
        list && eachPause(list, thing.time, thing.time, (i) => {
          const covers = pause(i, ROW) <= box(at, ROW) && box(at, ROW) < pause(i, ROW) + pause(i, ROWS);
          if (!covers || pause(i, P_END) <= thing.time) return true;
          lines.push(`here for ${duration(pause(i, P_END) - pause(i, P_START))}: ${strings[pause(i, P_ABOUT)]}`);
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

  /// Selects an arrow and brings one of its ends into view.
  function follow(at, toTarget) {
    select({ arrow: at, toTarget });
    const time = arrow(at, TIME);
    if (time < view.from || time > view.to) {
      const half = (view.to - view.from) / 2;
      show(time - half, time + half);
    }
    scrollTo(arrow(at, toTarget ? TO : FROM));
  }

  /// Selects a box and brings it into view, as close as it needs to be seen.
  function goTo(at) {
    const length = Math.max(box(at, END) - box(at, START), SHORTEST / 4);
    const shown = view.to - view.from, middle = (box(at, START) + box(at, END)) / 2;
    if (length < shown / 100 || length > shown) show(middle - length * 4, middle + length * 4);
    else if (box(at, START) < view.from || box(at, END) > view.to) show(middle - shown / 2, middle + shown / 2);
    scrollTo(box(at, LANE));
    select({ box: at });
  }

  function fitBox(at) {
    const margin = Math.max(box(at, END) - box(at, START), SHORTEST / 4) * 0.05;
    show(box(at, START) - margin, box(at, END) + margin);
    scrollTo(box(at, LANE));
  }

  /// What stands at a place: an arrow, or a box, or nothing.
  function at(px, py) {
    if (px < gutter - MARGIN || py < AXIS) return null;
    const near = (time) => Math.abs(x(time) - px);
    let best = null, distance = 4;
    for (const i of shownArrows(timeAt(px - 4), timeAt(px + 4))) {
      const [from, to] = arrowEnds(i);
      const off = Math.abs(x(arrow(i, TIME)) - px);
      if (off < distance && py >= Math.min(from, to) - 4 && py <= Math.max(from, to) + 4) {
        [best, distance] = [{ arrow: i, toTarget: Math.abs(py - from) < Math.abs(py - to) }, off];
      }
    }
    const lane = first(0, lanes.length, (lane) => tops[lane + 1] > py - AXIS + view.top);
    const row = lane < lanes.length ? Math.floor((floor(lane) - py) / ROW_HEIGHT) : -1;
    const range = row >= 0 && rows[lane][row];
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
      zoom(Math.max(20, Math.abs(before[0] - other[0])) / Math.max(20, Math.abs(px - other[0])), (px + other[0]) / 2);
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
      const thing = at(px, py);
      if (thing && thing.arrow !== undefined) follow(thing.arrow, thing.toTarget);
      else select(thing);
    }
    canvas.classList.remove("dragging");
  };
  canvas.addEventListener("pointerup", up);
  canvas.addEventListener("pointercancel", up);
  canvas.addEventListener("pointerleave", () => { pointed = null; tip.hidden = true; draw(); });
  canvas.addEventListener("dblclick", (event) => {
    const thing = at(...place(event));
    if (thing && thing.box !== undefined) fitBox(thing.box);
  });
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    const unit = event.deltaMode === 1 ? 16 : 1;
    const [px] = place(event);
    const sideways = event.shiftKey ? event.deltaX || event.deltaY : event.deltaX;
    if (Math.abs(sideways) > Math.abs(event.deltaY) || event.shiftKey) move((sideways * unit) / across);
    else if (px < gutter) move(0, event.deltaY * unit);
    else zoom(Math.exp((event.deltaY * unit) / (event.ctrlKey ? 100 : 400)), px);
  }, { passive: false });

  function point(px, py) {
    const was = name(pointed);
    pointed = at(px, py);
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
        if (matches[box(at, LABEL)]) { found.push(at); isFound[at] = 1; }
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
    if (event.key === "Escape") { field.value = ""; search(""); canvas.focus(); }
  });

  // ── keys and buttons ─────────────────────────────────────────────────────────────────────────

  const help = document.getElementById("keys");
  const all = () => show(0, span);
  const deeds = {
    "+": () => zoom(0.7), "=": () => zoom(0.7), "-": () => zoom(1 / 0.7),
    ArrowLeft: () => move(-0.15), ArrowRight: () => move(0.15),
    ArrowUp: () => move(0, -60), ArrowDown: () => move(0, 60),
    PageUp: () => move(0, -(height - AXIS)), PageDown: () => move(0, height - AXIS),
    0: all, Home: all,
    "/": () => field.focus(), "?": () => help.showModal(),
    n: () => nextMatch(1), N: () => nextMatch(-1),
    f: () => selected && selected.arrow !== undefined && follow(selected.arrow, !selected.toTarget),
    Enter: () => selected && selected.box !== undefined && fitBox(selected.box),
    Escape: () => { field.value = ""; search(""); select(null); },
  };

  document.addEventListener("keydown", (event) => {
    const typing = event.target instanceof HTMLInputElement;
    const leave = event.ctrlKey || event.metaKey || event.altKey || help.open || typing;
    if (leave) return;
    const onCanvas = event.target === canvas || event.target === document.body;
    if (event.key === "Tab") {
      // Within a lane that is being read, the key goes from box to box; at its ends, it goes on.
      const at = selected && selected.box !== undefined && event.target === canvas ? selected.box + (event.shiftKey ? -1 : 1) : -1;
      if (at < 0 || at >= boxCount || box(at, LANE) !== box(selected.box, LANE)) return;
      event.preventDefault();
      return goTo(at);
    }
    const deed = deeds[event.key.length === 1 && event.key !== "N" ? event.key.toLowerCase() : event.key];
    if (!deed || (!onCanvas && event.key === "Enter")) return;
    event.preventDefault();
    deed();
  });

  document.getElementById("in").addEventListener("click", () => zoom(0.6));
  document.getElementById("out").addEventListener("click", () => zoom(1 / 0.6));
  document.getElementById("fit").addEventListener("click", all);
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
    if (wanted) parts.set("search", wanted);
    if (selected) parts.set(...name(selected).split(" "));
    const hash = parts.size ? "#" + parts : "";
    if (hash !== location.hash) history.replaceState(null, "", hash || location.pathname + location.search);
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
    const from = number("from", span), to = number("to", span + 1);
    if (from !== null && to !== null && from < to) show(from, to);
    else if (picked === null && followed === null) show(0, span);
    move(0, (number("top", Infinity) ?? view.top) - view.top);
  }

  window.addEventListener("hashchange", readAddress);
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", readColours);
  readColours();
  resize();
  readAddress();
  new ResizeObserver(resize).observe(element);
  paint();
})();
