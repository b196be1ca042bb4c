// Draws what `view` shows. Only what can be seen is drawn: the boxes of a row never overlap and are
// sorted, so the first one to draw is found by bisection, and those that would fall into a pixel
// that is painted already are left out.

// ── drawing ──────────────────────────────────────────────────────────────────────────────────

let frame = 0;
function draw() {
  frame ||= requestAnimationFrame(() => {
    frame = 0;
    paint();
  });
}

function paint() {
  pen.fillStyle = colours.ground;
  pen.fillRect(0, 0, width, height);
  const firstLane = Math.max(
    0,
    first(0, lanes.length, (lane) => tops[lane + 1] > view.top),
  );
  const endLane = first(firstLane, lanes.length, (lane) => tops[lane] >= view.top + height - AXIS);
  let drawn = 0;
  pen.save();
  pen.beginPath();
  pen.rect(0, AXIS, width, height - AXIS);
  pen.clip();
  paintGrid();
  const seen = [];
  for (let lane = firstLane; lane < endLane; lane++) {
    if (!isLeftOut(lane)) seen.push(lane);
  }
  for (const lane of seen) line(0, floor(lane), width, floor(lane), colours.grid);
  pen.save();
  pen.beginPath();
  pen.rect(gutter - MARGIN, AXIS, width, height - AXIS);
  pen.clip();
  const labels = [];
  const crosses = [];
  for (const lane of seen) {
    drawn += paintBoxes(lane, labels, crosses);
    paintPauses(lane);
  }
  paintMarks();
  paintArrows();
  paintSelected();
  paintLabels(labels);
  for (const [px, py, colour] of crosses) {
    line(px - 4, py - 4, px + 4, py + 4, colours[colour], 2.2);
    line(px - 4, py + 4, px + 4, py - 4, colours[colour], 2.2);
  }
  pen.restore();
  paintNames(seen);
  paintScrollbar();
  pen.restore();
  paintAxis();
  Object.assign(element.dataset, {
    from: Math.round(view.from),
    to: Math.round(view.to),
    top: Math.round(view.top),
    drawn,
    shown: isShown ? isShown.reduce((sum, shown) => sum + shown, 0) : lanes.length,
    matches: wanted ? found.length : "",
    selected: name(selected),
  });
}

const name = (thing) =>
  !thing ? "" : thing.box !== undefined ? "box " + thing.box : "arrow " + thing.arrow;

function line(x0, y0, x1, y1, colour, thickness = 1, dashes = []) {
  pen.strokeStyle = colour;
  pen.lineWidth = thickness;
  pen.setLineDash(dashes);
  pen.beginPath();
  pen.moveTo(x0, y0);
  pen.lineTo(x1, y1);
  pen.stroke();
  pen.setLineDash([]);
}

// Ticks at 1, 2 or 5 times a power of ten, and the unit that they share.
function ticks() {
  const rough = (view.to - view.from) / Math.max(2, Math.floor(across / 110));
  const power = 10 ** Math.floor(Math.log10(Math.max(rough, 1)));
  const step = [1, 2, 5, 10].map((n) => n * power).find((step) => step >= rough) || 10 * power;
  const [unit, per] = [
    ["s", 1e9],
    ["ms", 1e6],
    ["µs", 1e3],
    ["ns", 1],
  ].find(([, per]) => view.to >= per && step * 500 >= per) || ["ns", 1];
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
  pen.font = FONT;
  pen.fillStyle = colours.faint;
  pen.textAlign = "center";
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
  const hidden = tooManyArrows();
  if (hidden > 0) note(`${hidden.toLocaleString("en")} arrows: zoom in to see them`);
}

// A line at the lower right, over the picture.
function note(text) {
  pen.font = NAME_FONT;
  pen.textAlign = "right";
  pen.fillStyle = colours.ground;
  pen.globalAlpha = 0.85;
  pen.fillRect(width - measured(text) - 28, height - 26, measured(text) + 18, 20);
  pen.globalAlpha = 1;
  pen.fillStyle = colours.faint;
  pen.fillText(text, width - 18, height - 12);
  pen.textAlign = "left";
}

function paintNames(seen) {
  pen.fillStyle = colours.ground;
  pen.globalAlpha = 0.9;
  pen.fillRect(0, AXIS, gutter - MARGIN, height);
  pen.globalAlpha = 1;
  for (const lane of seen) {
    const { name, kind, rows } = lanes[lane];
    line(0, floor(lane), gutter - MARGIN, floor(lane), colours.grid);
    pen.font = NAME_FONT;
    pen.fillStyle = colours.ink;
    pen.fillText(fitted(name, gutter - 26), 16, floor(lane) - 6);
    if (rows > 1) {
      pen.font = FONT;
      pen.fillStyle = colours.faint;
      pen.fillText(kind, 16, floor(lane) - 20);
    }
  }
}

function paintScrollbar() {
  const room = height - AXIS,
    all = tops[lanes.length];
  if (all <= room) return;
  const length = Math.max(24, (room / all) * room);
  pen.fillStyle = colours.faint;
  pen.globalAlpha = 0.5;
  pen.fillRect(width - 6, AXIS + (view.top / (all - room)) * (room - length), 4, length);
  pen.globalAlpha = 1;
}

// The boxes of a lane; adds those that are wide enough for a label to `labels`, and the ends of
// those that broke off to `crosses`.
function paintBoxes(lane, labels, crosses) {
  const since = earliest(),
    until = latest();
  let drawn = 0;
  rows[lane].forEach(([low, high], row) => {
    const top = y(lane, row);
    let painted = -Infinity,
      paintedKind = -1; // up to which pixel, and with what
    let at = first(low, high, (at) => box(at, END) >= since);
    for (; at < high && box(at, START) <= until; at++) {
      const kind = box(at, KIND);
      const from = Math.max(x(box(at, START)), gutter - 2 * MARGIN);
      const to = Math.min(Math.max(x(box(at, END)), from + SLIVER), width + MARGIN);
      const shown = !isFound || isFound[at];
      if (to <= painted + 0.5 && kind === paintedKind && shown !== 1) continue;
      pen.globalAlpha = shown ? 1 : FADED;
      pen.fillStyle = colours[KINDS[kind]];
      pen.fillRect(from, top + 1, to - from, ROW_HEIGHT - 2);
      if (to - from > 3) {
        pen.strokeStyle = colours[KINDS[kind] + "-edge"];
        pen.lineWidth = 0.8;
        pen.strokeRect(from + 0.4, top + 1.4, to - from - 0.8, ROW_HEIGHT - 2.8);
      }
      const ends = box(at, ENDS); // 1: cut at its start, 2: at its end, 4: panicked, 8: cancelled
      if (ends & 1 && to - from > 10) torn(from, top, 4);
      if (ends & 2 && to - from > 10) torn(to, top, -4);
      if (ends & 12) crosses.push([to, top + ROW_HEIGHT / 2, ends & 4 ? "broken" : "faint"]);
      painted = to;
      paintedKind = kind;
      drawn++;
      const next = at + 1 < high ? x(box(at + 1, START)) : width;
      // System calls are mostly slivers; where there is room, their names stand beside.
      if (to - from >= 22 || (next - to > 22 && (kind === CALL || shown === 1)))
        labels.push([at, from, to, next]);
    }
  });
  pen.globalAlpha = 1;
  return drawn;
}

// The edge of a box that was cut off there: teeth in the colour of the ground.
function torn(edge, top, into) {
  pen.fillStyle = colours.ground;
  pen.beginPath();
  pen.moveTo(edge - Math.sign(into), top);
  for (let tooth = 0; tooth <= 6; tooth++) {
    pen.lineTo(edge + (tooth % 2 ? into : 0) - Math.sign(into), top + (tooth * ROW_HEIGHT) / 6);
  }
  pen.fill();
}

// Calls `visit` with the pauses of a list that meet a stretch of time.
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
      const rows = pause(at, ROWS),
        woken = pause(at, WOKEN),
        kept = pause(at, KEPT);
      const ready = woken < 0 ? to : Math.min(Math.max(x(woken), from), to);
      const top = y(lane, pause(at, ROW) + rows - 1),
        high = rows * ROW_HEIGHT;
      for (const [low, end, queued] of [
        [from, ready, false],
        [ready, to, true],
      ]) {
        if (end - low < 0.3 || rows === 0) continue;
        pen.fillStyle = colours.ground;
        if (kept) {
          pen.globalAlpha = 0.6;
          pen.fillRect(low, top + 1.5, end - low, high - 3);
          pen.globalAlpha = isFound ? FADED : 1;
          pen.fillStyle = queued ? colours.queued : colours.kept;
          pen.fillRect(low, top + 1.5, end - low, high - 3);
          pen.globalAlpha = 1;
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
  pen.globalAlpha = isFound ? FADED : 1;
  pen.strokeStyle = colours.wait;
  pen.lineWidth = 1.2;
  pen.setLineDash([1.5, 3.5]);
  pen.stroke(waiting);
  pen.strokeStyle = colours.ready;
  pen.lineWidth = 2;
  pen.setLineDash([]);
  pen.stroke(queueing);
  pen.globalAlpha = 1;
}

// Where a pause is drawn: it leaves a sliver of the box before and after it, where that runs.
function pauseExtent(at) {
  const lane = pause(at, LANE),
    [low, high] = rows[lane][pause(at, ROW)] || [0, 0];
  let from = x(pause(at, P_START)),
    to = x(pause(at, P_END));
  const under = first(low, high, (i) => box(i, START) > pause(at, P_START)) - 1;
  if (under >= low) {
    if (pause(at, P_START) > box(under, START))
      from = Math.max(from, x(box(under, START)) + SLIVER);
    if (pause(at, P_END) < box(under, END)) to = Math.min(to, x(box(under, END)) - SLIVER);
  }
  return [Math.max(from, gutter - 2 * MARGIN), Math.min(to, width + MARGIN)];
}

function paintMarks() {
  pen.strokeStyle = colours.arrow;
  pen.lineWidth = 1;
  let last = -Infinity,
    lastLane = -1;
  for (let at = 0; at < markCount; at++) {
    const time = mark(at, M_TIME),
      lane = mark(at, M_LANE),
      px = x(time);
    const isSeen = px >= gutter - MARGIN && px <= width && !isLeftOut(lane);
    if (!isSeen || (lane === lastLane && px - last < 1)) continue;
    [last, lastLane] = [px, lane];
    pen.beginPath();
    pen.arc(px, floor(lane), 3.4, 0, 7);
    pen.stroke();
  }
}

// From where to where an arrow is drawn, downwards or upwards.
function arrowEnds(at) {
  const from = arrow(at, FROM),
    to = arrow(at, TO);
  if (from === to) {
    const end = y(to, arrow(at, TO_ROW));
    return [end - 9, end];
  }
  return from < to
    ? [floor(from), y(to, arrow(at, TO_ROW))]
    : [y(from, arrow(at, FROM_ROW)), floor(to)];
}

function paintArrow(at, thickness) {
  const px = x(arrow(at, TIME)),
    [from, to] = arrowEnds(at),
    back = to > from ? -5 : 5;
  line(px, from, px, to + back, colours.arrow, thickness, arrow(at, SPAWN) ? [3, 2.5] : []);
  pen.fillStyle = colours.arrow;
  pen.beginPath();
  pen.arc(px, from, 1.3 + thickness / 2, 0, 7);
  pen.fill();
  pen.beginPath();
  pen.moveTo(px, to);
  pen.lineTo(px - 2.5 - thickness / 2, to + back);
  pen.lineTo(px + 2.5 + thickness / 2, to + back);
  pen.fill();
}

function paintArrows() {
  const seen = new Set();
  pen.globalAlpha = isFound ? FADED : 1;
  for (const at of shownArrows()) {
    const [from, to] = arrowEnds(at);
    if (Math.max(from, to) < AXIS || Math.min(from, to) > height) continue;
    const place = `${Math.round(x(arrow(at, TIME)))} ${arrow(at, FROM)} ${arrow(at, TO)}`;
    if (seen.has(place)) continue;
    seen.add(place);
    paintArrow(at, 1);
  }
  pen.globalAlpha = 1;
}

// Numbers of the first arrow from one time on, and of the first after another.
const arrowsBetween = (from, to) => [
  first(0, arrowCount, (at) => arrow(at, TIME) >= from),
  first(0, arrowCount, (at) => arrow(at, TIME) > to),
];

// How many arrows are in view, if they are so many that they would cover everything; or 0.
function tooManyArrows() {
  const [start, end] = arrowsBetween(earliest(), latest());
  return end - start > across / 3 ? end - start : 0;
}

// The arrows that are drawn between two times.
function shownArrows(from = earliest(), to = latest()) {
  if (tooManyArrows() > 0) return [];
  const [start, end] = arrowsBetween(from, to);
  const list = Array.from({ length: end - start }, (_, at) => start + at);
  return list.filter((at) => !isLeftOut(arrow(at, FROM)) && !isLeftOut(arrow(at, TO)));
}

function paintSelected() {
  for (const [thing, thickness] of [
    [pointed, 1.2],
    [selected, 2.2],
  ]) {
    if (!thing) continue;
    if (thing.arrow !== undefined) {
      paintArrow(thing.arrow, thickness + 0.8);
      continue;
    }
    const at = thing.box,
      from = x(box(at, START)),
      to = Math.max(x(box(at, END)), from + SLIVER);
    const left = Math.max(from - 1, gutter - 2 * MARGIN),
      right = Math.min(to + 1, width + MARGIN);
    pen.strokeStyle = colours.ink;
    pen.lineWidth = thickness;
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

// As much of a text as fits.
function fitted(text, room) {
  if (measured(text) <= room) return text;
  const letters = Array.from(text);
  const kept = first(
    0,
    letters.length,
    (n) => pen.measureText(letters.slice(0, n + 1).join("") + "…").width > room,
  );
  return kept < 2 ? "" : letters.slice(0, kept).join("").trimEnd() + "…";
}

function paintLabels(labels) {
  pen.font = FONT;
  pen.lineJoin = "round";
  for (const [at, boxFrom, boxTo, next] of labels) {
    const text = strings[box(at, LABEL)],
      base = y(box(at, LANE), box(at, ROW)) + 14;
    const [from, to, haloed] = roomForLabel(
      at,
      Math.max(boxFrom, gutter),
      boxTo,
      measured(text) + 8,
    );
    let shown = fitted(text, to - from - 8),
      px = from + 4,
      halo = haloed;
    // A sliver is labelled beside, if there is nothing else.
    if ((shown === "" || (shown !== text && to - from < 48)) && box(at, KIND) !== PARKED) {
      if (measured(text) > next - boxTo - 6) {
        if (to - from < 48) continue;
      } else {
        shown = text;
        px = boxTo + 3;
        halo = true;
      }
    }
    if (shown === "") continue;
    pen.globalAlpha = !isFound || isFound[at] ? 1 : FADED;
    if (halo) {
      pen.strokeStyle = colours.ground;
      pen.lineWidth = 3;
      pen.strokeText(shown, px, base);
    }
    pen.fillStyle = colours.ink;
    pen.fillText(shown, px, base);
  }
  pen.globalAlpha = 1;
}

// Where a label stands best: the first stretch that is wide enough and runs, or the first that
// is wide enough, or all of the box. Left and right edge, and whether it is over a pause.
function roomForLabel(at, boxFrom, boxTo, needed) {
  const row = box(at, ROW),
    lists = pausesOf[box(at, LANE)];
  let from = boxFrom,
    paused = null,
    running = null,
    any = false;
  let left = 64; // pauses that are looked at, at most
  // The pauses of the call alone, which it has if it is entered anew by each poll, or the task's.
  for (const list of row > 0 ? [lists[row], lists[0]] : [lists[0]]) {
    if (!list || any) continue;
    eachPause(list, timeAt(boxFrom), timeAt(boxTo), (i) => {
      const start = Math.max(x(pause(i, P_START)), boxFrom),
        end = Math.min(x(pause(i, P_END)), boxTo);
      if (row >= pause(i, ROW) + pause(i, ROWS) || start >= boxTo || end <= boxFrom)
        return --left > 0;
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
